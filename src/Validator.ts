/**
 * Validates a fetched document: returns an accepted document, or fails with every issue (DOC-01 to DOC-23).
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
import { HostPolicy } from "./HostPolicy.js"
import { meaningOf } from "./internal/errorMeaning.js"
import * as Accepted from "./internal/rules/acceptedDocument.js"
import { issuesOf } from "./internal/rules/documentRules.js"
import * as RedirectUriRules from "./internal/rules/redirectUriRules.js"
import { error, warning } from "./internal/rules/ruleCatalog.js"
import { rulesetOf } from "./internal/rules/ruleset.js"
import * as Json from "./internal/rules/strictJson.js"
import { quote, quoteAll, typeName } from "./internal/rules/text.js"
import * as Weight from "./internal/rules/weight.js"
import * as Issue from "./Issue.js"
import type { OAuthError } from "./OAuthError.js"

// A document can have a hundred issues, but the message must fit into a log.
const shownIssues = 50

/**
 * The document is invalid. `issues` holds every issue in a stable order, errors before warnings (DOC-19). If there
 * are more than 100, the last one counts the rest (DOC-25).
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
    const more = this.issues.length > shownIssues ? "\n- and more" : ""
    return `The metadata document of ${quote(this.clientId)} is invalid:${shown.join("")}${more}`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The document is valid, but this server supports none of the client's authentication methods (DOC-22).
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
    return `The metadata document of ${quote(this.clientId)} is valid, but this server supports none of the client's ` +
      `authentication methods. The client declares ${declared}.${supported}`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * A custom rule of the server. It runs only on a document that has passed every built-in rule.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  /** A stable id. It is part of the `ruleset`, so change the id when the rule changes, for example to `acme-2`. */
  readonly id: string
  /** Returns the rule's issues. An issue with severity `"error"` makes the document invalid. */
  readonly check: (metadata: ClientMetadata, clientId: ClientId) => Effect.Effect<ReadonlyArray<Issue.Issue>>
}

/**
 * What a server requires of documents in addition to the specification (DOC-20).
 *
 * @since 0.1.0
 * @category models
 */
export interface Profile {
  /** Members that must be present and not empty. Defaults to `[]`. */
  readonly required?: ReadonlyArray<string> | undefined
  /** Whether https redirect URIs must have the origin of the client id. Defaults to `false`. */
  readonly sameOriginRedirect?: boolean | undefined
  /**
   * The client authentication methods that the server supports (DOC-22). Defaults to every method without a shared
   * secret.
   */
  readonly authMethods?: ReadonlyArray<string> | undefined
  /**
   * Private-use schemes without a period that redirect URIs may have, such as `acme`. Any app on a user's device can claim
   * such a scheme, so its redirect URIs are never matched otherwise (RED-05). Schemes that are refused stay refused
   * (DOC-12). Defaults to `[]`.
   */
  readonly privateUseSchemes?: ReadonlyArray<string> | undefined
  /** The server's custom rules. Defaults to `[]`. */
  readonly rules?: ReadonlyArray<Rule> | undefined
}

/**
 * Requires `client_name` and `redirect_uris`, as the Model Context Protocol does (MCP 2025-11-25).
 *
 * @since 0.1.0
 * @category profiles
 */
export const mcp: Profile = { required: ["client_name", "redirect_uris"] }

/**
 * Requires that https redirect URIs have the origin of the client identifier. Loopback and private-use URIs are exempt
 * (CIMD, section 8.1).
 *
 * @since 0.1.0
 * @category profiles
 */
export const sameOriginRedirect: Profile = { sameOriginRedirect: true }

/**
 * Combines profiles into one that requires everything that each of them requires, and opens the private-use schemes
 * that any of them opens.
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
  privateUseSchemes: [...new Set(profiles.flatMap((profile) => profile.privateUseSchemes ?? []))],
  rules: [...new Set(profiles.flatMap((profile) => profile.rules ?? []))]
})

/**
 * Validates documents. Only a validator makes accepted documents (CAC-01).
 *
 * @since 0.1.0
 * @category tags
 */
export class Validator extends Context.Tag("effect-cimd/Validator")<Validator, {
  /**
   * The name of the rules in use: the version of the built-in rules, the profile, and what the host policy says of URLs in
   * documents. Cached documents that were accepted under another ruleset are not served (CAC-11). At most 32 characters.
   */
  readonly ruleset: string
  /**
   * Validates the bytes that were fetched from the client identifier. Succeeds with the accepted document and its
   * warnings. A defect of a custom rule remains a defect.
   */
  readonly validate: (
    clientId: ClientId,
    body: Uint8Array
  ) => Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient>
}>() {}

/**
 * Makes a validator for a profile. Without a profile, it requires only what the specification requires.
 *
 * The host policy decides which hosts and ports the URLs may have that the server fetches, such as `jwks_uri` (DOC-13). It
 * defaults to `HostPolicy.layerPublic`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Profile = {},
  hostPolicy: Partial<Context.Tag.Service<HostPolicy>> = {}
): Context.Tag.Service<Validator> => {
  // Schemes are case-insensitive (RFC 3986, section 3.1).
  const privateUseSchemes = (options.privateUseSchemes ?? []).map((scheme) => scheme.toLowerCase())
  const profile: Profile = { ...options, privateUseSchemes }
  const { addressLiterals, loopback, reasonAgainstFetch } = hostPolicy
  const documentOptions = { ...profile, addressLiterals, loopback, reasonAgainstFetch }
  const ruleset = rulesetOf(profile, hostPolicy)
  const rules = profile.rules ?? []

  const redirectUris = (metadata: ClientMetadata): ReadonlyArray<string> => {
    const registered = metadata.redirect_uris ?? []
    const isMatchable = (uri: string) => RedirectUriRules.isMatchable(uri, privateUseSchemes)
    // A document is kept as long as it is fresh, so most share the array.
    return registered.every(isMatchable) ? registered : registered.filter(isMatchable)
  }

  const conclude = (
    clientId: ClientId,
    json: JsonObject,
    metadata: ClientMetadata,
    issues: ReadonlyArray<Issue.Issue>
  ): Effect.Effect<AcceptedDocument, InvalidDocument | UnauthorizedClient> => {
    if (issues.some(Issue.isError)) {
      return invalid(clientId, issues)
    }
    const declared = authMethods(metadata)
    const supported = profile.authMethods
    const usable = supported === undefined ? declared : declared.filter((method) => supported.includes(method))
    return usable.length === 0
      ? Effect.fail(new UnauthorizedClient({ clientId, declared, supported: supported ?? [] }))
      : Effect.succeed(Accepted.make({
        clientId,
        json,
        authMethods: usable,
        redirectUris: redirectUris(metadata),
        warnings: issues.length <= Weight.maxWarnings ? issues : Weight.firstOf(issues, Weight.maxWarnings, warning),
        ruleset
      }))
  }

  return {
    ruleset,
    validate: (clientId, body) =>
      Effect.suspend(() => {
        const { issues: textIssues, value } = Json.parse(body)
        if (value === undefined) {
          return invalid(clientId, textIssues)
        }
        if (!Json.isObject(value)) {
          return invalid(clientId, [
            ...textIssues,
            error("DOC-02", "", `The document is not a JSON object, but ${typeName(value)}. It must begin with "{".`)
          ])
        }
        const issues = [...textIssues, ...issuesOf(value, clientId, documentOptions)]
        if (issues.some(Issue.isError)) {
          return invalid(clientId, issues)
        }
        const metadata = Accepted.metadata(value)
        return rules.length === 0
          ? conclude(clientId, value, metadata, issues)
          : Effect.flatMap(
            Effect.forEach(rules, (rule) => rule.check(metadata, clientId)),
            (customIssues) => conclude(clientId, value, metadata, [...issues, ...customIssues.flat()])
          )
      })
  }
}

const invalid = (clientId: ClientId, issues: ReadonlyArray<Issue.Issue>): Effect.Effect<never, InvalidDocument> => {
  const sorted = [...issues.filter(Issue.isError), ...issues.filter((issue) => !Issue.isError(issue))]
  return Effect.fail(
    new InvalidDocument(
      {
        clientId,
        issues: sorted.length <= Weight.maxIssues ? sorted : Weight.firstOf(sorted, Weight.maxIssues - 1, error)
      },
      // The issues are well formed, and untrusted input decides how many there are, so validating them would be costly.
      { disableValidation: true }
    )
  )
}

/**
 * A layer with the validator for a profile. Without a profile, it requires only what the specification requires. The
 * `HostPolicy` decides which hosts and ports the URLs may have that the server fetches (DOC-13).
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
 *             message: "The name is reserved. Choose another one.",
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
export const layer = (profile?: Profile): Layer.Layer<Validator, never, HostPolicy> =>
  Layer.effect(Validator, Effect.map(HostPolicy, (hostPolicy) => make(profile, hostPolicy)))

/**
 * {@link layer} with its profile read from `Config`. Custom rules are code, so they are a parameter of their own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  profile: Config.Config.Wrap<Omit<Profile, "rules">>,
  rules?: ReadonlyArray<Rule>
): Layer.Layer<Validator, ConfigError, HostPolicy> =>
  Layer.effect(
    Validator,
    Effect.zipWith(Config.unwrap(profile), HostPolicy, (profile, hostPolicy) => make({ ...profile, rules }, hostPolicy))
  )
