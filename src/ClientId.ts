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
import { Issue } from "./Issue.js"
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
  /** Characters a client identifier may have at most; 2048 unless told (URL-09). */
  readonly maxLength?: number | undefined
  /** Permit `localhost` and loopback literals, for development alone (URL-10, ADR-06). */
  readonly loopback?: boolean | undefined
  /** Permit literal addresses; whether one is public is the fetcher's to judge (URL-10). */
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
  { input: Schema.Unknown, issues: Schema.Array(Issue) }
) {
  override get message(): string {
    throw new Error("TODO")
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
export const issues: (input: unknown, options?: Options) => ReadonlyArray<Issue> = () => {
  throw new Error("TODO")
}

/**
 * Whether the input is a Client Identifier URL. `false` tells the host to look the client up in its own registry
 * (URL-12). Never throws.
 *
 * @since 0.1.0
 * @category parsing
 */
export const is = (input: unknown, options?: Options): input is ClientId => {
  throw new Error("TODO " + input + options)
}

/**
 * The client identifier, or every rule that the input breaks.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse: (input: unknown, options?: Options) => Effect.Effect<ClientId, InvalidClientId> = () =>
  Effect.die("TODO")

/**
 * The host of a client identifier, in lower case, without port; an IPv6 literal without its brackets.
 *
 * @since 0.1.0
 * @category getters
 */
export const host: (clientId: ClientId) => string = () => {
  throw new Error("TODO")
}

/**
 * The origin of a client identifier: scheme, host, and port unless it is 443.
 *
 * @since 0.1.0
 * @category getters
 */
export const origin: (clientId: ClientId) => string = () => {
  throw new Error("TODO")
}

/**
 * `ClientId` as a schema, with the grammar of a production server.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientId: Schema.Schema<ClientId, string> = null as never
