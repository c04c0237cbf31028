/** The validator of @atproto/oauth-types, from bytes. */
import { isOAuthClientIdDiscoverable, oauthClientMetadataSchema } from "@atproto/oauth-types"

const decoder = new TextDecoder()

export const name = "@atproto/oauth-types"

export const judge = (clientId, body) => {
  if (!isOAuthClientIdDiscoverable(clientId)) {
    return false
  }
  let raw
  try {
    raw = JSON.parse(decoder.decode(body))
  } catch {
    return false
  }
  const result = oauthClientMetadataSchema.safeParse(raw)
  return result.success && result.data.client_id === clientId
}
