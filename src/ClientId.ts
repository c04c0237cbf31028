/**
 * Client Identifier URLs (CIMD section 3; rules URL-01 to URL-12).
 *
 * Identifiers are compared character by character, so this module checks the string as received and never normalizes it.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { meaningOf } from "./internal/errorMeaning.js"
import * as Grammar from "./internal/rules/clientIdGrammar.js"
import { parts } from "./internal/rules/clientIdParts.js"
import { quote } from "./internal/rules/text.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * A string that satisfies the grammar of a Client Identifier URL.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientId = string & Brand.Brand<"effect-cimd/ClientId">

/**
 * Options of the grammar.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Maximum length in characters. Defaults to `2048`, and a greater value has no effect (URL-09). */
  readonly maxLength?: number | undefined
  /**
   * Whether to permit `localhost`, `127.0.0.0/8` and `[::1]`. For development only (URL-10, ADR-06). Defaults to `false`.
   */
  readonly loopback?: boolean | undefined
  /**
   * Whether to permit IP addresses other than loopback. The fetcher checks that an address is public (URL-10). Defaults
   * to `false`.
   */
  readonly addressLiterals?: boolean | undefined
}

/**
 * The input is not a Client Identifier URL. `issues` holds every issue, warnings included.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidClientId extends Schema.TaggedError<InvalidClientId>("effect-cimd/ClientId/InvalidClientId")(
  "InvalidClientId",
  { input: Schema.Unknown, issues: Schema.Array(Issue.Issue) }
) {
  override get message(): string {
    const input = typeof this.input === "string" ? quote(this.input) : `A value of type ${typeof this.input}`
    const lines = this.issues.map((issue) => `- ${Issue.format(issue)}`)
    const advice = looksLikeUrl(this.input)
      ? "Its developer must fix these issues:"
      : "If it names a client of your own registry, look it up there. If it should name a metadata document, its " +
        "developer must fix these issues:"
    return `${input} is not a Client Identifier URL. ${advice}\n${lines.join("\n")}`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * Returns every issue of a client identifier: errors, then warnings. Never throws.
 *
 * @since 0.1.0
 * @category parsing
 */
export const issues = (input: unknown, options?: Options): ReadonlyArray<Issue.Issue> =>
  Grammar.issuesOf(input, options)

// The URL parser drops spaces and control characters before the scheme, and needs no slashes after it.
const webScheme = /^[\s\u0000-\u001f]*https?:/i

/**
 * Whether the input was meant to be a URL of the web. Pass such a client identifier to `Resolver.resolve`, which reports
 * what is wrong with it, and look every other one up in the server's own registry (URL-12). Never throws.
 *
 * The rules of a Client Identifier URL have no part in it: `HTTPS://APP.EXAMPLE`, `http://app.example/c` and `https:app`
 * look like URLs too, because their developers should see what is wrong, and not "unknown client". A server whose own
 * registry has such identifiers looks there first.
 *
 * @example
 * ```ts
 * import { ClientId, Resolver } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 * import * as Option from "effect/Option"
 *
 * const resolve = (clientId: string) =>
 *   ClientId.looksLikeUrl(clientId)
 *     ? Effect.asSome(Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(clientId)))
 *     : Effect.succeed(Option.none())
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const looksLikeUrl = (input: unknown): input is string => typeof input === "string" && webScheme.test(input)

/**
 * Whether the input is a Client Identifier URL. Never throws. To route a request, use {@link looksLikeUrl}: an identifier
 * that breaks a rule belongs to no registry either.
 *
 * A server that permits more than host names passes its `HostPolicy` as the options, because it has the same members.
 *
 * @since 0.1.0
 * @category parsing
 */
export const is = (input: unknown, options?: Options): input is ClientId =>
  typeof input === "string" && (Grammar.isPlain(input, options) || !issues(input, options).some(Issue.isError))

/**
 * Succeeds with the input if it is a Client Identifier URL. Otherwise fails with every issue.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (input: unknown, options?: Options): Effect.Effect<ClientId, InvalidClientId> =>
  Effect.suspend(() =>
    is(input, options)
      ? Effect.succeed(input)
      : Effect.fail(new InvalidClientId({ input, issues: issues(input, options) }))
  )

/**
 * Returns the host of a client identifier in lower case, without port. An IPv6 address has no brackets.
 *
 * @since 0.1.0
 * @category getters
 */
export const host = (clientId: ClientId): string => parts(clientId).host

/**
 * Returns the origin of a client identifier: scheme, host, and port unless it is 443.
 *
 * @since 0.1.0
 * @category getters
 */
export const origin = (clientId: ClientId): string => parts(clientId).origin

/**
 * A schema for client identifiers, with the default options.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientId: Schema.Schema<ClientId, string> = Schema.String.pipe(
  Schema.filter((text): text is ClientId => is(text), {
    identifier: "ClientId",
    description: "a Client Identifier URL",
    message: ({ actual }) => new InvalidClientId({ input: actual, issues: issues(actual) }).message,
    arbitrary: () => (fc) =>
      fc
        .tuple(fc.domain(), fc.webPath())
        .map(([domain, path]) => `https://${domain}${path}`)
        .filter((text): text is ClientId => is(text))
  })
)
