/**
 * The face that an error shows to an OAuth client.
 *
 * Every error of `Resolver` and `RedirectUri` has two faces. Its `message`, and the fields beside it, are for the
 * operator. Its `oauthError` is what may leave the authorization server: one text for every cause that has to do with
 * the client, so that a stranger cannot use the server to learn what answers inside its network (FET-12).
 *
 * None of them may be sent to a redirect URI: before `RedirectUri.match` has succeeded there is none to be trusted. They
 * go into a page for the user (RFC 6749, section 4.1.2.1), or into the response of the token endpoint.
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
 * The client could not be identified.
 *
 * @since 0.1.0
 * @category constants
 */
export const invalidClient: OAuthError = { error: "invalid_client", error_description }

/**
 * The client is known, and none of its authentication methods is one that this server supports (DOC-22).
 *
 * @since 0.1.0
 * @category constants
 */
export const unauthorizedClient: OAuthError = { error: "unauthorized_client", error_description }

/**
 * This server itself cannot answer: its cache is away, or it has too much to do. Nothing is said about the client, which
 * may try again; it goes with the status 503.
 *
 * @since 0.1.0
 * @category constants
 */
export const temporarilyUnavailable: OAuthError = {
  error: "temporarily_unavailable",
  error_description: "The client identifier cannot be looked up at the moment. Try again later."
}

/**
 * The redirect URI is none of the client's. It goes into a page for the user, never into a redirect (RED-04).
 *
 * @since 0.1.0
 * @category constants
 */
export const invalidRequest: OAuthError = {
  error: "invalid_request",
  error_description: "The redirect URI could not be accepted."
}
