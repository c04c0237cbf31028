/**
 * A scripted origin: an HTTPS server on loopback that sends the responses of a test, and records the requests. It has a
 * temporary certificate authority of its own, which issues a certificate for every name that a client requests.
 *
 * It writes responses to the socket unchanged, so that an origin can also break every rule of HTTP.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { AddressInfo, Socket } from "node:net"
import { createServer } from "node:net"
import * as tls from "node:tls"
import * as Certificate from "./internal/certificate.js"

/**
 * A request as it arrived.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly method: string
  /** The request target, byte for byte. */
  readonly target: string
  /** Each header line as an entry of its own. Names keep their case. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** The name in the TLS handshake (SNI), or `undefined` if the client sent none. */
  readonly serverName: string | undefined
  /** When it had arrived, in milliseconds since the Unix epoch. */
  readonly time: number
}

/**
 * The response to a request. Every field is optional: `{}` is a 200 with an empty body.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  /** Defaults to `200`. */
  readonly status?: number | undefined
  /**
   * Header fields, beside `Content-Type: application/json`, `Content-Length` and `Connection: close`. A field of the
   * same name replaces each of these, and an empty array removes it. A `Transfer-Encoding` removes `Content-Length`.
   */
  readonly headers?: Readonly<Record<string, string | ReadonlyArray<string>>> | undefined
  /** Defaults to an empty body. */
  readonly body?: string | Uint8Array | undefined
  /** The whole response, byte for byte, instead of the fields above. */
  readonly raw?: string | Uint8Array | undefined
  /** The delay before the first byte. Defaults to none. */
  readonly delay?: Duration.DurationInput | undefined
  /** Sends this number of bytes at a time. Defaults to all bytes at once. */
  readonly drip?: { readonly bytes: number; readonly every: Duration.DurationInput } | undefined
  /** What follows the last byte: the end of the connection, a TCP reset, or nothing. Defaults to `close`. */
  readonly end?: "close" | "reset" | "hang" | undefined
}

/**
 * The kind of TLS handshake for a name: with a valid or an invalid certificate, without an end, or with a TCP reset.
 * Defaults to `trusted`.
 *
 * @since 0.1.0
 * @category models
 */
export type Handshake =
  | "trusted"
  | "wrong-name"
  /** The certificate has the name only as the common name of its subject, which RFC 9525 no longer uses. */
  | "common-name"
  | "self-signed"
  | "expired"
  | "not-yet-valid"
  | "hang"
  | "reset"

/**
 * A TLS server on loopback with scripted responses, for every host.
 *
 * @since 0.1.0
 * @category tags
 */
export class Origin extends Context.Tag("effect-cimd/testing/Origin")<Origin, {
  /** The port on which it listens, at 127.0.0.1. */
  readonly port: number
  /** The certificate of its authority in PEM form, for the `ca` option of a fetcher. */
  readonly ca: string
  /**
   * Sets the response at a URL: `https://app.example/client.json`, or only a path for every host. The response may
   * depend on the request, and on the number of requests so far (`count` is 1 for the first). Other URLs have status
   * 404.
   */
  readonly serve: (url: string, answer: Answer | ((request: Request, count: number) => Answer)) => Effect.Effect<void>
  /** Serves a value as JSON with status 200. */
  readonly document: (url: string, json: unknown, headers?: Answer["headers"]) => Effect.Effect<void>
  /** Sets the kind of handshakes for a host name. */
  readonly handshake: (host: string, handshake: Handshake) => Effect.Effect<void>
  /** Returns every request so far, in the order of arrival. */
  readonly requests: Effect.Effect<ReadonlyArray<Request>>
  /** Returns the number of open TCP connections, and of all so far. */
  readonly connections: Effect.Effect<{ readonly open: number; readonly total: number }>
}>() {}

/**
 * Makes an origin on a free port, which is closed with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Origin["Type"], never, Scope.Scope> = Effect.gen(function*() {
  const authority = Certificate.authority(realTime())
  const answers = new Map<string, { readonly answer: Parameters<Origin["Type"]["serve"]>[1]; count: number }>()
  const handshakes = new Map<string, Handshake>()
  const requests: Array<Request> = []
  const open = new Set<Socket>()
  let total = 0

  const respond = (socket: tls.TLSSocket, raw: Socket, request: Request, host: string) => {
    requests.push(request)
    const scripted = answers.get(`https://${host}${request.target}`) ?? answers.get(request.target)
    if (scripted === undefined) {
      send(socket, raw, { status: 404 })
      return
    }
    scripted.count++
    const { answer } = scripted
    send(socket, raw, typeof answer === "function" ? answer(request, scripted.count) : answer)
  }

  const contexts = contextsOf(authority)
  const server = createServer((raw) => {
    total++
    open.add(raw)
    raw.on("close", () => open.delete(raw)).on("error", () => {})
    const socket = new tls.TLSSocket(raw, {
      isServer: true,
      secureContext: contexts("", "trusted"),
      ALPNProtocols: ["http/1.1"],
      SNICallback: (name, done) => {
        const handshake = handshakes.get(name) ?? "trusted"
        if (handshake === "reset") {
          raw.resetAndDestroy()
        } else if (handshake !== "hang") {
          done(null, contexts(name, handshake))
        }
      }
    })
    socket.on("error", () => {})
    let head = ""
    const onData = (chunk: Buffer) => {
      head += chunk.toString("latin1")
      if (!head.includes("\r\n\r\n")) return
      socket.off("data", onData).resume()
      const { host, ...request } = parse(head)
      const serverName = "servername" in socket && typeof socket.servername === "string" ? socket.servername : undefined
      respond(socket, raw, { ...request, serverName, time: realTime() }, host)
    }
    socket.on("data", onData)
  })

  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of open) socket.destroy()
      })
  )

  const serve: Origin["Type"]["serve"] = (url, answer) =>
    Effect.sync(() => {
      answers.set(url.replace(/^(https:\/\/[^/]*):443\//, "$1/"), { answer, count: 0 })
    })

  return {
    // A server that listens on TCP has an address of this form.
    port: (server.address() as AddressInfo).port,
    ca: authority.cert,
    serve,
    document: (url, json, headers) => serve(url, { body: JSON.stringify(json), headers }),
    handshake: (host, handshake) => Effect.sync(() => void handshakes.set(host, handshake)),
    requests: Effect.sync(() => [...requests]),
    connections: Effect.sync(() => ({ open: open.size, total }))
  }
})

/**
 * An origin on a free port, which is closed with the scope.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Origin> = Layer.scoped(Origin, make)

const day = 86_400_000

// Not the clock of the test, because TLS reads the real one.
const realTime = (): number => realClock.unsafeCurrentTimeMillis()
const realClock = Clock.make()

/** Makes the secure context for a name and a kind of handshake. Each is made once. */
const contextsOf = (authority: ReturnType<typeof Certificate.authority>) => {
  const made = new Map<string, tls.SecureContext>()
  const certificate = (name: string, handshake: Handshake): Certificate.Certificate => {
    const now = realTime()
    const valid = { notBefore: new Date(now - day), notAfter: new Date(now + day) }
    // Without a name in the handshake, the client dialed an address, which has to be in the certificate.
    const names = name === "" ? ["localhost", "127.0.0.1", "::1", ...publicAddresses] : [name]
    switch (handshake) {
      case "self-signed":
        return Certificate.selfSigned({ names, ...valid })
      case "wrong-name":
        return authority.issue({ names: ["wrong.example"], ...valid })
      case "common-name":
        return authority.issue({ names: [], commonName: name, ...valid })
      case "expired":
        return authority.issue({ names, notBefore: new Date(now - 2 * day), notAfter: new Date(now - day) })
      case "not-yet-valid":
        return authority.issue({ names, notBefore: new Date(now + day), notAfter: new Date(now + 2 * day) })
      default:
        return authority.issue({ names, ...valid })
    }
  }
  return (name: string, handshake: Handshake): tls.SecureContext => {
    const key = `${handshake} ${name}`
    const known = made.get(key)
    if (known !== undefined) return known
    const context = tls.createSecureContext(certificate(name, handshake))
    made.set(key, context)
    return context
  }
}

/**
 * The default addresses of names in tests, IPv4 and IPv6. They are public, so a fetcher accepts them, but nothing is
 * ever sent to them.
 *
 * @since 0.1.0
 * @category constants
 */
export const publicAddresses = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"] as const

const parse = (text: string) => {
  const [requestLine = "", ...lines] = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n")
  const [method = "", target = ""] = requestLine.split(" ")
  const headers = lines.map((line) => {
    const colon = line.indexOf(":")
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const
  })
  const host = headers.find(([name]) => name.toLowerCase() === "host")?.[1] ?? ""
  return { method, target, headers, host }
}

const bytesOf = (answer: Answer): Buffer => {
  if (answer.raw !== undefined) {
    return Buffer.from(answer.raw)
  }
  const body = Buffer.from(answer.body ?? "")
  const given = Object.entries(answer.headers ?? {})
  const has = (name: string) => given.some(([header]) => header.toLowerCase() === name)
  const fields = [
    ...(has("content-type") ? [] : [["Content-Type", "application/json"] as const]),
    ...(has("content-length") || has("transfer-encoding") ? [] : [["Content-Length", `${body.length}`] as const]),
    ...(has("connection") ? [] : [["Connection", "close"] as const]),
    ...given
  ]
  const lines = fields.flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map((line) => `${name}: ${line}\r\n`)
  )
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${answer.status ?? 200} \r\n${lines.join("")}\r\n`, "latin1"), body])
}

const resetDelayMillis = 20

const send = (socket: tls.TLSSocket, raw: Socket, answer: Answer): void => {
  const finish = () => {
    if (answer.end === "reset") {
      // A reset discards bytes in transit, and Node.js reports a reset that arrives together with bytes as an end.
      setTimeout(() => raw.resetAndDestroy(), resetDelayMillis)
    } else if (answer.end !== "hang") {
      socket.end()
    }
  }
  const bytes = bytesOf(answer)
  const { drip } = answer
  const write = (from: number): void => {
    if (raw.destroyed) return
    if (drip === undefined) {
      socket.write(bytes, finish)
      return
    }
    const to = from + drip.bytes
    socket.write(bytes.subarray(from, to))
    if (to >= bytes.length) {
      finish()
    } else {
      setTimeout(() => write(to), Duration.toMillis(drip.every))
    }
  }
  if (answer.delay === undefined) {
    write(0)
  } else {
    setTimeout(() => write(0), Duration.toMillis(answer.delay))
  }
}
