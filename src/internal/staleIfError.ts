/** What the failure of a fetch means for the stored document and for other nodes (RFC 5861, section 4). */
import { isOriginFault, isOwnLimit } from "./fetch/transientErrors.js"
import type { Failure } from "./sharedFailure.js"
import { isRefusedDocument } from "./sharedFailure.js"

/** Whether the origin, or the network, failed, so that an expired document may stand in. */
export const permitsStale = (failure: Failure): boolean => !isRefusedDocument(failure) && isOriginFault(failure)

/** Whether other nodes would meet the same failure. A limit of this node says nothing to them. */
export const isShared = (failure: Failure): boolean => isRefusedDocument(failure) || !isOwnLimit(failure)

/** Whether the failure shows that the stored document is no longer the client's. */
export const withdraws = (failure: Failure): boolean => isShared(failure) && !permitsStale(failure)
