/**
 * Why no document was fetched: one error for each class of failure (FET-12).
 *
 * The `_tag` is a stable code. The `message` and the fields are for the operator: they may hold what the origin sent,
 * shortened and escaped. The `oauthError` is for the OAuth client and is the same for all of them, but for a server that
 * has too much to do.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient, temporarilyUnavailable } from "./OAuthError.js"

/**
 * The name could not be looked up, or has no address (ADR-01). `code` is the resolver's, as `ENOTFOUND`; `EMPTY` is an
 * answer without addresses.
 *
 * @since 0.1.0
 * @category errors
 */
export class LookupFailed extends Schema.TaggedError<LookupFailed>("effect-cimd/FetchError/LookupFailed")(
  "LookupFailed",
  { clientId: Schema.String, host: Schema.String, code: Schema.String }
) {
  override get message(): string {
    return `The host ${this.host} of ${this.clientId} could not be looked up (${this.code}).`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The host has an address that may not be dialed (ADR-01 to ADR-06). Nothing was dialed.
 *
 * @since 0.1.0
 * @category errors
 */
export class AddressBlocked extends Schema.TaggedError<AddressBlocked>("effect-cimd/FetchError/AddressBlocked")(
  "AddressBlocked",
  { clientId: Schema.String, address: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `${this.clientId} leads to the address ${this.address}, which may not be dialed: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * None of the checked addresses took the connection (ADR-02).
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectFailed extends Schema.TaggedError<ConnectFailed>("effect-cimd/FetchError/ConnectFailed")(
  "ConnectFailed",
  {
    clientId: Schema.String,
    /** Each address that was dialed, with the code of the failure, as `ECONNREFUSED`. */
    attempts: Schema.Array(Schema.Struct({ address: Schema.String, code: Schema.String }))
  }
) {
  override get message(): string {
    const attempts = this.attempts.map(({ address, code }) => `${address} (${code})`)
    return `No connection to the host of ${this.clientId}: ${attempts.join(", ")}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The TLS handshake failed: a certificate that is not to be trusted, another protocol, a connection that broke off.
 *
 * @since 0.1.0
 * @category errors
 */
export class TlsFailed extends Schema.TaggedError<TlsFailed>("effect-cimd/FetchError/TlsFailed")(
  "TlsFailed",
  {
    clientId: Schema.String,
    address: Schema.String,
    /** The code of Node.js or OpenSSL, as `CERT_HAS_EXPIRED` or `ERR_TLS_CERT_ALTNAME_INVALID`. */
    code: Schema.String,
    detail: Schema.String
  }
) {
  override get message(): string {
    return `The TLS connection for ${this.clientId} with ${this.address} failed: ${this.detail} (${this.code}).`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * What a fetch was doing when its time ran out. `budget` is waiting for its turn.
 *
 * @since 0.1.0
 * @category models
 */
export const Phase = Schema.Literal("budget", "lookup", "connect", "tls", "headers", "body")

/**
 * What a fetch was at when its time was over; `budget` is waiting for its turn.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = typeof Phase.Type

/**
 * The fetch as a whole took too long (FET-08).
 *
 * @since 0.1.0
 * @category errors
 */
export class FetchTimeout extends Schema.TaggedError<FetchTimeout>("effect-cimd/FetchError/FetchTimeout")(
  "FetchTimeout",
  {
    clientId: Schema.String,
    phase: Phase,
    /** The time that was allowed, in milliseconds. */
    millis: Schema.Number
  }
) {
  override get message(): string {
    return `Fetching ${this.clientId} took longer than ${this.millis} ms; it was in the phase "${this.phase}".`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * A status other than 200, an interim one (1xx) included (FET-03).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedStatus extends Schema.TaggedError<UnexpectedStatus>("effect-cimd/FetchError/UnexpectedStatus")(
  "UnexpectedStatus",
  { clientId: Schema.String, status: Schema.Int }
) {
  override get message(): string {
    return `${this.clientId} answered with status ${this.status}; a metadata document comes with status 200.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * A redirect, which is never followed (FET-04).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedRedirect
  extends Schema.TaggedError<UnexpectedRedirect>("effect-cimd/FetchError/UnexpectedRedirect")(
    "UnexpectedRedirect",
    { clientId: Schema.String, status: Schema.Int, location: Schema.optional(Schema.String) }
  )
{
  override get message(): string {
    return `${this.clientId} redirects (status ${this.status}) to ${
      this.location ?? "no location"
    }; redirects are not ` +
      "followed. The document has to be served at the client identifier itself."
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The content type is not JSON, or its charset is not UTF-8 (FET-05).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedContentType
  extends Schema.TaggedError<UnsupportedContentType>("effect-cimd/FetchError/UnsupportedContentType")(
    "UnsupportedContentType",
    { clientId: Schema.String, contentType: Schema.optional(Schema.String) }
  )
{
  override get message(): string {
    const type = this.contentType === undefined ? "without a content type" : `as ${this.contentType}`
    return `${this.clientId} is served ${type}; it has to be application/json, or application/<name>+json, in UTF-8.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The body is compressed, which was not asked for (FET-06).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedContentEncoding
  extends Schema.TaggedError<UnsupportedContentEncoding>("effect-cimd/FetchError/UnsupportedContentEncoding")(
    "UnsupportedContentEncoding",
    { clientId: Schema.String, contentEncoding: Schema.String }
  )
{
  override get message(): string {
    return `${this.clientId} is served with Content-Encoding ${this.contentEncoding}, though only identity was asked for.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The response passes a limit (FET-07).
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseTooLarge extends Schema.TaggedError<ResponseTooLarge>("effect-cimd/FetchError/ResponseTooLarge")(
  "ResponseTooLarge",
  {
    clientId: Schema.String,
    /** `headers`: the bytes of the status line and the headers. `fields`: their number. */
    part: Schema.Literal("headers", "fields", "body"),
    /** The limit: bytes, or a number of fields. */
    limit: Schema.Int
  }
) {
  override get message(): string {
    const limit = this.part === "fields"
      ? `more than ${this.limit} header fields`
      : this.part === "headers"
      ? `headers of more than ${this.limit} bytes`
      : `a body of more than ${this.limit} bytes`
    return `${this.clientId} answered with ${limit}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The connection ended before the response did (FET-09).
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseTruncated
  extends Schema.TaggedError<ResponseTruncated>("effect-cimd/FetchError/ResponseTruncated")(
    "ResponseTruncated",
    { clientId: Schema.String, part: Schema.Literal("headers", "body") }
  )
{
  override get message(): string {
    return `The connection for ${this.clientId} ended in the middle of the ${this.part}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * What came is not an HTTP/1.1 response.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseMalformed
  extends Schema.TaggedError<ResponseMalformed>("effect-cimd/FetchError/ResponseMalformed")(
    "ResponseMalformed",
    { clientId: Schema.String, reason: Schema.String }
  )
{
  override get message(): string {
    return `The response of ${this.clientId} is not valid HTTP/1.1: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The fetch was not begun, because of others before it. It says nothing about the client: no answer is remembered.
 *
 * - `failed`: the last fetch of this client failed a moment ago.
 * - `rate`: too many fetches from this origin were begun a moment ago.
 * - `busy`: too many fetches wait for their turn, or too many lookups for the system's resolver. This server has too much
 *   to do, and the client is told so.
 *
 * @since 0.1.0
 * @category errors
 */
export class Throttled extends Schema.TaggedError<Throttled>("effect-cimd/FetchError/Throttled")(
  "Throttled",
  {
    clientId: Schema.String,
    reason: Schema.Literal("failed", "rate", "busy"),
    /** Whether the failure that a client is left alone for was a fault of its origin, or of the way to it. */
    originFault: Schema.optional(Schema.Boolean),
    /** After so many milliseconds another attempt has a chance. */
    retryAfterMillis: Schema.Number
  }
) {
  override get message(): string {
    return `${this.clientId} was not fetched (${reasons[this.reason]}); try again in ${this.retryAfterMillis} ms.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return this.reason === "busy" ? temporarilyUnavailable : invalidClient
  }
}

const reasons = {
  failed: "its last fetch failed a moment ago",
  rate: "too many fetches from its origin were begun a moment ago",
  busy: "too many other fetches wait for their turn"
} as const

/**
 * Every error of a fetch, as a schema: what one node met can be told to another.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FetchError = Schema.Union(
  LookupFailed,
  AddressBlocked,
  ConnectFailed,
  TlsFailed,
  FetchTimeout,
  UnexpectedStatus,
  UnexpectedRedirect,
  UnsupportedContentType,
  UnsupportedContentEncoding,
  ResponseTooLarge,
  ResponseTruncated,
  ResponseMalformed,
  Throttled
)

/**
 * Every error of a fetch.
 *
 * @since 0.1.0
 * @category errors
 */
export type FetchError = typeof FetchError.Type
