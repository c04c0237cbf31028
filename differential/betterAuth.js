/** The validator of @better-auth/cimd, from bytes as its fetcher does it. */
import { validateCimdMetadata, validateClientIdUrl } from "@better-auth/cimd"

const decoder = new TextDecoder()

export const name = "@better-auth/cimd"

/** Returns why it refuses the client id or the document; `undefined` if it accepts both. */
export const issueOf = (clientId, body) => {
  const clientIdIssue = validateClientIdUrl(clientId)
  if (clientIdIssue !== null) {
    return clientIdIssue
  }
  let raw
  try {
    raw = JSON.parse(decoder.decode(body))
  } catch {
    return "not JSON"
  }
  // Same-origin rules are a profile in this library.
  const result = validateCimdMetadata(clientId, raw, { originBoundFields: [] })
  return result.valid ? undefined : result.error
}

export const judge = (clientId, body) => issueOf(clientId, body) === undefined
