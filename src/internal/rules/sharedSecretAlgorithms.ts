/**
 * Algorithms that need a secret which client and server share (DOC-24). A client without a secret cannot use them, and a
 * server that derives their key from something else, such as an empty secret, accepts forged tokens.
 */
import { quote } from "./text.js"

/** What is wrong with an algorithm: nothing, or a message. */
type Judge = (algorithm: string) => string | undefined

const macs = /^hs[0-9]/i
const symmetricKeys = /^(?:dir|a(?:128|192|256)(?:gcm)?kw|pbes2-.*)$/i

const shared = (algorithm: string): string =>
  `${quote(algorithm)} needs a shared secret, which a public document cannot have. Use an asymmetric algorithm.`

const signing: Judge = (algorithm) => macs.test(algorithm) ? shared(algorithm) : undefined

/** For signatures that prove who the client or the server is: none at all is no proof. */
const proving: Judge = (algorithm) =>
  algorithm.toLowerCase() === "none"
    ? "The value is \"none\", but a signature is required here. Use an asymmetric algorithm."
    : signing(algorithm)

const encryption: Judge = (algorithm) => symmetricKeys.test(algorithm) ? shared(algorithm) : undefined

// OpenID Connect Registration, section 2, permits `none` for request objects, for UserInfo responses, and for ID tokens
// that come from the token endpoint. It forbids `none` for client authentication, as JARM does for its responses. A CIBA
// request needs an asymmetric signature, and a token introspection response needs a signature (RFC 9701, section 5).
const single: ReadonlyMap<string, Judge> = new Map([
  ["token_endpoint_auth_signing_alg", proving],
  ["backchannel_authentication_request_signing_alg", proving],
  ["authorization_signed_response_alg", proving],
  ["introspection_signed_response_alg", proving],
  ["request_object_signing_alg", signing],
  ["id_token_signed_response_alg", signing],
  ["userinfo_signed_response_alg", signing],
  ["nfv_token_signed_response_alg", signing],
  ["request_object_encryption_alg", encryption],
  ["id_token_encrypted_response_alg", encryption],
  ["userinfo_encrypted_response_alg", encryption],
  ["authorization_encrypted_response_alg", encryption],
  ["introspection_encrypted_response_alg", encryption],
  ["nfv_token_encrypted_response_alg", encryption]
])

const lists: ReadonlyMap<string, Judge> = new Map([
  ["token_endpoint_auth_signing_alg_values_supported", proving],
  ["backchannel_authentication_request_signing_alg_values_supported", proving],
  ["authorization_signing_alg_values_supported", proving],
  ["introspection_signing_alg_values_supported", proving],
  ["client_attestation_signing_alg_values_supported", proving],
  ["client_attestation_pop_signing_alg_values_supported", proving],
  ["request_object_signing_alg_values_supported", signing],
  ["id_token_signing_alg_values_supported", signing],
  ["userinfo_signing_alg_values_supported", signing],
  ["request_object_encryption_alg_values_supported", encryption],
  ["id_token_encryption_alg_values_supported", encryption],
  ["userinfo_encryption_alg_values_supported", encryption],
  ["authorization_encryption_alg_values_supported", encryption],
  ["introspection_encryption_alg_values_supported", encryption]
])

/** Called for each issue, with its JSON pointer. */
export interface Reports {
  readonly error: (path: string, message: string) => void
  readonly warning: (path: string, message: string) => void
}

/** Reports algorithms that need a shared secret. In a list they are warnings as long as another value remains. */
export const check = (members: { readonly [name: string]: unknown }, reports: Reports): void => {
  for (const [name, judge] of single) {
    const value = Object.hasOwn(members, name) ? members[name] : undefined
    const message = typeof value === "string" ? judge(value) : undefined
    if (message !== undefined) reports.error(`/${name}`, message)
  }
  for (const [name, judge] of lists) {
    const values = Object.hasOwn(members, name) ? members[name] : undefined
    if (!Array.isArray(values)) continue
    const messages = values.map((value) => typeof value === "string" ? judge(value) : undefined)
    const report = messages.includes(undefined) ? reports.warning : reports.error
    for (const [index, message] of messages.entries()) {
      if (message !== undefined) report(`/${name}/${index}`, message)
    }
  }
}
