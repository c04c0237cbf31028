/** A client of the Model Context Protocol, as its SDK implements one. It keeps everything in memory. */
import { auth } from "@modelcontextprotocol/sdk/client/auth.js"

export const make = ({ clientId, fetch, redirectUrl, serverUrl }) => {
  const stored = {
    client: undefined,
    tokens: undefined,
    verifier: undefined,
    authorizationUrl: undefined,
    invalidated: []
  }
  const provider = {
    redirectUrl,
    clientMetadataUrl: clientId,
    clientMetadata: { client_name: "MCP", redirect_uris: [redirectUrl] },
    clientInformation: () => stored.client,
    saveClientInformation: (client) => {
      stored.client = client
    },
    tokens: () => stored.tokens,
    saveTokens: (tokens) => {
      stored.tokens = tokens
    },
    redirectToAuthorization: (url) => {
      stored.authorizationUrl = url
    },
    saveCodeVerifier: (verifier) => {
      stored.verifier = verifier
    },
    codeVerifier: () => stored.verifier,
    // The SDK calls this after `invalid_client` (all) and `invalid_grant` (tokens).
    invalidateCredentials: (scope) => {
      stored.invalidated.push(scope)
      if (scope === "all" || scope === "client") stored.client = undefined
      if (scope === "all" || scope === "tokens") stored.tokens = undefined
    }
  }
  return { stored, auth: (authorizationCode) => auth(provider, { serverUrl, authorizationCode, fetchFn: fetch }) }
}
