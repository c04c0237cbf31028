import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { AddressInfo, Socket } from "node:net"
import { createServer, Socket as NetSocket } from "node:net"
import { PassThrough } from "node:stream"
import * as tls from "node:tls"
import * as SilentSocket from "../../src/internal/postgres/socketTimeout.js"
import * as Certificate from "../../src/testing/internal/certificate.js"

/** A server that does with each connection what it is told, for as long as the scope is open; its port. */
const server = (onConnection: (socket: Socket) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((socket) => onConnection(socket.on("error", () => {})))
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as AddressInfo).port
  )

const connected = (silence: Duration.DurationInput, port: number) =>
  Effect.acquireRelease(
    Effect.async<NetSocket>((resume) => {
      const socket = SilentSocket.make(silence)()
      if (!(socket instanceof NetSocket)) throw new Error("no socket")
      socket.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const failure = (socket: NetSocket) =>
  Effect.async<Error>((resume) => {
    socket.once("error", (error) => resume(Effect.succeed(error)))
  })

describe("a socket that does not wait for good", () => {
  it.scopedLive("CAC-09: is destroyed when nothing answers", () =>
    Effect.gen(function*() {
      const socket = yield* connected("100 millis", yield* server(() => {}))
      socket.write("anybody?")
      const error = yield* Effect.timeout(failure(socket), "5 seconds")
      expect(error).toMatchObject({ code: "ETIMEDOUT" })
      expect(socket.destroyed).toBe(true)
    }))

  it.scopedLive("lives while there is traffic, also when TLS has taken it over", () =>
    Effect.gen(function*() {
      const day = 86_400_000
      const context = tls.createSecureContext(Certificate.selfSigned({
        names: ["localhost"],
        notBefore: new Date(Date.now() - day),
        notAfter: new Date(Date.now() + day)
      }))
      const port = yield* server((raw) => {
        const secure = new tls.TLSSocket(raw, { isServer: true, secureContext: context })
        secure.on("error", () => {}).on("data", (data) => secure.write(data))
      })
      const socket = yield* connected("300 millis", port)
      // As the driver does: the socket is handed over once it is connected.
      const secure = tls.connect({ socket, rejectUnauthorized: false })
      let echoes = 0
      secure.on("data", () => echoes++).on("error", () => {})
      for (let round = 0; round < 12; round++) {
        secure.write("x")
        yield* Effect.sleep("100 millis")
      }
      expect(echoes).toBeGreaterThan(5)
      expect(socket.destroyed).toBe(false)
      yield* Effect.sleep("600 millis")
      expect(socket.destroyed).toBe(true)
    }))

  it.scopedLive("without end, waits", () =>
    Effect.gen(function*() {
      const socket = yield* connected(Duration.infinity, yield* server(() => {}))
      socket.write("anybody?")
      yield* Effect.sleep("200 millis")
      expect(socket.destroyed).toBe(false)
    }))

  it("leaves streams of someone else's making alone, and takes over its own", () => {
    const foreign = () => new PassThrough()
    expect(SilentSocket.within("1 second", foreign)).toBe(foreign)
    const own = SilentSocket.make("10 seconds")
    expect(SilentSocket.within("1 second", own)).not.toBe(own)
    expect(SilentSocket.within("1 second", undefined)()).toBeInstanceOf(NetSocket)
  })
})
