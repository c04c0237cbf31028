/**
 * The errors of a fetch: one for each class of failure (FET-12).
 *
 * The `_tag` is a stable code. The `message` and the fields are for the operator: they may contain what the origin
 * sent, shortened and escaped. The `oauthError` is for the OAuth client. It is `temporarily_unavailable` for all errors,
 * except for a document that is gone (status 404 or 410), which is `invalid_client`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { meaningOf } from "./internal/errorMeaning.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * The lookup of the host name failed, or returned no address (ADR-01). `code` is that of the resolver, such as
 * `ENOTFOUND`, or `EMPTY` for a response without addresses.
 *
 * @since 0.1.0
 * @category errors
 */
export class LookupFailed extends Schema.TaggedError<LookupFailed>("effect-cimd/FetchError/LookupFailed")(
  "LookupFailed",
  { clientId: Schema.String, host: Schema.String, code: Schema.String }
) {
  override get message(): string {
    return `The lookup of the host ${this.host} of ${this.clientId} failed (${this.code}).`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The host has an address that must not be dialed (ADR-01 to ADR-06, ADR-09, ADR-10), or the port is one of another
 * protocol (ADR-08). No connection was attempted.
 *
 * @since 0.1.0
 * @category errors
 */
export class AddressBlocked extends Schema.TaggedError<AddressBlocked>("effect-cimd/FetchError/AddressBlocked")(
  "AddressBlocked",
  { clientId: Schema.String, address: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `${this.clientId} leads to ${this.address}, which must not be dialed: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * None of the checked addresses accepted a connection (ADR-02).
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectFailed extends Schema.TaggedError<ConnectFailed>("effect-cimd/FetchError/ConnectFailed")(
  "ConnectFailed",
  {
    clientId: Schema.String,
    /** Each address that was dialed, with the code of the failure, such as `ECONNREFUSED`. */
    attempts: Schema.Array(Schema.Struct({ address: Schema.String, code: Schema.String }))
  }
) {
  override get message(): string {
    const attempts = this.attempts.map(({ address, code }) => `${address} (${code})`)
    return `No address of ${this.clientId} accepted a connection: ${attempts.join(", ")}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The TLS handshake failed: the certificate is not trusted, the peer uses another protocol, the handshake would cost too
 * much, or the connection broke.
 *
 * @since 0.1.0
 * @category errors
 */
export class TlsFailed extends Schema.TaggedError<TlsFailed>("effect-cimd/FetchError/TlsFailed")(
  "TlsFailed",
  {
    clientId: Schema.String,
    address: Schema.String,
    /**
     * The code of Node.js or OpenSSL, such as `CERT_HAS_EXPIRED` or `ERR_TLS_CERT_ALTNAME_INVALID`. A handshake that
     * would cost too much has the code `HANDSHAKE_TOO_LARGE` (FET-17) or `CERTIFICATES_REFUSED` (FET-18).
     */
    code: Schema.String,
    detail: Schema.String
  }
) {
  override get message(): string {
    return `The TLS handshake with ${this.address} for ${this.clientId} failed: ${this.detail} (${this.code}).`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The phase that a fetch was in when it timed out, as a schema.
 *
 * @since 0.1.0
 * @category models
 */
export const Phase = Schema.Literal("lookup", "connect", "tls", "headers", "body")

/**
 * The phase that a fetch was in when it timed out.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = typeof Phase.Type

/**
 * The fetch took longer than its timeout (FET-08).
 *
 * @since 0.1.0
 * @category errors
 */
export class FetchTimeout extends Schema.TaggedError<FetchTimeout>("effect-cimd/FetchError/FetchTimeout")(
  "FetchTimeout",
  {
    clientId: Schema.String,
    phase: Phase,
    /** The timeout, in milliseconds. */
    millis: Schema.Number
  }
) {
  override get message(): string {
    return `The fetch of ${this.clientId} timed out after ${this.millis} ms, in the phase "${this.phase}".`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/** What of a response tells a bot wall from a wrong path. Each text is shortened and escaped. For the operator only. */
const diagnosis = {
  contentType: Schema.optional(Schema.String),
  /** The header `cf-mitigated`, which Cloudflare adds to the pages of its bot wall. */
  cfMitigated: Schema.optional(Schema.String),
  /** The header `server`. */
  server: Schema.optional(Schema.String)
}

/** Returns a sentence if a bot wall answered in place of the origin; otherwise `undefined`. */
const botWall = ({ cfMitigated, clientId, server, status }: {
  readonly cfMitigated?: string | undefined
  readonly clientId: string
  readonly server?: string | undefined
  readonly status?: number | undefined
}): string | undefined =>
  cfMitigated === undefined ? undefined : `A bot wall${server === undefined ? "" : ` of ${server}`} answered for ` +
    `${clientId}${status === undefined ? "" : ` with status ${status}`} (cf-mitigated: ${cfMitigated}). ` +
    "The owner of the host has to let this server through to the document."

/** Returns which server sent a response, as the end of a sentence. */
const sentBy = (server: string | undefined): string => server === undefined ? "" : `, from the server ${server}`

/**
 * The status is not 200 (FET-03). Interim responses are skipped, except 101.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedStatus extends Schema.TaggedError<UnexpectedStatus>("effect-cimd/FetchError/UnexpectedStatus")(
  "UnexpectedStatus",
  { clientId: Schema.String, status: Schema.Int, ...diagnosis }
) {
  override get message(): string {
    const type = this.contentType === undefined ? "" : `, with the content type ${this.contentType}`
    return botWall(this) ??
      `The status of ${this.clientId} is ${this.status}${type}${sentBy(this.server)}; ` +
        "a metadata document must have status 200."
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The response is a redirect, which is never followed (FET-04).
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
    const target = this.location === undefined ? "without a location" : `to ${this.location}`
    return `${this.clientId} redirects (status ${this.status}) ${target}; redirects are not followed. ` +
      "Serve the document at the client identifier itself."
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The content type is not JSON, or is malformed (FET-05).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnsupportedContentType
  extends Schema.TaggedError<UnsupportedContentType>("effect-cimd/FetchError/UnsupportedContentType")(
    "UnsupportedContentType",
    { clientId: Schema.String, status: Schema.optional(Schema.Int), ...diagnosis }
  )
{
  override get message(): string {
    const type = this.contentType === undefined ? "no content type" : `the content type ${this.contentType}`
    return botWall(this) ??
      `${this.clientId} has ${type}${sentBy(this.server)}; it must be application/json or application/<name>+json.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The body has a content encoding, though the request accepts only `identity` (FET-06).
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
    return `${this.clientId} has the content encoding ${this.contentEncoding}; serve it without one (identity).`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The response exceeds a limit (FET-07, FET-17).
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseTooLarge extends Schema.TaggedError<ResponseTooLarge>("effect-cimd/FetchError/ResponseTooLarge")(
  "ResponseTooLarge",
  {
    clientId: Schema.String,
    /**
     * `headers` is the bytes of the status line and the header lines, `fields` the number of header lines, and
     * `connection` all bytes of the connection, those of TLS included (FET-17).
     */
    part: Schema.Literal("headers", "fields", "body", "connection"),
    /** The limit, in bytes or header lines. */
    limit: Schema.Int
  }
) {
  override get message(): string {
    const limit = this.part === "fields"
      ? `more than ${this.limit} header fields`
      : this.part === "headers"
      ? `a head of more than ${this.limit} bytes`
      : this.part === "connection"
      ? `more than ${this.limit} bytes, with those of TLS`
      : `a body of more than ${this.limit} bytes`
    return `The response of ${this.clientId} is too large: it has ${limit}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
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
    return `The connection for ${this.clientId} ended before the ${this.part} of the response did.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The bytes are not a valid HTTP/1.1 response.
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
    return meaningOf(this).oauthError
  }
}

/**
 * A limit of this node stopped the fetch before a request was sent (FET-15, FET-21 to FET-23). The error says nothing about
 * the document. The counter `cimd_throttled_total` has the limit.
 *
 * - `failed`: the last fetch of this client failed, and its back-off is not over.
 * - `rate`: the rate limit of its site, its domain or its requester is reached.
 * - `busy`: too many fetches wait for a permit, this one waited too long, or this machine has no resources for it, such as
 *   files, memory and lookups.
 *
 * @since 0.1.0
 * @category errors
 */
export class Throttled extends Schema.TaggedError<Throttled>("effect-cimd/FetchError/Throttled")(
  "Throttled",
  {
    clientId: Schema.String,
    reason: Schema.Literal("failed", "rate", "busy"),
    /** Whether the failure behind the back-off permits a stale document: it was not 404 or 410. */
    originFault: Schema.optional(Schema.Boolean),
    /** The code of the error of this machine, such as `EMFILE`, if that was the reason. For the operator only. */
    code: Schema.optional(Schema.String),
    /** Milliseconds after which another attempt may succeed. For the operator only. */
    retryAfterMillis: Schema.Number
  }
) {
  override get message(): string {
    const reason = this.code === undefined
      ? reasons[this.reason]
      : `this machine could not look up its host or open a connection (${this.code})`
    return `${this.clientId} was not fetched, because ${reason}; try again in ${this.retryAfterMillis} ms.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

const reasons = {
  failed: "its last fetch failed a moment ago",
  rate: "too many fetches of its site, or for the same requester, started a moment ago",
  busy: "this server is busy with other fetches"
} as const

/**
 * Every error of a fetch, as a schema, so that one node can send it to another.
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
