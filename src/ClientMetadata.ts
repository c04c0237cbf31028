/**
 * The registered members of a client metadata document, and the document after the validator has accepted it.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import { meaningId } from "./internal/rules/memberMeaning.js"
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

const optional = <A, I, R>(schema: Schema.Schema<A, I, R>) => Schema.optionalWith(schema, { exact: true })

const Strings = Schema.Array(Schema.String)
const Seconds = Schema.NonNegativeInt
const AnyObject = Schema.Record({ key: Schema.String, value: Schema.Unknown })

// The annotations name the rules that apply to a value in addition to its type. The validator reads them.
const Text = Schema.String.annotations({ [meaningId]: "text" })
const Texts = Schema.Array(Text)
const Link = Schema.String.annotations({ [meaningId]: "link" })
const Endpoint = Schema.String.annotations({ [meaningId]: "endpoint" })
const Request = Schema.String.annotations({ [meaningId]: "request" })
const Resource = Schema.String.annotations({ [meaningId]: "resource" })
const RedirectUris = Schema.Array(Schema.String.annotations({ [meaningId]: "redirect" }))

const tagged = <const Name extends string, A, I>(name: Name, value: Schema.Schema<A, I>) => ({
  key: Schema.TemplateLiteral(`${name}#`, Schema.String),
  value
})

/**
 * A schema for a public key (RFC 7517). Keeps unknown members.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonWebKey = Schema.Struct(
  {
    kty: Schema.String,
    use: optional(Schema.String),
    key_ops: optional(Strings),
    alg: optional(Schema.String),
    kid: optional(Schema.String),
    x5u: optional(Resource),
    x5c: optional(Strings),
    x5t: optional(Schema.String),
    "x5t#S256": optional(Schema.String)
  },
  { key: Schema.String, value: Schema.Unknown }
)

/**
 * A public key (RFC 7517).
 *
 * @since 0.1.0
 * @category models
 */
export interface JsonWebKey extends Schema.Schema.Type<typeof JsonWebKey> {}

/**
 * A schema for a set of public keys (RFC 7517). Keeps unknown members.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonWebKeySet = Schema.Struct(
  { keys: Schema.Array(JsonWebKey) },
  { key: Schema.String, value: Schema.Unknown }
)

/**
 * A set of public keys (RFC 7517).
 *
 * @since 0.1.0
 * @category models
 */
export interface JsonWebKeySet extends Schema.Schema.Type<typeof JsonWebKeySet> {}

/**
 * A schema for the registered members, each with its JSON type. It has the members of the IANA registry "OAuth Dynamic
 * Client Registration Metadata", and those of specifications that have not registered theirs yet.
 *
 * `client_secret` and `client_secret_expires_at` are missing because no document may have them (DOC-05). Unknown members
 * are in `AcceptedDocument.json`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientMetadata = Schema.Struct(
  {
    // OAuth 2.0 Dynamic Client Registration, RFC 7591
    client_id: Schema.String,
    redirect_uris: optional(RedirectUris),
    token_endpoint_auth_method: optional(Schema.String),
    grant_types: optional(Strings),
    response_types: optional(Strings),
    client_name: optional(Text),
    client_uri: optional(Link),
    logo_uri: optional(Resource),
    scope: optional(Schema.String),
    contacts: optional(Texts),
    tos_uri: optional(Link),
    policy_uri: optional(Link),
    jwks_uri: optional(Resource),
    jwks: optional(JsonWebKeySet),
    software_id: optional(Schema.String),
    software_version: optional(Schema.String),
    software_statement: optional(Schema.String),
    client_id_issued_at: optional(Seconds),
    // OAuth 2.0 Dynamic Client Registration Management, RFC 7592
    registration_access_token: optional(Schema.String),
    registration_client_uri: optional(Endpoint),
    // OpenID Connect Dynamic Client Registration 1.0
    application_type: optional(Schema.String),
    sector_identifier_uri: optional(Resource),
    subject_type: optional(Schema.String),
    id_token_signed_response_alg: optional(Schema.String),
    id_token_encrypted_response_alg: optional(Schema.String),
    id_token_encrypted_response_enc: optional(Schema.String),
    userinfo_signed_response_alg: optional(Schema.String),
    userinfo_encrypted_response_alg: optional(Schema.String),
    userinfo_encrypted_response_enc: optional(Schema.String),
    request_object_signing_alg: optional(Schema.String),
    request_object_encryption_alg: optional(Schema.String),
    request_object_encryption_enc: optional(Schema.String),
    token_endpoint_auth_signing_alg: optional(Schema.String),
    default_max_age: optional(Seconds),
    require_auth_time: optional(Schema.Boolean),
    default_acr_values: optional(Strings),
    initiate_login_uri: optional(Endpoint),
    request_uris: optional(Schema.Array(Request)),
    // OpenID Connect Relying Party Metadata Choices 1.0 (CIMD-03 section 6)
    token_endpoint_auth_methods_supported: optional(Strings),
    token_endpoint_auth_signing_alg_values_supported: optional(Strings),
    subject_types_supported: optional(Strings),
    id_token_signing_alg_values_supported: optional(Strings),
    id_token_encryption_alg_values_supported: optional(Strings),
    id_token_encryption_enc_values_supported: optional(Strings),
    userinfo_signing_alg_values_supported: optional(Strings),
    userinfo_encryption_alg_values_supported: optional(Strings),
    userinfo_encryption_enc_values_supported: optional(Strings),
    request_object_signing_alg_values_supported: optional(Strings),
    request_object_encryption_alg_values_supported: optional(Strings),
    request_object_encryption_enc_values_supported: optional(Strings),
    authorization_signing_alg_values_supported: optional(Strings),
    authorization_encryption_alg_values_supported: optional(Strings),
    authorization_encryption_enc_values_supported: optional(Strings),
    introspection_signing_alg_values_supported: optional(Strings),
    introspection_encryption_alg_values_supported: optional(Strings),
    introspection_encryption_enc_values_supported: optional(Strings),
    backchannel_authentication_request_signing_alg_values_supported: optional(Strings),
    // OpenID Connect RP-Initiated, Front-Channel and Back-Channel Logout 1.0
    post_logout_redirect_uris: optional(RedirectUris),
    frontchannel_logout_uri: optional(Endpoint),
    frontchannel_logout_session_required: optional(Schema.Boolean),
    backchannel_logout_uri: optional(Resource),
    backchannel_logout_session_required: optional(Schema.Boolean),
    // Client-Initiated Backchannel Authentication 1.0
    backchannel_token_delivery_mode: optional(Schema.String),
    backchannel_client_notification_endpoint: optional(Resource),
    backchannel_authentication_request_signing_alg: optional(Schema.String),
    backchannel_user_code_parameter: optional(Schema.Boolean),
    // JWT-Secured Authorization Request, RFC 9101; Pushed Authorization Requests, RFC 9126
    require_signed_request_object: optional(Schema.Boolean),
    require_pushed_authorization_requests: optional(Schema.Boolean),
    // JWT Secured Authorization Response Mode
    authorization_signed_response_alg: optional(Schema.String),
    authorization_encrypted_response_alg: optional(Schema.String),
    authorization_encrypted_response_enc: optional(Schema.String),
    // Rich Authorization Requests, RFC 9396
    authorization_details_types: optional(Strings),
    // DPoP, RFC 9449
    dpop_bound_access_tokens: optional(Schema.Boolean),
    // Mutual TLS, RFC 8705, and FAPI 2.0
    tls_client_certificate_bound_access_tokens: optional(Schema.Boolean),
    tls_client_auth_subject_dn: optional(Schema.String),
    tls_client_auth_san_dns: optional(Schema.String),
    tls_client_auth_san_uri: optional(Schema.String),
    tls_client_auth_san_ip: optional(Schema.String),
    tls_client_auth_san_email: optional(Schema.String),
    use_mtls_endpoint_aliases: optional(Schema.Boolean),
    // JWT Response for Token Introspection, RFC 9701
    introspection_signed_response_alg: optional(Schema.String),
    introspection_encrypted_response_alg: optional(Schema.String),
    introspection_encrypted_response_enc: optional(Schema.String),
    // OpenID Federation 1.0
    client_registration_types: optional(Strings),
    signed_jwks_uri: optional(Resource),
    organization_name: optional(Text),
    organization_uri: optional(Link),
    homepage_uri: optional(Link),
    display_name: optional(Text),
    description: optional(Text),
    keywords: optional(Texts),
    information_uri: optional(Link),
    // User-Managed Access 2.0
    claims_redirect_uris: optional(RedirectUris),
    // ETSI GS NFV-SEC 022
    nfv_token_signed_response_alg: optional(Schema.String),
    nfv_token_encrypted_response_alg: optional(Schema.String),
    nfv_token_encrypted_response_enc: optional(Schema.String),
    // OpenID for Verifiable Presentations and for Verifiable Credential Issuance
    vp_formats: optional(AnyObject),
    vp_formats_supported: optional(AnyObject),
    encrypted_response_enc_values_supported: optional(Strings),
    credential_offer_endpoint: optional(Endpoint),
    // OAuth 2.0 Attestation-Based Client Authentication
    client_attestation_signing_alg_values_supported: optional(Strings),
    client_attestation_pop_signing_alg_values_supported: optional(Strings),
    client_attestation_pop_methods_supported: optional(Strings),
    // Published by clients, although no specification registers them for clients
    code_challenge_methods_supported: optional(Strings),
    response_modes: optional(Strings)
  },
  // Human-readable members in other languages, such as client_name#ja (RFC 7591, section 2.2)
  tagged("client_name", Text),
  tagged("client_uri", Link),
  tagged("logo_uri", Resource),
  tagged("tos_uri", Link),
  tagged("policy_uri", Link),
  tagged("organization_name", Text),
  tagged("organization_uri", Link),
  tagged("display_name", Text),
  tagged("description", Text),
  tagged("keywords", Texts),
  tagged("information_uri", Link)
)

/**
 * The registered members of a document.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientMetadata extends Schema.Schema.Type<typeof ClientMetadata> {}

/**
 * Returns the client authentication methods that a client declares, the preferred one first (CIMD-03 section 6):
 *
 * - `token_endpoint_auth_method`, then those of `token_endpoint_auth_methods_supported`.
 * - `none` if it has neither member. RFC 7591's default, a shared secret, does not apply (DOC-07).
 *
 * @since 0.1.0
 * @category getters
 */
export const authMethods = (
  metadata: Pick<ClientMetadata, "token_endpoint_auth_method" | "token_endpoint_auth_methods_supported">
): ReadonlyArray<string> => {
  const method = metadata.token_endpoint_auth_method
  const methods = metadata.token_endpoint_auth_methods_supported
  if (methods === undefined) {
    return [method ?? "none"]
  }
  return [...new Set(method === undefined ? methods : [method, ...methods])]
}

// Not exported, so other modules cannot construct the type.
declare const accepted: unique symbol

/**
 * A document that the validator accepted. Only the validator makes one, and only such a document can be cached (CAC-01).
 *
 * @since 0.1.0
 * @category models
 */
export interface AcceptedDocument {
  readonly [accepted]: true
  /** The client identifier: the URL from which the document was fetched. */
  readonly clientId: ClientId
  /** The document as received, with unknown members (DOC-15). Deeply frozen. */
  readonly json: JsonObject
  /** The same object, typed by its registered members. */
  readonly metadata: ClientMetadata
  /** The client authentication methods that this client may use at this server (DOC-07, DOC-21, DOC-22). */
  readonly authMethods: ReadonlyArray<string>
  /**
   * The redirect URIs that `RedirectUri.match` compares. Those of `metadata` that are missing here are never matched,
   * because other programs can claim their scheme (RED-05).
   */
  readonly redirectUris: ReadonlyArray<string>
  /** The warnings of the document. If there are more than 20, one more counts the rest (DOC-25). */
  readonly warnings: ReadonlyArray<Issue>
  /** The name of the rules that accepted the document; see `Validator`'s `ruleset`. */
  readonly ruleset: string
}
