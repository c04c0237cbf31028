/**
 * Redirect URIs: which ones a document may register (DOC-11, DOC-12), and whether a requested one matches a registered
 * one (RED-01 to RED-05).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import { origin } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import { isMatchable, issuesOf } from "./internal/rules/redirectUriRules.js"
import { quote, quoteAll } from "./internal/rules/text.js"
import { httpsOrigin } from "./internal/rules/uriSyntax.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidRequest } from "./OAuthError.js"

/**
 * The kind of a redirect URI:
 *
 * - `https`: a web server.
 * - `loopback`: a native app that listens on the user's device, over http (RFC 8252, section 7.3).
 * - `private-use`: a native app with its own URI scheme (RFC 8252, section 7.1).
 * - `forbidden`: a value that a document must not register.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "https" | "loopback" | "private-use" | "forbidden"

/**
 * Options of matching.
 *
 * @since 0.1.0
 * @category models
 */
export interface MatchOptions {
  /**
   * Whether to ignore the port of `http://localhost`, as for a loopback address (RED-03). Defaults to `false`.
   */
  readonly allowLocalhostPort?: boolean | undefined
}

/**
 * Options of `matches`, which compares two redirect URIs without their document.
 *
 * @since 0.1.0
 * @category models
 */
export interface UriMatchOptions extends MatchOptions {
  /** Private-use schemes without a period that the server opens, in lower case (RED-05). Defaults to `[]`. */
  readonly privateUseSchemes?: ReadonlyArray<string> | undefined
}

/**
 * The client did not register the requested redirect URI. Never redirect to it, because the server would be an open
 * redirector. Show the error to the user instead (RED-04; RFC 6749, section 4.1.2.1).
 *
 * @since 0.1.0
 * @category errors
 */
export class RedirectUriMismatch extends Schema.TaggedError<RedirectUriMismatch>(
  "effect-cimd/RedirectUri/RedirectUriMismatch"
)("RedirectUriMismatch", { requested: Schema.String, registered: Schema.Array(Schema.String) }) {
  override get message(): string {
    const registered = this.registered.length === 0 ? "none" : quoteAll(this.registered)
    return `The redirect URI ${quote(this.requested)} matches no redirect URI of the client (${registered}). ` +
      "Never redirect to it. Show the error to the user (RED-04)."
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidRequest
  }
}

/**
 * Returns every issue of a redirect URI that a document registers: errors, then warnings (DOC-11, DOC-12). The issues
 * have `path` as their JSON pointer. Never throws.
 *
 * @since 0.1.0
 * @category validation
 */
export const issues = (uri: unknown, path = ""): ReadonlyArray<Issue.Issue> => issuesOf(uri, path)

/**
 * Returns the kind of a redirect URI: `forbidden` if `issues` returns an error. Never throws.
 *
 * @since 0.1.0
 * @category validation
 */
export const classify = (uri: unknown): Kind => {
  if (typeof uri !== "string" || issuesOf(uri, "").some(Issue.isError)) {
    return "forbidden"
  }
  const scheme = uri.slice(0, uri.indexOf(":")).toLowerCase()
  return scheme === "https" ? "https" : scheme === "http" ? "loopback" : "private-use"
}

/**
 * Whether a requested redirect URI matches a registered one. They must be equal character by character (RED-01), except
 * for the port of a loopback address (RED-02) and, if enabled, of `localhost` (RED-03). A URI that no document may
 * register never matches, nor does one with a private-use scheme that any app can claim (RED-05). Never throws.
 *
 * @example
 * ```ts
 * import { RedirectUri } from "effect-cimd"
 *
 * // Is `true`, because a native app may listen on any loopback port.
 * const isMatch = RedirectUri.matches("http://127.0.0.1/callback", "http://127.0.0.1:50000/callback")
 * ```
 *
 * @since 0.1.0
 * @category matching
 */
export const matches = (registered: string, requested: string, options?: UriMatchOptions): boolean =>
  isMatchable(registered, options?.privateUseSchemes) && compares(registered, requested, options)

const compares = (registered: string, requested: string, options: MatchOptions | undefined): boolean => {
  if (registered === requested) {
    return true
  }
  const left = loopback(registered)
  const right = loopback(requested)
  return left !== undefined &&
    right !== undefined &&
    left.host === right.host &&
    left.rest === right.rest &&
    isConnectable(right.port) &&
    (left.host !== "localhost" || options?.allowLocalhostPort === true)
}

/**
 * Succeeds with the requested redirect URI if it matches a registered one that may be matched. Otherwise fails with
 * `RedirectUriMismatch`. Redirect only to the URI that this succeeds with (RED-01 to RED-05).
 *
 * @since 0.1.0
 * @category matching
 */
export const match = (
  document: AcceptedDocument,
  requested: string,
  options?: MatchOptions
): Effect.Effect<string, RedirectUriMismatch> =>
  Effect.suspend(() =>
    document.redirectUris.some((uri) => compares(uri, requested, options))
      ? Effect.succeed(requested)
      : Effect.fail(new RedirectUriMismatch({ requested, registered: document.redirectUris }))
  )

/**
 * Whether an https redirect URI has the origin of the client identifier (DOC-20). Returns `false` for loopback and
 * private-use URIs, because they have no origin to compare. Never throws.
 *
 * @since 0.1.0
 * @category matching
 */
export const isSameOrigin = (redirectUri: string, clientId: ClientId): boolean =>
  classify(redirectUri) === "https" && httpsOrigin(redirectUri) === origin(clientId)

const pattern = /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(?::(0|[1-9][0-9]{0,4}))?(?=[/?]|$)/

// Splits an http URI on a host whose port may differ. Only a path or a query may follow the host and port, because
// other text would make it another host.
const loopback = (
  uri: string
): { readonly host: string; readonly port: number | undefined; readonly rest: string } | undefined => {
  const match = pattern.exec(uri)
  return match === null ? undefined : {
    host: match[1] ?? "",
    port: match[2] === undefined ? undefined : Number(match[2]),
    rest: uri.slice(match[0].length)
  }
}

// Nothing can listen on port 0. A client may register port 0 to say that it chooses the port later.
const isConnectable = (port: number | undefined): boolean => port === undefined || (port > 0 && port <= 65535)
