import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { AddressInfo, Socket } from "node:net"
import { createServer, Socket as NetSocket } from "node:net"
import * as tls from "node:tls"
import * as SocketTimeout from "../../src/internal/postgres/socketTimeout.js"
import * as Certificate from "../../src/testing/internal/certificate.js"

/** Serves until the scope closes, and returns its port. */
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

const connected = (timeout: Duration.DurationInput, port: number) =>
  Effect.acquireRelease(
    Effect.async<NetSocket>((resume) => {
      const socket = SocketTimeout.make(timeout)()
      if (!(socket instanceof NetSocket)) throw new Error("no socket")
      socket.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const failure = (socket: NetSocket) =>
  Effect.async<Error>((resume) => {
    socket.once("error", (error) => resume(Effect.succeed(error)))
  })

describe("a socket with a timeout", () => {
  it.scopedLive("CAC-09: is destroyed when the server sends nothing", () =>
    Effect.gen(function*() {
      const socket = yield* connected("100 millis", yield* server(() => {}))
      socket.write("anybody?")
      const error = yield* Effect.timeout(failure(socket), "5 seconds")
      expect(error).toMatchObject({ code: "ETIMEDOUT" })
      expect(socket.destroyed).toBe(true)
    }))

  it.scopedLive("stays open while there is traffic, also under TLS", () =>
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
      // The driver wraps the socket in the same way after it has connected.
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

  it.scopedLive("stays open without traffic if its timeout is infinite", () =>
    Effect.gen(function*() {
      const socket = yield* connected(Duration.infinity, yield* server(() => {}))
      socket.write("anybody?")
      yield* Effect.sleep("200 millis")
      expect(socket.destroyed).toBe(false)
    }))
})
