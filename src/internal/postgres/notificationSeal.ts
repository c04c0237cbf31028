/**
 * Seals notifications. Every role of a database can LISTEN and NOTIFY on every channel, and a client id may be
 * confidential. So what is announced can be made and read only with a key that is in the state table.
 *
 * A keyed hash of the client id would not do: a node could look it up only with the hash of every client that it has in
 * memory, and strangers would see which notifications are about the same client.
 *
 * A stranger can repeat what was announced before. A repeated notification costs each node one read of that client, or
 * one early attempt to acquire a lease, and changes no result. A node accepts each of its heartbeats once, and only the
 * node itself receives it before a stranger can. No notification clears a whole memory tier.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto"

export interface Seal {
  /** The SHA-256 of the key in hexadecimal digits. A server may log it with the statements, where the key must not be. */
  readonly fingerprint: string
  /** The payload of a notification. It is valid on this channel alone. */
  readonly close: (channel: string, text: string) => string
  /** The text of a payload; `undefined` for one that was not made with this key for this channel. */
  readonly open: (channel: string, payload: string) => string | undefined
}

const algorithm = "aes-256-gcm"
const nonceBytes = 12
const tagBytes = 16

// The length must not tell clients apart. The longest text has 2,073 characters, and its payload 2,768 of at most 8,000.
const blockLength = 256

/** The seal of a key, which is given in hexadecimal digits. */
export const make = (hexKey: string): Seal => {
  const key = Buffer.from(hexKey, "hex")
  return {
    fingerprint: createHash("sha256").update(key).digest("hex"),
    close: (channel, text) => {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv(algorithm, key, nonce).setAAD(Buffer.from(channel))
      const padded = text.padEnd(Math.ceil(text.length / blockLength) * blockLength)
      const sealed = [nonce, cipher.update(padded, "utf8"), cipher.final(), cipher.getAuthTag()]
      return Buffer.concat(sealed).toString("base64url")
    },
    open: (channel, payload) => {
      const bytes = Buffer.from(payload, "base64url")
      if (bytes.length < nonceBytes + tagBytes) return undefined
      const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes))
        .setAAD(Buffer.from(channel))
        .setAuthTag(bytes.subarray(-tagBytes))
      try {
        const text = decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, "utf8") + decipher.final("utf8")
        return text.trimEnd()
      } catch {
        return undefined
      }
    }
  }
}
