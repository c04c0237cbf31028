import { ClientId } from "effect-cimd"

/** A client identifier of a test, which is one by every rule that is not about development. */
export const clientId = (text: string): ClientId.ClientId => {
  if (ClientId.is(text, { loopback: true, addressLiterals: true })) return text
  throw new Error(`${text} is no client identifier`)
}
