/** What the failure of a fetch means for the stored document and for other nodes (RFC 5861, section 4; FET-16). */
import { isOwnLimit, meaningOf } from "./errorMeaning.js"
import type { Failure } from "./sharedFailure.js"

/** Whether the document could not be fetched for now, so that an expired one may stand in. */
export const permitsStale = (failure: Failure): boolean => meaningOf(failure).permitsStale

/** Whether the failure shows that the stored document is no longer the client's. */
export const withdraws = (failure: Failure): boolean => meaningOf(failure).withdraws

/** Whether other nodes would meet the same failure. */
export const isShared = (failure: Failure): boolean => !isOwnLimit(failure)
