/**
 * Redirect URIs: what a document may register (DOC-11, DOC-12), and whether a request's URI is one of them (RED-01 to
 * RED-04).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import { origin } from "./ClientId.js"
import { findings } from "./internal/rules/redirectUriRules.js"
import { quote, quoteAll } from "./internal/rules/text.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidRequest } from "./OAuthError.js"

/**
 * What a redirect URI leads to:
 *
 * - `https`: a web server.
 * - `loopback`: a native app that listens on the user's own device, over http.
 * - `private-use`: a native app, by a URI scheme of its own.
 * - `forbidden`: nothing that a document may register.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "https" | "loopback" | "private-use" | "forbidden"

/**
 * How matching may be widened.
 *
 * @since 0.1.0
 * @category models
 */
export interface MatchOptions {
  /** Ignore the port of `http://localhost` as that of a loopback literal is; off unless told (RED-03). */
  readonly allowLocalhostPort?: boolean | undefined
}

/**
 * The requested redirect URI is none of the client's. Never redirect to it: show the error to the user instead, or the
 * server becomes an open redirector (RED-04; RFC 6749, section 4.1.2.1).
 *
 * @since 0.1.0
 * @category errors
 */
export class RedirectUriMismatch extends Schema.TaggedError<RedirectUriMismatch>(
  "effect-cimd/RedirectUri/RedirectUriMismatch"
)("RedirectUriMismatch", { requested: Schema.String, registered: Schema.Array(Schema.String) }) {
  override get message(): string {
    const registered = this.registered.length === 0 ? "none" : quoteAll(this.registered)
    return `The redirect URI ${quote(this.requested)} is not one that the client registered (${registered}). ` +
      "Never redirect to it; show the error to the user (RED-04)."
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidRequest
  }
}

/**
 * Every finding about a redirect URI that a document registers: errors, then warnings. `path` is the JSON pointer that
 * the findings carry. Never throws (DOC-11, DOC-12).
 *
 * @since 0.1.0
 * @category validation
 */
export const issues = (uri: unknown, path = ""): ReadonlyArray<Issue.Issue> => findings(uri, path)

/**
 * What a redirect URI leads to; `forbidden` for everything that `issues` refuses. Never throws.
 *
 * @since 0.1.0
 * @category validation
 */
export const classify = (uri: unknown): Kind => {
  if (typeof uri !== "string" || findings(uri, "").some(Issue.isError)) {
    return "forbidden"
  }
  const scheme = uri.slice(0, uri.indexOf(":")).toLowerCase()
  return scheme === "https" ? "https" : scheme === "http" ? "loopback" : "private-use"
}

/**
 * Whether a requested redirect URI is the registered one: character by character (RED-01), but for the port of a
 * loopback literal (RED-02) and, if the server opts in, of `localhost` (RED-03). Never throws.
 *
 * @example
 * ```ts
 * import { RedirectUri } from "effect-cimd"
 *
 * // Succeeds: the port of a loopback redirect is the client's to choose.
 * const target = RedirectUri.match(["http://127.0.0.1/callback"], "http://127.0.0.1:50000/callback")
 * ```
 *
 * @since 0.1.0
 * @category matching
 */
export const matches = (registered: string, requested: string, options?: MatchOptions): boolean => {
  if (registered === requested) {
    return true
  }
  const left = loopback(registered)
  const right = loopback(requested)
  return left !== undefined &&
    right !== undefined &&
    left.host === right.host &&
    left.rest === right.rest &&
    isOpenable(right.port) &&
    (left.host !== "localhost" || options?.allowLocalhostPort === true)
}

/**
 * The requested redirect URI, if it is one of those registered. Redirect to what this succeeds with, and to nothing
 * else (RED-01 to RED-04).
 *
 * @since 0.1.0
 * @category matching
 */
export const match = (
  registered: ReadonlyArray<string>,
  requested: string,
  options?: MatchOptions
): Effect.Effect<string, RedirectUriMismatch> =>
  Effect.suspend(() =>
    registered.some((uri) => matches(uri, requested, options))
      ? Effect.succeed(requested)
      : Effect.fail(new RedirectUriMismatch({ requested, registered }))
  )

/**
 * Whether an https redirect URI has the origin of the client identifier (DOC-20). `false` for loopback and private-use
 * URIs, which have no origin to compare. Never throws.
 *
 * @since 0.1.0
 * @category matching
 */
export const isSameOrigin = (redirectUri: string, clientId: ClientId): boolean =>
  classify(redirectUri) === "https" && new URL(redirectUri).origin === origin(clientId)

const pattern = /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(?::(0|[1-9][0-9]{0,4}))?(?=[/?]|$)/

// An http URI on a host whose port may differ, at the places where it may. Anything that follows the host but a path or
// a query would make it another host.
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

// Nothing listens on port 0. A client may register it to say that its port is chosen later.
const isOpenable = (port: number | undefined): boolean => port === undefined || (port > 0 && port <= 65535)
