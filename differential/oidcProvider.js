/** The validator of oidc-provider, from bytes: a complete provider whose fetch returns them. */

// It requires a later Node.js than this project. Only this function is missing.
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base)
  } catch {
    return null
  }
}

export const name = "oidc-provider"

const warn = console.warn
const info = console.info
console.warn = () => {}
console.info = () => {}
const { default: Provider } = await import("oidc-provider")
const { isValidClientIdUrl } = await import(
  new URL("./node_modules/oidc-provider/lib/helpers/client_id_metadata_document.js", import.meta.url).href
)

let body = new Uint8Array()

const provider = new Provider("https://as.example.com", {
  fetch: async () =>
    new Response(body, { status: 200, headers: { "content-type": "application/json", "cache-control": "max-age=0" } }),
  scopes: ["openid", "offline_access", "profile", "email"],
  features: {
    clientIdMetadataDocument: { enabled: true, ack: "draft-02", cacheDuration: { min: 0, max: 0 } },
    rpMetadataChoices: { enabled: true },
    dPoP: { enabled: true },
    backchannelLogout: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    mTLS: { enabled: true, tlsClientAuth: true, selfSignedTlsClientAuth: true, certificateBoundAccessTokens: true }
  },
  clientAuthMethods: [
    "none",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt"
  ]
})
console.warn = warn
console.info = info

/** Returns why it refuses the client id or the document; `undefined` if it accepts both. */
export const issueOf = async (clientId, bytes) => {
  if (!isValidClientIdUrl(clientId)) {
    return "not a client id URL"
  }
  body = bytes
  try {
    return (await provider.Client.find(clientId)) === undefined ? "not found" : undefined
  } catch (error) {
    return error.error_description ?? error.message
  }
}
