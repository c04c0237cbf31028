/**
 * From bytes to an accepted document, or every fault of it (rules DOC-01 to DOC-23).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument, ClientMetadata } from "./ClientMetadata.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient, unauthorizedClient } from "./OAuthError.js"

/**
 * The document breaks rules. `issues` holds all of them, warnings included, in a stable order (DOC-19).
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidDocument extends Schema.TaggedError<InvalidDocument>("effect-cimd/Validator/InvalidDocument")(
  "InvalidDocument",
  { clientId: Schema.String, issues: Schema.Array(Issue.Issue) }
) {
  override get message(): string {
    return `The metadata document of ${this.clientId} was refused:\n${this.issues.map((issue) => `- ${Issue.format(issue)}`).join("\n")}`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * The document is valid, and no authentication method of its client is one that this server supports (DOC-22).
 *
 * @since 0.1.0
 * @category errors
 */
export class UnauthorizedClient extends Schema.TaggedError<UnauthorizedClient>("effect-cimd/Validator/UnauthorizedClient")(
  "UnauthorizedClient",
  { clientId: Schema.String, declared: Schema.Array(Schema.String), supported: Schema.Array(Schema.String) }
) {
  override get message(): string {
    return `${this.clientId} can authenticate by ${this.declared.join(", ")}; this server supports ${this.supported.join(", ")}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return unauthorizedClient
  }
}

/**
 * A rule of the host's own. It sees a document that has passed every built-in rule about form, and answers with its
 * findings.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  /** Stable; part of the `ruleset`, so give a changed rule a changed id, such as `acme-2`. */
  readonly id: string
  readonly check: (metadata: ClientMetadata, clientId: ClientId) => Effect.Effect<ReadonlyArray<Issue.Issue>>
}

/**
 * What a server asks of documents beyond the specification. Plain data (DOC-20).
 *
 * @since 0.1.0
 * @category models
 */
export interface Profile {
  /** Members that must be present. */
  readonly required?: ReadonlyArray<string> | undefined
  /** Whether https redirect URIs must have the origin of the client id. */
  readonly sameOriginRedirect?: boolean | undefined
  /** The client authentication methods that the server supports; all but shared secrets, if absent (DOC-22). */
  readonly authMethods?: ReadonlyArray<string> | undefined
  /** The host's own rules. */
  readonly rules?: ReadonlyArray<Rule> | undefined
}

/**
 * What the Model Context Protocol asks for: `client_name` and `redirect_uris` (MCP 2025-11-25).
 *
 * @since 0.1.0
 * @category profiles
 */
export const mcp: Profile = { required: ["client_name", "redirect_uris"] }

/**
 * @since 0.1.0
 * @category tags
 */
export class Validator extends Context.Tag("effect-cimd/Validator")<Validator, {
  /**
   * Names the rules in force: the library's version and the profile. A document accepted under another rule set is not
   * served (CAC-11).
   */
  readonly ruleset: string
  /** Judges the bytes that were fetched from the client identifier. */
  readonly validate: (
    clientId: ClientId,
    body: Uint8Array
  ) => Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient>
}>() {}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: (profile?: Profile) => Layer.Layer<Validator> = () => null as never
