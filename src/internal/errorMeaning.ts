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
/** The call that failed is not one that an expired document could stand in for. */
const unknown: Meaning = { withdraws: false, permitsStale: false, oauthError: temporarilyUnavailable }

/** The lines of the table. The text after a tag is the case of the error. */
export const meanings = {
  "InvalidClientId": neverFetched,
  "HostRefused": neverFetched,
  "ClientBlocked": neverFetched,
  "ClientUnapproved": { ...neverFetched, oauthError: unapprovedClient },
  "NotRecalled withdrawn or blocked": neverFetched,
  // Nothing was found out about the client, so it must keep its credentials.
  "NotRecalled unconfirmed or tooOld": unknown,
  "RegistryError": unknown,
  "CacheError": unknown,
  "LookupFailed": notNow,
  "AddressBlocked": notNow,
  "ConnectFailed": notNow,
  "TlsFailed": notNow,
  "FetchTimeout": notNow,
  "UnexpectedStatus 404 or 410": verdict,
  "UnexpectedStatus of any other status": notNow,
  "UnexpectedRedirect": notNow,
  "UnsupportedContentType": notNow,
  "UnsupportedContentEncoding": notNow,
  "ResponseTooLarge": notNow,
  "ResponseTruncated": notNow,
  "ResponseMalformed": notNow,
  "Throttled busy or rate": notNow,
  "Throttled after a failure that permits a stale document": notNow,
  // 404 or 410 has withdrawn the document.
  "Throttled after any other failure": unknown,
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
    case "Throttled":
      return error.reason !== "failed"
        ? "Throttled busy or rate"
        : error.originFault === true
        ? "Throttled after a failure that permits a stale document"
        : "Throttled after any other failure"
    case "InvalidDocument":
      return error.issues.some(({ rule, severity }) => severity === "error" && (rule === "DOC-01" || rule === "DOC-02"))
        ? "InvalidDocument that is not a JSON object (DOC-01, DOC-02)"
        : "InvalidDocument with any other issues"
    default:
      return error._tag
  }
}

export const meaningOf = (error: Selector): Meaning => meanings[lineOf(error)]

/**
 * Whether a limit of this node stopped the fetch. It says nothing about the client, so it is neither counted as a failure of
 * the client nor shared with other nodes (FET-21).
 */
export const isOwnLimit = (error: { readonly _tag: string }): boolean => error._tag === "Throttled"
