import { it } from "@effect/vitest"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { createDiffieHellmanGroup } from "node:crypto"
import type { Socket } from "node:net"
import { connect } from "node:net"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import { describe, expect } from "vitest"
import { element, sequence } from "../../src/testing/internal/certificate.js"
import * as Certificates from "../support/certificates.js"
import { clientId } from "../support/clientId.js"
import { contentType, forgedRecords } from "../support/forgedRecords.js"
import { listening } from "../support/listening.js"
import { recording } from "../support/recording.js"

const host = "app.example"
const url = `https://${host}/client.json`
const json = "{\"client_id\":\"https://app.example/client.json\"}"
const head = (...lines: ReadonlyArray<string>) =>
  ["HTTP/1.1 200 OK", "Content-Type: application/json", ...lines, "", ""].join("\r\n")
const document = `${head(`Content-Length: ${json.length}`)}${json}`

const handshakeLimit = 32_768
/** The limit of the connection for a limit of the body. */
const connectionLimit = (maxBodyBytes: number) => maxBodyBytes + 65_536 - oneRead
/** A dialed socket reads up to 8 KiB at once. */
const oneRead = 8192

/** What the span of a fetch has recorded of its connection. */
interface Measured {
  readonly result: unknown
  readonly receivedBytes: number
  readonly handshakeMillis: number
}

/** Fetches from a server of raw sockets, and measures. Checks that no connection is left. */
const fetchFrom = (
  connection: (raw: Socket) => void,
  ca: string,
  options: Fetcher.Options = {},
  dialer: (port: number) => Effect.Effect<Layer.Layer<Dialer.Dialer>, never, Scope.Scope> = (port) =>
    Effect.succeed(DialerTest.layerWith(() => port))
): Effect.Effect<Measured> =>
  Effect.scoped(Effect.gen(function*() {
    const { spans, tracer } = recording()
    const { open, port } = yield* listening(connection)
    const { fetch } = yield* Effect.provide(
      Fetcher.Fetcher,
      Fetcher.layerWithoutDependencies({ ca, timeout: "5 seconds", ...options }).pipe(
        Layer.provide([
          yield* dialer(port),
          NameLookupTest.layer({ [host]: Origin.publicAddresses }),
          HostPolicy.layerPublic
        ])
      )
    )
    const result = yield* Effect.either(fetch(clientId(url))).pipe(Effect.withTracer(tracer))
    yield* Effect.repeat(Effect.delay(Effect.sync(open), 5), { until: (count) => count === 0, times: 200 })
    expect(open()).toBe(0)
    const attributes = spans[0]?.attributes
    return {
      result,
      receivedBytes: Number(attributes?.get("cimd.received_bytes")),
      handshakeMillis: Number(attributes?.get("cimd.handshake_millis"))
    }
  })).pipe(Effect.orDie)

type ServerOptions = tls.SecureContextOptions & tls.TLSSocketOptions

const secured = (raw: Duplex, options: ServerOptions): tls.TLSSocket =>
  new tls.TLSSocket(raw, { isServer: true, secureContext: tls.createSecureContext(options), ...options })
    .on("error", () => {})

/** A TLS server that answers the first request. */
const answering = (options: ServerOptions, answer: string | Uint8Array = document) => (raw: Socket) => {
  secured(raw, options).once("data", function(this: tls.TLSSocket) {
    this.end(answer)
  })
}

const leafKey = Certificates.curveKey("P-256")

const chainOf = (options: Partial<Parameters<typeof Certificates.chain>[0]> = {}) => {
  const chain = Certificates.chain({
    leafKey,
    leafNames: [host],
    authorities: 0,
    authorityKey: () => Certificates.curveKey("P-256"),
    ...options
  })
  return {
    ca: Certificates.pemOf([chain.root]),
    server: { cert: Certificates.pemOf(chain.sent), key: (options.leafKey ?? leafKey).pem }
  }
}

const honest = chainOf()
const right = { _tag: "Right", right: { body: Buffer.from(json) } }
const tlsFailed = (code: unknown, detail: unknown = expect.any(String)) => ({
  left: { _tag: "TlsFailed", code, detail, oauthError: { error: "temporarily_unavailable" } }
})
const refused = tlsFailed(expect.stringMatching(/^ERR_SSL_/))

/** The middle of the times of honest handshakes, in this process and at this time. */
const honestMillis = Effect.map(
  Effect.replicateEffect(fetchFrom(answering(honest.server), honest.ca), 7),
  (runs) => runs.map(({ handshakeMillis }) => handshakeMillis).sort((left, right) => left - right)[3] ?? 0
)

/** Runs an attack a few times. Its cheapest run must not cost much more than an honest handshake. */
const expectCheap = (attack: Effect.Effect<Measured>, expected: unknown) =>
  Effect.gen(function*() {
    const honestTime = yield* honestMillis
    const runs = yield* Effect.replicateEffect(attack, 3)
    for (const { receivedBytes, result } of runs) {
      expect(result).toMatchObject(expected as object)
      expect(receivedBytes).toBeLessThanOrEqual(handshakeLimit + oneRead)
    }
    expect(honestTime).toBeGreaterThan(0)
    expect(Math.min(...runs.map(({ handshakeMillis }) => handshakeMillis))).toBeLessThan(10 * honestTime)
  })

const both = ["TLSv1.2", "TLSv1.3"] as const
const versions = (version: tls.SecureVersion) => ({ minVersion: version, maxVersion: version })

const modp18 = createDiffieHellmanGroup("modp18")
const dhparam = `-----BEGIN DH PARAMETERS-----\n${
  Buffer.from(sequence(
    element(0x02, Buffer.concat([Buffer.alloc(1), modp18.getPrime()])),
    element(0x02, modp18.getGenerator())
  )).toString("base64")
}\n-----END DH PARAMETERS-----\n`

describe("TLS parameters", () => {
  const rsa = chainOf({ leafKey: Certificates.rsaKey(2048) })

  it.scopedLive("FET-19: the ClientHello offers the allowed ciphers, groups and signatures, and nothing else", () =>
    Effect.gen(function*() {
      let hello: Buffer = Buffer.alloc(0)
      yield* fetchFrom((raw) => {
        raw.once("data", (bytes: Buffer) => {
          hello = bytes
          raw.destroy()
        })
      }, honest.ca)
      // The record, the message, the version and the random bytes come first.
      let at = 5 + 4 + 2 + 32
      const vector = (lengthBytes: number) => {
        const start = at + lengthBytes
        at = start + hello.readUIntBE(at, lengthBytes)
        return hello.subarray(start, at)
      }
      const numbers = (bytes: Buffer) =>
        Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16BE(index * 2))
      vector(1)
      const ciphers = numbers(vector(2))
      expect([...vector(1)]).toEqual([0])
      const extensions = new Map<number, Buffer>()
      const end = at + 2 + hello.readUInt16BE(at)
      at += 2
      while (at < end) {
        const type = hello.readUInt16BE(at)
        at += 2
        extensions.set(type, vector(2))
      }
      // The signal that renegotiation is secure (0x00ff) is not a cipher.
      expect(ciphers.filter((cipher) => cipher !== 0xff)).toEqual([
        0x1301,
        0x1302,
        0x1303,
        0xc02b,
        0xc02f,
        0xc02c,
        0xc030,
        0xcca9,
        0xcca8
      ])
      expect(numbers(extensions.get(10)?.subarray(2) ?? Buffer.alloc(0))).toEqual([0x1d, 0x17, 0x18])
      expect(numbers(extensions.get(13)?.subarray(2) ?? Buffer.alloc(0))).toEqual(
        [0x0403, 0x0503, 0x0807, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601]
      )
      expect(numbers(extensions.get(43)?.subarray(1) ?? Buffer.alloc(0))).toEqual([0x0304, 0x0303])
      // No early data (42), no compression of certificates (27), no authentication after the handshake (49).
      for (const absent of [42, 27, 49]) expect(extensions.has(absent), `${absent}`).toBe(false)
    }))

  for (
    const [name, options] of [
      ["DHE with a group of 8192 bits", { ...rsa.server, ciphers: "DHE-RSA-AES256-GCM-SHA384", dhparam }],
      ["key exchange with RSA", { ...rsa.server, ciphers: "AES128-GCM-SHA256" }],
      ["a cipher in CBC mode", { ...rsa.server, ciphers: "ECDHE-RSA-AES256-SHA384" }],
      ["a cipher with a short tag", { ...rsa.server, ciphers: "ECDHE-ECDSA-AES128-CCM8:AES128-CCM8" }],
      ["ECDHE over P-521 alone", { ...rsa.server, ciphers: "ECDHE-RSA-AES256-GCM-SHA384", ecdhCurve: "P-521" }]
    ] as const
  ) {
    it.live(`FET-19: a server of TLS 1.2 that offers only ${name} is refused and cheap`, () =>
      expectCheap(fetchFrom(answering({ ...options, ...versions("TLSv1.2") }), rsa.ca), refused))
  }

  for (const group of ["ffdhe2048", "ffdhe8192", "P-521", "X448"]) {
    it.live(`FET-19: a server of TLS 1.3 that offers only the group ${group} is refused and cheap`, () =>
      expectCheap(
        fetchFrom(answering({ ...honest.server, ...versions("TLSv1.3"), ecdhCurve: group }), honest.ca),
        refused
      ))
  }

  for (
    const [name, key] of [
      ["P-521", () => Certificates.curveKey("P-521")],
      ["secp256k1", () => Certificates.curveKey("secp256k1")],
      ["Ed448", Certificates.ed448Key]
    ] as const
  ) {
    for (const version of both) {
      it.live(`FET-19: a leaf with a key on ${name} is refused in ${version}`, () => {
        const chain = chainOf({ leafKey: key() })
        return expectCheap(
          fetchFrom(answering({ ...chain.server, ...versions(version) }), chain.ca),
          tlsFailed(expect.stringMatching(/^ERR_SSL_|^CERTIFICATES_REFUSED$/))
        )
      })
    }
  }

  it.live("FET-19: a proxy does not change any of this", () =>
    Effect.gen(function*() {
      const through = (origin: (raw: Socket) => void, ca: string) =>
        fetchFrom(origin, ca, {}, (port) =>
          Effect.map(
            listening((client) => {
              client.once("data", () => {
                const upstream = connect(port, "127.0.0.1").on("error", () => client.destroy())
                upstream.on("close", () => client.destroy())
                client.on("close", () => upstream.destroy())
                client.write("HTTP/1.1 200 Connection established\r\n\r\n")
                client.pipe(upstream)
                upstream.pipe(client)
              })
            }),
            (proxy) => Layer.orDie(Dialer.layerHttpProxy({ host: "127.0.0.1", port: proxy.port }))
          ))
      const dhe = { ...rsa.server, ...versions("TLSv1.2"), ciphers: "DHE-RSA-AES256-GCM-SHA384", dhparam }
      expect((yield* through(answering(honest.server), honest.ca)).result).toMatchObject(right)
      expect((yield* through(answering(dhe), rsa.ca)).result).toMatchObject(refused)
      const slow = chainOf({ authorities: 2, authorityKey: () => Certificates.fakeRsaKey(16_384) })
      expect((yield* through(answering(slow.server), slow.ca)).result).toMatchObject(tlsFailed("CERTIFICATES_REFUSED"))
      const flooded = yield* through(tickets, honest.ca)
      expect(flooded.result).toMatchObject({ left: { _tag: "ResponseTooLarge", part: "connection" } })
      expect(flooded.receivedBytes).toBeLessThanOrEqual(connectionLimit(5120) + oneRead)
    }))

  for (
    const [version, cipher] of [
      ["TLSv1.3", "TLS_AES_128_GCM_SHA256"],
      ["TLSv1.3", "TLS_AES_256_GCM_SHA384"],
      ["TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"],
      ["TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"],
      ["TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"],
      ["TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"],
      ["TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"],
      ["TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"],
      ["TLSv1.2", "ECDHE-RSA-CHACHA20-POLY1305"]
    ] as const
  ) {
    it.live(`FET-19: a server with only ${cipher} is accepted, over each group`, () =>
      Effect.gen(function*() {
        const { ca, server } = cipher.startsWith("ECDHE-RSA") ? rsa : honest
        for (const ecdhCurve of ["X25519", "P-256", "P-384"]) {
          const options = { ...server, ...versions(version), ciphers: cipher, ecdhCurve }
          expect((yield* fetchFrom(answering(options), ca)).result, ecdhCurve).toMatchObject(right)
        }
      }))
  }

  for (
    const [name, newKey] of [
      ["RSA of 2048 bits", () => Certificates.rsaKey(2048)],
      ["RSA of 3072 bits", () => Certificates.rsaKey(3072)],
      ["RSA of 4096 bits", () => Certificates.rsaKey(4096)],
      ["P-256", () => Certificates.curveKey("P-256")],
      ["P-384", () => Certificates.curveKey("P-384")],
      ["Ed25519", Certificates.ed25519Key]
    ] as const
  ) {
    it.live(
      `FET-19: a leaf and its authorities with keys of the kind ${name} are accepted`,
      () =>
        Effect.gen(function*() {
          const key = newKey()
          const chain = chainOf({ leafKey: key, authorities: 1, authorityKey: () => key })
          for (const version of both) {
            const measured = yield* fetchFrom(answering({ ...chain.server, ...versions(version) }), chain.ca)
            expect(measured.result, version).toMatchObject(right)
            expect(measured.handshakeMillis).toBeGreaterThan(0)
          }
        }),
      60_000
    )
  }
})

describe("Certificates", () => {
  const many = (count: number) => [host, ...Array.from({ length: count - 1 }, (_, index) => `n${index}.sub.example`)]

  for (
    const [name, chain] of [
      ["three intermediates", chainOf({ authorities: 3 })],
      ["three intermediates of RSA", chainOf({ authorities: 3, authorityKey: () => Certificates.rsaKey(2048) })],
      ["seven intermediates", chainOf({ authorities: 7 })],
      ["a hundred names", chainOf({ authorities: 2, leafNames: many(100) })],
      ["so many names that the handshake takes more than 20 KB", chainOf({ leafNames: many(1100) })],
      [
        "name constraints that exclude twenty networks and names",
        chainOf({
          authorities: 2,
          leafNames: many(100),
          authorityExtensions: [
            Certificates.nameConstraints(Array.from({ length: 20 }, () => element(0x82, Buffer.from("other"))))
          ]
        })
      ]
    ] as const
  ) {
    it.live(`FET-18: a chain with ${name} is accepted`, () =>
      Effect.gen(function*() {
        for (const version of both) {
          const { receivedBytes, result } = yield* fetchFrom(
            answering({ ...chain.server, ...versions(version) }),
            chain.ca
          )
          expect(result, version).toMatchObject(right)
          expect(receivedBytes).toBeGreaterThan(name.includes("20 KB") ? 20_000 : 500)
        }
      }))
  }

  it.live("FET-18: a chain is accepted that arrives one byte at a time, or in records of 512 bytes", () =>
    Effect.gen(function*() {
      const chain = chainOf({ authorities: 2 })
      for (const version of both) {
        const dripping = (raw: Socket) => {
          const transport = new Duplex({
            read() {},
            write(bytes: Buffer, _encoding, done) {
              for (const byte of bytes) raw.write(Uint8Array.of(byte))
              done()
            }
          })
          raw.setNoDelay(true).on("data", (bytes: Buffer) => transport.push(bytes))
          secured(transport, { ...chain.server, ...versions(version) }).once("data", function(this: tls.TLSSocket) {
            this.write(document)
          })
        }
        expect((yield* fetchFrom(dripping, chain.ca)).result, version).toMatchObject(right)
        const short = (raw: Socket) => {
          const socket = secured(raw, { ...chain.server, ...versions(version) })
          socket.setMaxSendFragment(512)
          socket.once("data", () => socket.end(document))
        }
        expect((yield* fetchFrom(short, chain.ca)).result, version).toMatchObject(right)
      }
    }))

  it.live("FET-17: a server that asks for a certificate of one of a hundred authorities is accepted", () =>
    Effect.gen(function*() {
      for (const version of both) {
        const options = {
          ...honest.server,
          ...versions(version),
          requestCert: true,
          rejectUnauthorized: false,
          ca: [...tls.rootCertificates.slice(0, 100)]
        }
        const { receivedBytes, result } = yield* fetchFrom(answering(options), honest.ca)
        expect(result, version).toMatchObject(right)
        expect(receivedBytes).toBeGreaterThan(5000)
      }
    }))

  const bigExponent = Buffer.alloc(384, 0x7f)
  const uri = (text: string) => element(0x86, Buffer.from(text))
  const attackNames = [host, ...Array.from({ length: 1300 }, () => "a")]
  const attributes = (count: number) =>
    sequence(
      ...Array.from({ length: count }, () =>
        element(0x31, sequence(element(0x06, Uint8Array.of(0x55, 4, 3)), element(0x0c, Buffer.from("x")))))
    )
  const issuedBy = (contents: Partial<Certificates.Contents>) => {
    const certificate = Certificates.certificate({
      subject: host,
      issuer: "Authority",
      key: leafKey,
      signer: leafKey,
      extensions: [Certificates.alternativeNames([host])],
      ...contents
    })
    return {
      ca: Certificates.pemOf([certificate]),
      server: { cert: Certificates.pemOf([certificate]), key: leafKey.pem }
    }
  }
  const keyed = (authorities: number, authorityKey: () => Certificates.Key) => chainOf({ authorities, authorityKey })

  for (
    const [name, chain, detail] of [
      [
        "21 authorities with RSA keys of 16384 bits",
        keyed(20, () => Certificates.fakeRsaKey(16_384)),
        /21 certificates|32768 bytes/
      ],
      ["5 authorities with RSA keys of 16384 bits", keyed(5, () => Certificates.fakeRsaKey(16_384)), /has a key/],
      ["RSA keys with long exponents", keyed(7, () => Certificates.fakeRsaKey(3072, bigExponent)), /has a key/],
      ["RSA exponents of 64 bits", keyed(5, () => Certificates.fakeRsaKey(8192, Buffer.alloc(8, 0x7f))), /has a key/],
      ["DSA keys", keyed(6, () => Certificates.fakeDsaKey(8192)), /has a key/],
      ["keys on P-521", keyed(7, () => Certificates.curveKey("P-521")), /has a key/],
      ["keys on sect571r1", keyed(7, () => Certificates.curveKey("sect571r1")), /has a key/],
      ["keys on brainpoolP512r1", keyed(7, () => Certificates.curveKey("brainpoolP512r1")), /has a key/],
      ["Ed448 keys", keyed(7, Certificates.ed448Key), /has a key/],
      ["eight intermediates", keyed(8, () => Certificates.curveKey("P-256")), /9 certificates/],
      [
        "name constraints on thousands of names",
        chainOf({
          authorities: 4,
          leafNames: attackNames,
          authorityExtensions: [Certificates.nameConstraints(Array.from({ length: 200 }, () => uri("b")))]
        }),
        /names and 800 name constraints/
      ],
      ["a long subject", issuedBy({ subject: attributes(100) }), /name that is too long/],
      ["a long issuer", issuedBy({ issuer: attributes(100) }), /name that is too long/],
      [
        "a long extension",
        issuedBy({
          extensions: [Certificates.alternativeNames([host]), Certificates.extension([0x2a, 0x03], Buffer.alloc(2049))]
        }),
        /extension that is too long/
      ]
    ] as const
  ) {
    for (const version of both) {
      it.live(`FET-18: a chain with ${name} is refused before it is verified, in ${version}`, () =>
        expectCheap(
          fetchFrom(answering({ ...chain.server, ...versions(version), ciphers: "DEFAULT@SECLEVEL=0" }), chain.ca),
          tlsFailed(
            expect.stringMatching(/^CERTIFICATES_REFUSED$|^HANDSHAKE_TOO_LARGE$/),
            expect.stringMatching(detail)
          )
        ))
    }
  }
})

/** Writes without end. It yields after each write, because the peer runs in the same process. */
const flood = (raw: Socket, next: () => Uint8Array) => {
  const more = () => {
    if (raw.destroyed) return
    if (raw.write(Buffer.concat(Array.from({ length: 32 }, next)))) setImmediate(more)
    else raw.once("drain", more)
  }
  more()
}

/** A server that waits for the request, and then floods with forged records. */
const flooding = (next: (records: ReturnType<typeof forgedRecords>) => Uint8Array) => (raw: Socket) => {
  const socket = secured(raw, { ...honest.server, ...versions("TLSv1.3"), ciphers: "TLS_AES_128_GCM_SHA256" })
  const records = forgedRecords(socket)
  // The two tickets of the server are written after this event.
  socket.once("data", () => setTimeout(() => flood(raw, () => next(records)), 10))
}

const ticket = (bytes: number) => {
  const message = Buffer.alloc(4 + 8 + 2 + 2 + bytes + 2)
  message[0] = 4
  message.writeUIntBE(message.length - 4, 1, 3)
  message.writeUInt32BE(3600, 4)
  message[12] = 1
  message[13] = 1
  message.writeUInt16BE(bytes, 14)
  return message
}

const tickets = flooding(({ seal }) => seal(contentType.handshake, ticket(1000)))

describe("Bytes", () => {
  const large = { left: { _tag: "ResponseTooLarge", part: "connection", limit: connectionLimit(5120) } }

  it.live("FET-17: session tickets without end fail the fetch at the limit", () =>
    Effect.gen(function*() {
      const { receivedBytes, result } = yield* fetchFrom(tickets, honest.ca)
      expect(result).toMatchObject(large)
      expect(receivedBytes).toBeGreaterThan(connectionLimit(5120))
      expect(receivedBytes).toBeLessThanOrEqual(connectionLimit(5120) + oneRead)
    }))

  for (
    const [name, next] of [
      ["small tickets", ({ seal }) => seal(contentType.handshake, ticket(1))],
      ["records that are all padding", ({ seal }) => seal(contentType.applicationData, Buffer.alloc(0), 16_000)],
      ["empty records", ({ seal }) => seal(contentType.applicationData, Buffer.alloc(0))],
      ["alerts", ({ seal }) => seal(contentType.alert, Uint8Array.of(1, 90))],
      ["key updates", ({ seal, update }) => {
        const sealed = seal(contentType.handshake, Uint8Array.of(24, 0, 0, 1, 0))
        update()
        return sealed
      }],
      ["requests for key updates", ({ seal, update }) => {
        const sealed = seal(contentType.handshake, Uint8Array.of(24, 0, 0, 1, 1))
        update()
        return sealed
      }],
      [
        "bytes of the body in a record each",
        (() => {
          let sent = false
          return ({ seal }: ReturnType<typeof forgedRecords>) => {
            const content = sent ? "1\r\nx\r\n" : head("Transfer-Encoding: chunked")
            sent = true
            return seal(contentType.applicationData, Buffer.from(content), 200)
          }
        })()
      ]
    ] satisfies ReadonlyArray<readonly [string, (records: ReturnType<typeof forgedRecords>) => Uint8Array]>
  ) {
    it.live(`FET-17: ${name} without end fail the fetch within the limit`, () =>
      Effect.gen(function*() {
        const { receivedBytes, result } = yield* fetchFrom(flooding(next), honest.ca)
        // OpenSSL has limits of its own for some of them.
        expect(result).toMatchObject({ left: { _tag: expect.stringMatching(/^ResponseTooLarge$|^TlsFailed$/) } })
        expect(receivedBytes).toBeLessThanOrEqual(connectionLimit(5120) + oneRead)
      }))
  }

  for (
    const [name, connection] of [
      [
        "a list of certificates that is too long",
        answering({
          ...honest.server,
          cert: chainOf({
            leafNames: [
              host,
              ...Array.from({ length: 1500 }, (_, index) => `n${index}.subdomain.example`)
            ]
          }).server.cert
        })
      ],
      ["changes of the cipher without end", (raw: Socket) => flood(raw, () => Uint8Array.of(20, 3, 3, 0, 1, 1))],
      ["alerts without end", (raw: Socket) => flood(raw, () => Uint8Array.of(21, 3, 3, 0, 2, 1, 90))],
      ["empty records without end", (raw: Socket) => flood(raw, () => Uint8Array.of(22, 3, 3, 0, 0))],
      [
        "a message without end",
        (raw: Socket) => flood(raw, () => Buffer.concat([Uint8Array.of(22, 3, 3, 0x40, 0), Buffer.alloc(16_384, 2)]))
      ],
      ["bytes that are not TLS, without end", (raw: Socket) => flood(raw, () => Buffer.alloc(1000, 65))]
    ] as const
  ) {
    it.live(`FET-17: a handshake with ${name} is refused and cheap`, () =>
      expectCheap(fetchFrom(connection, honest.ca), tlsFailed(expect.any(String))))
  }

  it.live("FET-17: a handshake of exactly the limit is permitted, and one byte more is not", () =>
    Effect.gen(function*() {
      // A handshake that stops, so that its bytes are exact: the message is announced, but never complete.
      const partial = (bytes: number) => (raw: Socket) => {
        raw.resume().write(Buffer.concat([Uint8Array.of(22, 3, 3, 0x40, 0, 2, 0, 0x40, 0), Buffer.alloc(bytes - 9)]))
      }
      const at = yield* fetchFrom(partial(16_000), honest.ca, { timeout: 300 })
      expect(at).toMatchObject({ result: { left: { _tag: "FetchTimeout", phase: "tls" } }, receivedBytes: 16_000 })
      const above = yield* fetchFrom(partial(handshakeLimit + 1), honest.ca)
      expect(above.result).toMatchObject({ left: { _tag: "TlsFailed" } })
    }))

  for (const maxBodyBytes of [5120, 65_536]) {
    const body = "x".repeat(maxBodyBytes)
    const accepted = { _tag: "Right", right: { body: Buffer.from(body) } }

    it.live(`FET-17: a body at the limit of ${maxBodyBytes} bytes is accepted in one write`, () =>
      Effect.gen(function*() {
        for (const version of both) {
          const answer = `${head(`Content-Length: ${maxBodyBytes}`)}${body}`
          const options = { ...honest.server, ...versions(version) }
          expect((yield* fetchFrom(answering(options, answer), honest.ca, { maxBodyBytes })).result).toMatchObject(
            accepted
          )
        }
      }))

    it.live(`FET-17: a body at the limit of ${maxBodyBytes} bytes is accepted in records of 48 bytes`, () =>
      Effect.gen(function*() {
        for (const version of both) {
          const connection = (raw: Socket) => {
            const socket = secured(raw, { ...honest.server, ...versions(version) })
            socket.once("data", () => {
              socket.write(head(`Content-Length: ${maxBodyBytes}`))
              // A write during another is joined with it, so each waits for the last.
              const send = (at: number) => {
                if (at < maxBodyBytes) socket.write(body.slice(at, at + 48), () => send(at + 48))
              }
              send(0)
            })
          }
          const { receivedBytes, result } = yield* fetchFrom(connection, honest.ca, { maxBodyBytes })
          expect(result, version).toMatchObject(accepted)
          expect(receivedBytes).toBeGreaterThan(maxBodyBytes + 22 * maxBodyBytes / 48)
        }
      }))
  }

  it.live("FET-17: the limit of the connection follows those of the body and of the head", () =>
    Effect.gen(function*() {
      const { receivedBytes, result } = yield* fetchFrom(tickets, honest.ca, {
        maxBodyBytes: 1,
        maxHeaderBytes: 100_000
      })
      expect(result).toMatchObject({ left: { _tag: "ResponseTooLarge", part: "connection", limit: 140_961 } })
      expect(receivedBytes).toBeGreaterThan(140_961)
      const long = `${head(`x: ${"y".repeat(90_000)}`, "Content-Length: 1")}x`
      expect(
        (yield* fetchFrom(answering(honest.server, long), honest.ca, { maxBodyBytes: 1, maxHeaderBytes: 100_000 }))
          .result
      )
        .toMatchObject({ _tag: "Right" })
    }))

  it.live("FET-17: a request for renegotiation does not start one", () =>
    Effect.gen(function*() {
      let finished = 0
      const connection = (raw: Socket) => {
        const socket = secured(raw, { ...honest.server, ...versions("TLSv1.2") })
        socket.once("data", () => {
          socket.renegotiate({}, () => finished++)
        })
      }
      const { handshakeMillis, result } = yield* fetchFrom(connection, honest.ca)
      expect(result).toMatchObject({ left: { _tag: "TlsFailed" } })
      expect(handshakeMillis).toBeGreaterThan(0)
    }))
})
