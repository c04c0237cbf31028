import { createCipheriv, createHmac } from "node:crypto"
import type { TLSSocket } from "node:tls"

const expand = (secret: Buffer, label: string, length: number): Buffer => {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])])
  return createHmac("sha256", secret).update(info).digest().subarray(0, length)
}

export const contentType = { alert: 21, handshake: 22, applicationData: 23 } as const

/**
 * Seals records of TLS 1.3 with the keys of a real server, so that it can send what OpenSSL never would. The server must
 * use TLS_AES_128_GCM_SHA256 and have sent its two session tickets already.
 */
export const forgedRecords = (server: TLSSocket) => {
  let secret = Buffer.alloc(0)
  let sequenceNumber = 2
  server.on("keylog", (line: Buffer) => {
    const [label, , hex = ""] = line.toString().trim().split(" ")
    if (label === "SERVER_TRAFFIC_SECRET_0") secret = Buffer.from(hex, "hex")
  })
  return {
    seal: (type: number, content: Uint8Array, padding = 0): Buffer => {
      const inner = Buffer.concat([content, Uint8Array.of(type), Buffer.alloc(padding)])
      const header = Buffer.from([23, 3, 3, 0, 0])
      header.writeUInt16BE(inner.length + 16, 3)
      const nonce = Buffer.from(expand(secret, "iv", 12))
      nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequenceNumber++) >>> 0, 8)
      const cipher = createCipheriv("aes-128-gcm", expand(secret, "key", 16), nonce)
      cipher.setAAD(header)
      return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()])
    },
    /** Changes to the next keys, as after a KeyUpdate. */
    update: () => {
      secret = Buffer.from(expand(secret, "traffic upd", 32))
      sequenceNumber = 0
    }
  }
}
