/**
 * The OAuth error responses of this package's errors.
 *
 * Every error of `Resolver` and `RedirectUri` has an `oauthError` for the OAuth client. Its `message` and its other
 * fields are for the operator only. Whatever keeps a document from being fetched has the same `oauthError`, so the server
 * cannot be used to probe its own network (FET-12).
 *
 * Never send an `oauthError` to a redirect URI, because no redirect URI is trusted before `RedirectUri.match` has
 * succeeded. Show it on a page for the user (RFC 6749, section 4.1.2.1), or return it from the token endpoint.
 *
 * @since 0.1.0
 */

/**
 * The members of an OAuth error response (RFC 6749, sections 4.1.2.1 and 5.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface OAuthError {
  readonly error: "invalid_client" | "invalid_request" | "temporarily_unavailable" | "unauthorized_client"
  readonly error_description: string
}

const error_description = "The client identifier could not be accepted."

/**
 * A verdict on the client: its identifier is malformed or refused by the host policy, or its document is gone (status
 * 404 or 410) or invalid. OAuth clients drop their credentials at this error, so nothing that may pass has it.
 *
 * @since 0.1.0
 * @category constants
 */
export const invalidClient: OAuthError = { error: "invalid_client", error_description }

/**
 * The client's document is valid, but this server supports none of its authentication methods (DOC-22).
 *
 * @since 0.1.0
 * @category constants
 */
export const unauthorizedClient: OAuthError = { error: "unauthorized_client", error_description }

/**
 * The operator of this server admits approved clients only, and has not approved this one (REG-12). Waiting or asking for
 * an approval helps, so it has a text of its own. It says nothing about the client's document, which was not fetched.
 *
 * @since 0.1.0
 * @category constants
 */
export const unapprovedClient: OAuthError = {
  error: "unauthorized_client",
  error_description: "The client must be approved by the operator of this server before it can be used."
}

/**
 * This server cannot resolve the client at the moment, for whatever reason: the network, the origin, the cache, or a
 * limit. The error says nothing about the client, and the client may try again. Send it with status 503.
 *
 * It has no time to wait, because a time that depends on the cause would reveal the cause. If you send `Retry-After`, send
 * the same value each time, such as 60 seconds, and not the `retryAfterMillis` of `Throttled`.
 *
 * @since 0.1.0
 * @category constants
 */
export const temporarilyUnavailable: OAuthError = {
  error: "temporarily_unavailable",
  error_description: "The client identifier cannot be looked up at the moment. Try again later."
}

/**
 * The client did not register the redirect URI. Show this on a page for the user, and never redirect (RED-04).
 *
 * @since 0.1.0
 * @category constants
 */
export const invalidRequest: OAuthError = {
  error: "invalid_request",
  error_description: "The redirect URI could not be accepted."
}
