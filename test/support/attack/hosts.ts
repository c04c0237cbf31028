/**
 * The hosts of the attacker, in a process of their own. Each listens on its own loopback address, which Linux permits
 * without any setup.
 */
import { createDiffieHellmanGroup, randomBytes } from "node:crypto"
import { createServer } from "node:net"
import type { Server, Socket } from "node:net"
import * as tls from "node:tls"
import * as Certificate from "../../../src/testing/internal/certificate.js"
import * as Certificates from "../certificates.js"
import { contentType, forgedRecords } from "../forgedRecords.js"
import type { Connections, Kind, Place } from "./world.js"
import { hostCount, kinds, listenerOf } from "./world.js"

const day = 86_400_000
const authority = Certificate.authority(Date.now())
const contexts = new Map<string, tls.SecureContext>()
const contextOf = (name: string): tls.SecureContext => {
  const known = contexts.get(name)
  if (known !== undefined) return known
  const valid = { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + day) }
  const context = tls.createSecureContext(authority.issue({ names: [name], ...valid }))
  contexts.set(name, context)
  return context
}

const secured = (raw: Socket, options: tls.SecureContextOptions & tls.TLSSocketOptions = {}): tls.TLSSocket =>
  new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: contextOf("localhost"),
    SNICallback: (name, done) => done(null, contextOf(name)),
    ...options
  }).on("error", () => {})

/** Answers the first request with what a function makes of its head. */
const answering = (answer: (head: string) => string) => (raw: Socket) => {
  secured(raw).once("data", function(this: tls.TLSSocket, head: Buffer) {
    this.end(answer(head.toString("latin1")))
  })
}

const response = (status: number, body: string, headers = ""): string =>
  `HTTP/1.1 ${status} \r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`

const hanging = (raw: Socket) => {
  secured(raw).resume()
}

/** A TLS 1.2 server that offers only a key exchange over a group of 8192 bits. */
const costlyGroup = (raw: Socket) => {
  secured(raw, {
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
    secureContext: diffieHellman(),
    SNICallback: (_, done) => done(null, diffieHellman())
  }).resume()
}

/** A server whose chain has keys that take long to verify. */
const costlyChain = (raw: Socket) => {
  secured(raw, { secureContext: longChain(), SNICallback: (_, done) => done(null, longChain()) }).resume()
}

/** A server that sends a handshake one byte at a time. */
const dripping = (raw: Socket) => {
  raw.resume().write(Uint8Array.of(22, 3, 3, 0x40, 0, 2, 0, 0x40, 0))
  const timer = setInterval(() => raw.write(Uint8Array.of(2)), 100)
  raw.on("close", () => clearInterval(timer))
}

const once = <A>(make: () => A): () => A => {
  let made: A | undefined
  return () => made ??= make()
}

const leafKey = Certificates.rsaKey(2048)
const chainContext = (
  authorities: number,
  authorityKey: () => Certificates.Key,
  options: tls.SecureContextOptions = {}
) => {
  const leafNames = ["*.slow-tls.example.net"]
  const { sent } = Certificates.chain({ leafKey, leafNames, authorities, authorityKey })
  return tls.createSecureContext({ cert: Certificates.pemOf(sent), key: leafKey.pem, ...options })
}
const longChain = once(() => chainContext(7, () => Certificates.fakeRsaKey(16_384), { ciphers: "DEFAULT@SECLEVEL=0" }))
const { element, sequence } = Certificate
const diffieHellman = once(() => {
  const group = createDiffieHellmanGroup("modp18")
  const prime = element(0x02, Buffer.concat([Buffer.alloc(1), group.getPrime()]))
  const parameters = Buffer.from(sequence(prime, element(0x02, group.getGenerator()))).toString("base64")
  const dhparam = `-----BEGIN DH PARAMETERS-----\n${parameters}\n-----END DH PARAMETERS-----\n`
  return chainContext(0, () => leafKey, { ciphers: "DHE-RSA-AES256-GCM-SHA384", dhparam })
})

const slow = [costlyGroup, costlyChain, dripping] as const

const ticket = () => {
  const message = Buffer.alloc(4 + 8 + 2 + 2 + 1000 + 2)
  message[0] = 4
  message.writeUIntBE(message.length - 4, 1, 3)
  message.writeUInt32BE(3600, 4)
  message[12] = 1
  message[13] = 1
  message.writeUInt16BE(1000, 14)
  return message
}

const flooding = (raw: Socket) => {
  const socket = secured(raw, { minVersion: "TLSv1.3", ciphers: "TLS_AES_128_GCM_SHA256" })
  const { seal } = forgedRecords(socket)
  const more = () => {
    if (raw.destroyed) return
    const tickets = Array.from({ length: 16 }, () => seal(contentType.handshake, ticket()))
    if (raw.write(Buffer.concat(tickets))) setImmediate(more)
    else raw.once("drain", more)
  }
  // The two tickets of the server are written after this event.
  socket.once("data", () => setTimeout(more, 10))
}

const large = (head: string): string => {
  const [, target = "/"] = head.split(" ", 2)
  const [, host = ""] = /^host: (.*)\r$/im.exec(head) ?? []
  const document = { client_id: `https://${host}${target}`, redirect_uris: ["https://app.example/cb"], x: "" }
  // Random, because Postgres compresses.
  document.x = randomBytes(5120).toString("base64").slice(0, 5120 - JSON.stringify(document).length)
  return response(200, JSON.stringify(document), "Cache-Control: max-age=86400\r\n")
}

const serve: { readonly [K in Kind]: (index: number) => (raw: Socket) => void } = {
  hang: () => hanging,
  "slow-tls": (index) => slow[index % slow.length] ?? dripping,
  tickets: () => flooding,
  missing: () => answering(() => response(404, "")),
  large: () => answering(large)
}

let open = 0

const listening = (kind: Kind, index: number, port: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const connection = serve[kind](index)
    const server = createServer((raw) => {
      open++
      raw.on("error", () => {}).on("close", () => open--)
      connection(raw)
    })
    server.on("error", reject).listen(port, listenerOf(kind, index), () => resolve(server))
  })

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

const first = await listening("hang", 0, 0)
const port = portOf(first)
for (const kind of kinds) {
  const count = kind === "hang" ? hostCount.many : hostCount.one
  for (let index = kind === "hang" ? 1 : 0; index < count; index++) await listening(kind, index, port)
}
process.on("disconnect", () => process.exit(0))
process.on("message", () => process.send?.({ open } satisfies Connections))
process.send?.({ port, ca: authority.cert } satisfies Place)
