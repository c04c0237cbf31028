import type { FetchError } from "../../FetchError.js"

const originFaults = new Set<FetchError["_tag"]>([
  "LookupFailed",
  "ConnectFailed",
  "TlsFailed",
  "FetchTimeout",
  "ResponseTruncated",
  "UnexpectedRedirect"
])

/**
 * A limit of this node stopped the request before it was sent, so the error says nothing about the client or its
 * origin, and is not shared with other nodes.
 */
export const isOwnLimit = (error: FetchError): boolean =>
  error._tag === "Throttled" || (error._tag === "FetchTimeout" && error.phase === "budget")

/**
 * A failure of the origin, or of the network to it, which says nothing about the document. It includes 403, because
 * that is the status of challenge pages.
 */
export const isOriginFault = (error: FetchError): boolean => {
  switch (error._tag) {
    case "UnexpectedStatus":
      return error.status >= 500 || error.status === 429 || error.status === 403
    case "Throttled":
      return error.originFault ?? false
    default:
      return originFaults.has(error._tag) && !isOwnLimit(error)
  }
}
