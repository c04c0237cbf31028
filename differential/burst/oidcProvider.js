/** oidc-provider, which keeps these clients in the memory of the process. */

// It asks for a later Node than this project; this is the one thing of it that is missing here.
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base)
  } catch {
    return null
  }
}

const { warn, info } = console
Object.assign(console, { warn: () => {}, info: () => {} })
const { default: Provider } = await import("oidc-provider")

export const make = ({ fetch }) => {
  const provider = new Provider("https://as.example.com", {
    fetch,
    features: { clientIdMetadataDocument: { enabled: true, ack: "draft-02" } },
    clientAuthMethods: ["none", "private_key_jwt"]
  })
  Object.assign(console, { warn, info })
  return {
    prepare: async () => {},
    resolve: async (clientId) => (await provider.Client.find(clientId)).clientName
  }
}
