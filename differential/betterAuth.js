/** The validator of @better-auth/cimd, from bytes as its fetcher does it. */
import { validateCimdMetadata, validateClientIdUrl } from "@better-auth/cimd"

const decoder = new TextDecoder()

export const name = "@better-auth/cimd"

/** Why it refuses the client id or the document; `undefined` if it accepts both. */
export const fault = (clientId, body) => {
  const clientIdFault = validateClientIdUrl(clientId)
  if (clientIdFault !== null) {
    return clientIdFault
  }
  let raw
  try {
    raw = JSON.parse(decoder.decode(body))
  } catch {
    return "not JSON"
  }
  // Same-origin rules are a policy that this library has as a profile.
  const result = validateCimdMetadata(clientId, raw, { originBoundFields: [] })
  return result.valid ? undefined : result.error
}

export const judge = (clientId, body) => fault(clientId, body) === undefined
