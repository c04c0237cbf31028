/**
 * Client Identifier URLs (CIMD section 3; rules URL-01 to URL-12).
 *
 * A client identifier is judged on the string as it came. Identifiers are compared character by character, so nothing
 * here normalizes: a string either is a client identifier or it is not.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { findings, isPlain } from "./internal/rules/clientIdGrammar.js"
import { parts } from "./internal/rules/clientIdParts.js"
import { quote } from "./internal/rules/text.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient } from "./OAuthError.js"

/**
 * A string that satisfies the grammar of a Client Identifier URL.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientId = string & Brand.Brand<"effect-cimd/ClientId">

/**
 * What the grammar may be widened by.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Characters a client identifier may have at most; 2048 unless told, and no more (URL-09). */
  readonly maxLength?: number | undefined
  /** Permit `localhost`, `127.0.0.0/8` and `[::1]`, for development alone (URL-10, ADR-06). */
  readonly loopback?: boolean | undefined
  /** Permit literal addresses but loopback; whether one is public is the fetcher's to judge (URL-10). */
  readonly addressLiterals?: boolean | undefined
}

/**
 * The input is no Client Identifier URL. `issues` holds every broken rule.
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
    return `${input} is not a Client Identifier URL. If it names a client of your own registry, look it up there; ` +
      `if it should name a metadata document, its developer has to mend this:\n${lines.join("\n")}`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * Every finding about a client identifier: broken rules, then warnings. Never throws.
 *
 * @since 0.1.0
 * @category parsing
 */
export const issues = (input: unknown, options?: Options): ReadonlyArray<Issue.Issue> => findings(input, options)

/**
 * Whether the input is a Client Identifier URL. `false` tells the host to look the client up in its own registry
 * (URL-12). Never throws.
 *
 * A server that permits more than host names on the internet gives its `HostPolicy` for the options, which has the same
 * switches; else a client on `localhost` is taken for one of the host's own registry.
 *
 * @example
 * ```ts
 * import { ClientId, HostPolicy } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 *
 * const isMetadataDocument = (clientId: string) =>
 *   Effect.map(HostPolicy.HostPolicy, (policy) => ClientId.is(clientId, policy))
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const is = (input: unknown, options?: Options): input is ClientId =>
  typeof input === "string" && (isPlain(input, options) || !findings(input, options).some(Issue.isError))

/**
 * The client identifier, or every rule that the input breaks.
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
 * The host of a client identifier, in lower case, without port; an IPv6 literal without its brackets.
 *
 * @since 0.1.0
 * @category getters
 */
export const host = (clientId: ClientId): string => parts(clientId).host

/**
 * The origin of a client identifier: scheme, host, and port unless it is 443.
 *
 * @since 0.1.0
 * @category getters
 */
export const origin = (clientId: ClientId): string => parts(clientId).origin

/**
 * `ClientId` as a schema, with the grammar of a production server.
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
