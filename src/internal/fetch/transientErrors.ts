import type { FetchError } from "../../FetchError.js"

const faults = new Set<FetchError["_tag"]>([
  "LookupFailed",
  "ConnectFailed",
  "TlsFailed",
  "FetchTimeout",
  "ResponseTruncated",
  "UnexpectedRedirect"
])

/** This node did not come to ask: it says nothing about the client or its origin, and nothing to other nodes. */
export const isOwnLimit = (error: FetchError): boolean =>
  error._tag === "Throttled" || (error._tag === "FetchTimeout" && error.phase === "budget")

/** The origin, or the way to it, has a fault, which says nothing about the document. 403 is what challenge pages answer. */
export const isOriginFault = (error: FetchError): boolean => {
  switch (error._tag) {
    case "UnexpectedStatus":
      return error.status >= 500 || error.status === 429 || error.status === 403
    case "Throttled":
      return error.originFault ?? false
    default:
      return faults.has(error._tag) && !isOwnLimit(error)
  }
}
