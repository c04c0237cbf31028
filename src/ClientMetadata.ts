/**
 * The client metadata that a document may carry, and the document once it has been accepted.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import type { Issue } from "./Issue.js"

/**
 * A JSON value.
 *
 * @since 0.1.0
 * @category models
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [member: string]: Json }

/**
 * A JSON object.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonObject = { readonly [member: string]: Json }

/**
 * The registered members, each with its JSON type (the IANA OAuth Dynamic Client Registration Metadata registry).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientMetadata = Schema.Struct({
  client_id: Schema.String,
  redirect_uris: Schema.optional(Schema.Array(Schema.String))
})

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientMetadata extends Schema.Schema.Type<typeof ClientMetadata> {}

// Not exported, so nothing outside can write an object of the type.
declare const accepted: unique symbol

/**
 * A document that the validator accepted. There is no other way to make one, and nothing else can be cached (CAC-01).
 *
 * @since 0.1.0
 * @category models
 */
export interface AcceptedDocument {
  readonly [accepted]: true
  /** Where the document was fetched, and so which client it describes. */
  readonly clientId: ClientId
  /** The document as it came: every member, known or not. Deeply frozen. */
  readonly json: JsonObject
  /** The same value, read by its registered members. */
  readonly metadata: ClientMetadata
  /** The client authentication methods that this client may use at this server (DOC-07, DOC-21, DOC-22). */
  readonly authMethods: ReadonlyArray<string>
  /** What was accepted but deserves a look. */
  readonly warnings: ReadonlyArray<Issue>
  /** Names the rules that the document was judged by; see `Validator`'s `ruleset`. */
  readonly ruleset: string
}
