/**
 * What each error of the resolver means: for the stored document, and for the OAuth client (FET-12, FET-16).
 *
 * Only a verdict on the client withdraws its stored document, and only a verdict is `invalid_client`. OAuth clients drop
 * their credentials at `invalid_client`, so a bot wall or a change of DNS must not cause it. `docs/rules.md` has the same
 * table, and a test compares the two. An error without a line here does not compile, because its `oauthError` reads the table.
 */
import type { OAuthError } from "../OAuthError.js"
import { invalidClient, temporarilyUnavailable, unapprovedClient, unauthorizedClient } from "../OAuthError.js"

interface Meaning {
  /** Whether the error shows that the stored document is no longer the client's. */
  readonly withdraws: boolean
  /** Whether an expired document may be returned in its place (RFC 5861, section 4). */
  readonly permitsStale: boolean
  readonly oauthError: OAuthError
}

const neverFetched: Meaning = { withdraws: false, permitsStale: false, oauthError: invalidClient }
const verdict: Meaning = { withdraws: true, permitsStale: false, oauthError: invalidClient }
const notNow: Meaning = { withdraws: false, permitsStale: true, oauthError: temporarilyUnavailable }
/** No request was sent, so there is nothing that an expired document could stand in for. */
const ownLimit: Meaning = { withdraws: false, permitsStale: false, oauthError: temporarilyUnavailable }

/** The lines of the table. The text after a tag is the case of the error. */
export const meanings = {
  "InvalidClientId": neverFetched,
  "HostRefused": neverFetched,
  "ClientBlocked": neverFetched,
  "ClientUnapproved": { ...neverFetched, oauthError: unapprovedClient },
  "NotRecalled withdrawn or blocked": neverFetched,
  // Nothing was found out about the client, so it must keep its credentials.
  "NotRecalled unconfirmed or tooOld": ownLimit,
  "RegistryError": ownLimit,
  "CacheError": ownLimit,
  "LookupFailed": notNow,
  "AddressBlocked": notNow,
  "ConnectFailed": notNow,
  "TlsFailed": notNow,
  "FetchTimeout in the phase budget": ownLimit,
  "FetchTimeout in any other phase": notNow,
  "UnexpectedStatus 404 or 410": verdict,
  "UnexpectedStatus of any other status": notNow,
  "UnexpectedRedirect": notNow,
  "UnsupportedContentType": notNow,
  "UnsupportedContentEncoding": notNow,
  "ResponseTooLarge": notNow,
  "ResponseTruncated": notNow,
  "ResponseMalformed": notNow,
  "Throttled after a failure that permits a stale document": notNow,
  "Throttled for any other reason": ownLimit,
  // A body without a length can be cut off unnoticed, and an error page can have the content type of JSON.
  "InvalidDocument that is not a JSON object (DOC-01, DOC-02)": { ...notNow, oauthError: invalidClient },
  "InvalidDocument with any other issues": verdict,
  "UnauthorizedClient": { ...verdict, oauthError: unauthorizedClient }
} as const satisfies Record<string, Meaning>

export type Line = keyof typeof meanings

/** The members of an error that select its line. */
type Selector =
  | { readonly _tag: "UnexpectedStatus"; readonly status: number }
  | { readonly _tag: "NotRecalled"; readonly reason: "unconfirmed" | "tooOld" | "withdrawn" | "blocked" }
  | { readonly _tag: "FetchTimeout"; readonly phase: string }
  | { readonly _tag: "Throttled"; readonly reason: string; readonly originFault?: boolean | undefined }
  | {
    readonly _tag: "InvalidDocument"
    readonly issues: ReadonlyArray<{ readonly rule: string; readonly severity: string }>
  }
  | { readonly _tag: Exclude<Line, `${string} ${string}`> }

export const lineOf = (error: Selector): Line => {
  switch (error._tag) {
    case "UnexpectedStatus":
      return error.status === 404 || error.status === 410
        ? "UnexpectedStatus 404 or 410"
        : "UnexpectedStatus of any other status"
    case "NotRecalled":
      return error.reason === "withdrawn" || error.reason === "blocked"
        ? "NotRecalled withdrawn or blocked"
        : "NotRecalled unconfirmed or tooOld"
    case "FetchTimeout":
      return error.phase === "budget" ? "FetchTimeout in the phase budget" : "FetchTimeout in any other phase"
    case "Throttled":
      return error.reason === "failed" && error.originFault === true
        ? "Throttled after a failure that permits a stale document"
        : "Throttled for any other reason"
    case "InvalidDocument":
      return error.issues.some(({ rule, severity }) => severity === "error" && (rule === "DOC-01" || rule === "DOC-02"))
        ? "InvalidDocument that is not a JSON object (DOC-01, DOC-02)"
        : "InvalidDocument with any other issues"
    default:
      return error._tag
  }
}

export const meaningOf = (error: Selector): Meaning => meanings[lineOf(error)]
