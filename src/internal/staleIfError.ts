/** What the failure of a fetch means for the stored document and for other nodes (RFC 5861, section 4; FET-16). */
import { meaningOf } from "./errorMeaning.js"
import type { Failure } from "./sharedFailure.js"

/** Whether the origin, or the network to it, failed for now, so that an expired document may stand in. */
export const permitsStale = (failure: Failure): boolean => meaningOf(failure).permitsStale

/** Whether the failure shows that the stored document is no longer the client's. */
export const withdraws = (failure: Failure): boolean => meaningOf(failure).withdraws

/**
 * Whether other nodes would meet the same failure. A limit of this node stopped the request before it was sent, so it
 * says nothing to them.
 */
export const isShared = (failure: Failure): boolean =>
  failure._tag !== "Throttled" && !(failure._tag === "FetchTimeout" && failure.phase === "budget")
