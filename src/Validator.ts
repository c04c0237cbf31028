/**
 * From bytes to an accepted document, or every fault of it (rules DOC-01 to DOC-23).
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument, ClientMetadata, JsonObject } from "./ClientMetadata.js"
import { authMethods } from "./ClientMetadata.js"
import * as Accepted from "./internal/rules/acceptedDocument.js"
import { judge } from "./internal/rules/documentRules.js"
import { error } from "./internal/rules/ruleCatalog.js"
import { rulesetOf } from "./internal/rules/ruleset.js"
import * as Json from "./internal/rules/strictJson.js"
import { quote, quoteAll, typeName } from "./internal/rules/text.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient, unauthorizedClient } from "./OAuthError.js"

// A small document can have thousands of faults: `issues` holds them all, a log line need not.
const shownIssues = 50

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
    const shown = this.issues.slice(0, shownIssues).map((issue) => `\n- ${Issue.format(issue)}`)
    const more = this.issues.length > shownIssues ? `\n- and ${this.issues.length - shownIssues} more` : ""
    return `The metadata document of ${quote(this.clientId)} was refused:${shown.join("")}${more}`
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
export class UnauthorizedClient
  extends Schema.TaggedError<UnauthorizedClient>("effect-cimd/Validator/UnauthorizedClient")(
    "UnauthorizedClient",
    { clientId: Schema.String, declared: Schema.Array(Schema.String), supported: Schema.Array(Schema.String) }
  )
{
  override get message(): string {
    const declared = this.declared.length === 0 ? "none" : quoteAll(this.declared)
    const supported = this.supported.length === 0 ? "" : ` This server supports ${quoteAll(this.supported)}.`
    return `The document of ${quote(this.clientId)} is valid, but the client can use no authentication method here. ` +
      `It declares ${declared}.${supported}`
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
 * Binds https redirect URIs to the origin of the client identifier; loopback and private-use URIs are exempt (CIMD,
 * section 8.1).
 *
 * @since 0.1.0
 * @category profiles
 */
export const sameOriginRedirect: Profile = { sameOriginRedirect: true }

/**
 * The profile that asks for everything that each of the profiles asks for.
 *
 * @since 0.1.0
 * @category profiles
 */
export const combine = (...profiles: ReadonlyArray<Profile>): Profile => ({
  required: [...new Set(profiles.flatMap((profile) => profile.required ?? []))],
  sameOriginRedirect: profiles.some((profile) => profile.sameOriginRedirect === true),
  authMethods: profiles.reduce<ReadonlyArray<string> | undefined>(
    (methods, profile) =>
      methods === undefined
        ? profile.authMethods
        : methods.filter((method) => profile.authMethods?.includes(method) ?? true),
    undefined
  ),
  rules: [...new Set(profiles.flatMap((profile) => profile.rules ?? []))]
})

/**
 * Judges documents, and is the only maker of accepted ones (CAC-01).
 *
 * @since 0.1.0
 * @category tags
 */
export class Validator extends Context.Tag("effect-cimd/Validator")<Validator, {
  /**
   * Names the rules in force: the version of the built-in rules and the profile. A document accepted under another rule
   * set is not served (CAC-11). At most 32 characters.
   */
  readonly ruleset: string
  /**
   * Judges the bytes that were fetched from the client identifier. An accepted document has its warnings with it; a
   * defect of a rule of the host's own stays a defect, and nothing is accepted.
   */
  readonly validate: (
    clientId: ClientId,
    body: Uint8Array
  ) => Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient>
}>() {}

/**
 * A validator for a profile; without one, what the specification asks for and no more.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (profile: Profile = {}): Context.Tag.Service<Validator> => {
  const ruleset = rulesetOf(profile)
  const rules = profile.rules ?? []

  const conclude = (
    clientId: ClientId,
    json: JsonObject,
    metadata: ClientMetadata,
    issues: ReadonlyArray<Issue.Issue>
  ): Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient> => {
    if (issues.some(Issue.isError)) {
      return refuse(clientId, issues)
    }
    const declared = authMethods(metadata)
    const supported = profile.authMethods
    const usable = supported === undefined ? declared : declared.filter((method) => supported.includes(method))
    return usable.length === 0
      ? Effect.fail(new UnauthorizedClient({ clientId, declared, supported: supported ?? [] }))
      : Effect.succeed(Accepted.make({ clientId, json, authMethods: usable, warnings: issues, ruleset }))
  }

  return {
    ruleset,
    validate: (clientId, body) =>
      Effect.suspend(() => {
        const { issues: faults, value } = Json.parse(body)
        if (value === undefined) {
          return refuse(clientId, faults)
        }
        if (!Json.isObject(value)) {
          return refuse(clientId, [
            ...faults,
            error("DOC-02", "", `The document is ${typeName(value)}. It has to be a JSON object, in braces.`)
          ])
        }
        const issues = [...faults, ...judge(value, clientId, profile)]
        if (issues.some(Issue.isError)) {
          return refuse(clientId, issues)
        }
        const metadata = Accepted.metadata(value)
        return rules.length === 0
          ? conclude(clientId, value, metadata, issues)
          : Effect.flatMap(
            Effect.forEach(rules, (rule) => rule.check(metadata, clientId)),
            (found) => conclude(clientId, value, metadata, [...issues, ...found.flat()])
          )
      })
  }
}

const refuse = (clientId: ClientId, issues: ReadonlyArray<Issue.Issue>): Effect.Effect<never, InvalidDocument> =>
  Effect.fail(
    new InvalidDocument(
      {
        clientId,
        issues: [...issues.filter(Issue.isError), ...issues.filter((issue) => !Issue.isError(issue))]
      },
      // The findings are our own, and a stranger decides how many there are.
      { disableValidation: true }
    )
  )

/**
 * The validator for a profile; without one, for what the specification asks and no more.
 *
 * @example
 * ```ts
 * import { Validator } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 *
 * const Live = Validator.layer(Validator.combine(Validator.mcp, {
 *   authMethods: ["none", "private_key_jwt"],
 *   rules: [{
 *     id: "acme-1",
 *     check: (metadata) =>
 *       Effect.succeed(
 *         metadata.client_name === "Acme"
 *           ? [{
 *             rule: "acme-1",
 *             severity: "error",
 *             path: "/client_name",
 *             message: "Choose another name.",
 *             source: "acme.example/rules"
 *           }]
 *           : []
 *       )
 *   }]
 * }))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (profile?: Profile): Layer.Layer<Validator> => Layer.sync(Validator, () => make(profile))

/**
 * The validator for a profile that is read from configuration. The host's own rules are code, and so beside it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  profile: Config.Config.Wrap<Omit<Profile, "rules">>,
  rules?: ReadonlyArray<Rule>
): Layer.Layer<Validator, ConfigError> =>
  Layer.effect(Validator, Effect.map(Config.unwrap(profile), (profile) => make({ ...profile, rules })))
