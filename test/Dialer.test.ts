import { it } from "@effect/vitest"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Server } from "node:http"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { connect } from "node:net"
import { describe, expect } from "vitest"
import { clientId } from "./support/clientId.js"

const url = "https://app.example/client.json"

interface Asked {
  readonly authority: string | undefined
  readonly authorization: string | undefined
}

/** A proxy that opens every tunnel to the origin, or refuses with a status, and remembers what it was asked. */
const proxy = (originPort: number, status = 200) =>
  Effect.gen(function*() {
    const asked: Array<Asked> = []
    const server = yield* Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer().on("connect", (request, socket, head) => {
          asked.push({ authority: request.url, authorization: request.headers["proxy-authorization"] })
          socket.on("error", () => {})
          if (status !== 200) return socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)
          const tunnel = connect(originPort, "127.0.0.1", () => {
            socket.write("HTTP/1.1 200 Connection Established\r\n\r\n")
            tunnel.write(head)
            tunnel.pipe(socket).pipe(tunnel)
          }).on("error", () => socket.destroy())
          return socket
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.closeAllConnections()
          server.close(() => resume(Effect.void))
        })
    )
    return { asked, port: (server.address() as AddressInfo).port }
  })

const fetchThrough = (port: number, ca: string, addresses: ReadonlyArray<string>) =>
  Effect.flatMap(Fetcher.Fetcher, (fetcher) => fetcher.fetch(clientId(url))).pipe(
    Effect.provide(
      Fetcher.layerWithoutDependencies({ ca, timeout: "2 seconds" }).pipe(
        Layer.provide(HostPolicy.layerPublic),
        Layer.provide(NameLookupTest.layer({ "app.example": addresses })),
        Layer.provide(
          Dialer.layerHttpProxy({ host: "127.0.0.1", port, authorization: Redacted.make("Basic dXNlcjpwYXNz") })
        )
      )
    )
  )

describe("Dialer.layerHttpProxy", () => {
  it.scopedLive("FET-13, ADR-02: the proxy is asked for the checked address, and TLS ends at the origin", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.document(url, { client_id: url })
      const { asked, port } = yield* proxy(origin.port)
      const response = yield* fetchThrough(port, origin.ca, [Origin.publicAddresses[0]])
      expect(response.address).toBe(Origin.publicAddresses[0])
      expect(asked).toEqual([{ authority: `${Origin.publicAddresses[0]}:443`, authorization: "Basic dXNlcjpwYXNz" }])
      expect((yield* origin.requests)[0]?.serverName).toBe("app.example")
    }))

  it.scopedLive("ADR-01: an address that is not public is refused before the proxy is asked", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      const { asked, port } = yield* proxy(origin.port)
      expect((yield* Effect.flip(fetchThrough(port, origin.ca, ["10.0.0.1"])))._tag).toBe("AddressBlocked")
      expect(asked).toEqual([])
    }))

  it.scopedLive("a proxy that refuses is a failure to connect, which names no authorization", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      const { port } = yield* proxy(origin.port, 407)
      const error = yield* Effect.flip(fetchThrough(port, origin.ca, [Origin.publicAddresses[0]]))
      expect(error._tag).toBe("ConnectFailed")
      expect(`${error.message} ${JSON.stringify(error)}`).not.toContain("dXNlcjpwYXNz")
    }))
})

describe("Dialer.layer", () => {
  it.scopedLive("ADR-02: a name is not dialed, so nothing looks it up a second time", () =>
    Effect.gen(function*() {
      const { dial } = yield* Dialer.Dialer
      expect((yield* Effect.flip(dial("localhost", 443)))._tag).toBe("DialError")
    }).pipe(Effect.provide(Dialer.layer)))
})
