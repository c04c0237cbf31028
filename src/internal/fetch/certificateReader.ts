/**
 * Reads the handshake of a server up to its certificates, before TLS receives them (RFC 8446, section 4.4.2; RFC 5246,
 * section 7.4.2).
 *
 * With TLS 1.3 the certificates are encrypted, and `node:tls` shows them after it has verified them. So the bytes go to
 * TLS one record at a time: the record with the ServerHello makes TLS report the secret of the handshake (`keylog`), and
 * the records after it are decrypted here first. What is not understood here is not passed on.
 */
import type { CipherGCMTypes } from "node:crypto"
import { createDecipheriv, createHmac } from "node:crypto"
import * as CertificateRules from "./certificateRules.js"

/** The next bytes for TLS, which are `undefined` until a record is complete; or why the peer is refused. */
export type Step =
  | { readonly _tag: "Pass"; readonly bytes: Buffer | undefined }
  | { readonly _tag: "Refuse"; readonly reason: string }

export interface CertificateReader {
  readonly push: (chunk: Buffer) => void
  readonly next: () => Step
  /** Takes a line of the event `keylog`. */
  readonly keylog: (line: Buffer) => void
  /** Whether the certificates were found and accepted. All bytes may go to TLS from then. */
  readonly isDone: () => boolean
}

/** Servers send the certificates in up to six records. A record costs some microseconds, however short it is. */
const maxRecords = 128
/** The largest record, encrypted (RFC 5246, section 6.2.3). */
const maxRecordBytes = 16_384 + 2048

const headerBytes = 5
/** The first byte of the version in the header of a record, in SSL 3.0 and all versions of TLS. */
const majorVersion = 3
const tagBytes = 16
const record = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const
const message = { serverHello: 2, certificate: 11 } as const

interface CipherSuite {
  readonly hash: "sha256" | "sha384"
  readonly cipher: CipherGCMTypes | "chacha20-poly1305"
  readonly keyBytes: number
}

/** The cipher suites of TLS 1.3 (RFC 8446, section B.4). */
const cipherSuites: ReadonlyMap<number, CipherSuite> = new Map<number, CipherSuite>([
  [0x1301, { hash: "sha256", cipher: "aes-128-gcm", keyBytes: 16 }],
  [0x1302, { hash: "sha384", cipher: "aes-256-gcm", keyBytes: 32 }],
  [0x1303, { hash: "sha256", cipher: "chacha20-poly1305", keyBytes: 32 }]
])

const pass = (bytes?: Buffer): Step => ({ _tag: "Pass", bytes })
const refuse = (reason: string): Step => ({ _tag: "Refuse", reason })

/** HKDF-Expand-Label for up to one block of the hash and without a context (RFC 8446, section 7.1). */
const expand = (hash: string, secret: Buffer, label: string, bytes: number): Buffer => {
  const name = Buffer.from(`tls13 ${label}`)
  const info = [Buffer.from([0, bytes, name.length]), name, Buffer.from([0, 1])]
  return createHmac(hash, secret).update(Buffer.concat(info)).digest().subarray(0, bytes)
}

/** Returns the decryption of the records in their order (RFC 8446, section 5.2). Throws if one was altered. */
const decryption = ({ cipher, hash, keyBytes }: CipherSuite, secret: Buffer) => {
  const key = expand(hash, secret, "key", keyBytes)
  const iv = expand(hash, secret, "iv", 12)
  let sequenceNumber = 0
  return (bytes: Buffer): Buffer => {
    const nonce = Buffer.from(iv)
    // At most 128 records are decrypted, so the number has one byte.
    nonce[11] = (nonce[11] ?? 0) ^ sequenceNumber++
    // The two kinds of cipher have signatures of their own.
    const decipher = cipher === "chacha20-poly1305"
      ? createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
      : createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
    const end = bytes.length - tagBytes
    decipher.setAAD(bytes.subarray(0, headerBytes), { plaintextLength: end - headerBytes })
    decipher.setAuthTag(bytes.subarray(end))
    return Buffer.concat([decipher.update(bytes.subarray(headerBytes, end)), decipher.final()])
  }
}

/** Returns the vectors of a list, each with a length of three bytes, and with extensions in TLS 1.3. */
const certificatesOf = (list: Buffer, hasExtensions: boolean): ReadonlyArray<Buffer> | undefined => {
  const found: Array<Buffer> = []
  let at = 0
  while (at < list.length) {
    if (at + 3 > list.length) return undefined
    const end = at + 3 + list.readUIntBE(at, 3)
    found.push(list.subarray(at + 3, end))
    if (!hasExtensions) {
      at = end
    } else if (end + 2 > list.length) {
      return undefined
    } else {
      at = end + 2 + list.readUInt16BE(end)
    }
  }
  return at === list.length ? found : undefined
}

export const make = (): CertificateReader => {
  let chunks: Array<Buffer> = []
  let pendingBytes = 0
  /** Bytes that the current record needs, as far as is known. */
  let needed = headerBytes
  let records = 0
  /** The bytes of handshake messages that are not complete. */
  let messages: Buffer = Buffer.alloc(0)
  let suite: CipherSuite | undefined
  let decrypt: ((bytes: Buffer) => Buffer) | undefined
  let done = false
  /** Whether the bytes are not records of TLS. */
  let foreign = false

  const pending = (): Buffer => {
    const [first, ...others] = chunks
    const joined = first === undefined || others.length > 0 ? Buffer.concat(chunks) : first
    chunks = [joined]
    return joined
  }

  const onServerHello = (body: Buffer): void => {
    // The version, the random bytes, and the session id, which has a length, come before the cipher suite.
    const at = 35 + (body[34] ?? 0)
    suite = at + 2 <= body.length ? cipherSuites.get(body.readUInt16BE(at)) : undefined
  }

  const onCertificate = (body: Buffer): string | undefined => {
    // OpenSSL refuses this too. A decoy must not be taken for the certificates that follow.
    if (suite !== undefined && decrypt === undefined) return "The peer sent certificates of TLS 1.3 without encryption"
    // In TLS 1.3 the list comes after a context, which has a length.
    const start = decrypt === undefined ? 0 : 1 + (body[0] ?? 0)
    const certificates = start + 3 + (start + 3 <= body.length ? body.readUIntBE(start, 3) : 0) === body.length
      ? certificatesOf(body.subarray(start + 3), decrypt !== undefined)
      : undefined
    if (certificates === undefined) return "The list of certificates of the peer is malformed"
    const reason = CertificateRules.reasonAgainst(certificates)
    done = reason === undefined
    return reason
  }

  const takeMessages = (bytes: Buffer): string | undefined => {
    messages = messages.length === 0 ? bytes : Buffer.concat([messages, bytes])
    while (messages.length >= 4 && !done) {
      const end = 4 + messages.readUIntBE(1, 3)
      if (messages.length < end) return undefined
      const body = messages.subarray(4, end)
      const type = messages[0]
      messages = messages.subarray(end)
      if (type === message.serverHello) {
        onServerHello(body)
      } else if (type === message.certificate) {
        const reason = onCertificate(body)
        if (reason !== undefined) return reason
      }
    }
    return undefined
  }

  const takeEncrypted = (bytes: Buffer): string | undefined => {
    if (decrypt === undefined || bytes.length < headerBytes + tagBytes) return "The peer sent data before its handshake"
    let inner: Buffer
    try {
      inner = decrypt(bytes)
    } catch {
      return "A record of the peer was altered"
    }
    // Zeros are padding, and the byte before them is the type.
    let end = inner.length - 1
    while (end > 0 && inner[end] === 0) end--
    return inner[end] === record.handshake ? takeMessages(inner.subarray(0, end)) : undefined
  }

  const takeRecord = (bytes: Buffer): string | undefined => {
    switch (bytes[0]) {
      case record.handshake:
        return decrypt === undefined
          ? takeMessages(bytes.subarray(headerBytes))
          : "The peer sent a message of the handshake without encryption"
      case record.applicationData:
        return takeEncrypted(bytes)
      default:
        // OpenSSL bounds alerts and the messages that only middleboxes read, and knows no others.
        return undefined
    }
  }

  return {
    isDone: () => done,
    push: (chunk) => {
      chunks.push(chunk)
      pendingBytes += chunk.length
    },
    next: () => {
      if (pendingBytes < needed) return pass()
      if (foreign) return refuse("The peer does not speak TLS")
      const bytes = pending()
      needed = headerBytes + bytes.readUInt16BE(3)
      if (bytes[1] !== majorVersion || needed > maxRecordBytes) {
        // The header is enough for OpenSSL to fail with a better reason.
        foreign = true
        needed = headerBytes
      } else {
        if (pendingBytes < needed) return pass()
        if (++records > maxRecords) {
          return refuse(`The peer sent more than ${maxRecords} records before its certificates`)
        }
        const reason = takeRecord(bytes.subarray(0, needed))
        if (reason !== undefined) return refuse(reason)
      }
      const end = done ? bytes.length : needed
      chunks = [bytes.subarray(end)]
      pendingBytes -= end
      needed = headerBytes
      return pass(bytes.subarray(0, end))
    },
    keylog: (line) => {
      const [label, , secret] = line.toString("latin1").trim().split(" ")
      if (label === "SERVER_HANDSHAKE_TRAFFIC_SECRET" && secret !== undefined && suite !== undefined) {
        decrypt = decryption(suite, Buffer.from(secret, "hex"))
        messages = Buffer.alloc(0)
      }
    }
  }
}
