import { it } from "@effect/vitest"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { NameLookupTest, Origin } from "effect-cimd/testing"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { connect, Socket } from "node:net"
import { inspect } from "node:util"
import { describe, expect } from "vitest"
import * as ProxyTunnel from "../src/internal/fetch/proxyTunnel.js"
import { clientId } from "./support/clientId.js"
import { listening } from "./support/listening.js"

const dial = (address: string, port: number) => Effect.flatMap(Dialer.Dialer, (dialer) => dialer.dial(address, port))

describe("Direct dialer", () => {
  it.scopedLive("ADR-02: connects to the given address, IPv4 or IPv6, and closes with the scope", () =>
    Effect.gen(function*() {
      for (const host of ["127.0.0.1", "::1"]) {
        const { open, port } = yield* listening(() => {}, host)
        yield* Effect.scoped(Effect.gen(function*() {
          const socket = yield* dial(host, port)
          expect(socket.writable).toBe(true)
          yield* Effect.sleep(20)
          expect(open()).toBe(1)
        }))
        yield* Effect.sleep(20)
        expect(open()).toBe(0)
      }
    }).pipe(Effect.provide(Dialer.layer)))

  it.scopedLive("FET-17: a socket that nobody reads takes in one read of 8 KiB, and a resumed one the rest", () =>
    Effect.gen(function*() {
      const flood = Buffer.alloc(1_000_000, "x")
      const { port } = yield* listening((peer) => peer.write(flood))
      const socket = yield* dial("127.0.0.1", port)
      yield* Effect.sleep(200)
      expect(socket).toMatchObject({ bytesRead: expect.toSatisfy((read: number) => read <= 8192) })
      let received = 0
      socket.on("data", (chunk: Buffer) => {
        received += chunk.length
        expect(chunk.length).toBeLessThanOrEqual(8192)
        socket.pause()
        setTimeout(() => socket.resume(), 1)
      })
      yield* Effect.repeat(Effect.sleep(10), { until: () => received === flood.length, times: 500 })
      expect(received).toBe(flood.length)
    }).pipe(Effect.provide(Dialer.layer)))

  it.scopedLive("ADR-02: the error of a refused connection has its address", () =>
    Effect.gen(function*() {
      const { port } = yield* Effect.scoped(listening(() => {}))
      const error = yield* Effect.flip(dial("127.0.0.1", port))
      expect(error).toMatchObject({ _tag: "DialError", address: "127.0.0.1", port, cause: { code: "ECONNREFUSED" } })
      expect(error.message).toContain("127.0.0.1")
    }).pipe(Effect.provide(Dialer.layer)))

  it.scopedLive("ADR-02: fails for a name and never looks it up", () =>
    Effect.gen(function*() {
      const { port, reached } = yield* listening()
      for (const name of ["localhost", "127.1", "2130706433", "", "app.example", "[::1]"]) {
        expect(yield* Effect.flip(dial(name, port))).toMatchObject({
          _tag: "DialError",
          cause: { message: "It is not an IP address" }
        })
      }
      yield* Effect.sleep(20)
      expect(reached()).toBe(0)
    }).pipe(Effect.provide(Dialer.layer)))
})

/** An HTTP proxy on loopback that opens every tunnel to one port, and records its requests. */
const proxy = (target: number, answer = "HTTP/1.1 200 Connection established\r\n\r\n") => {
  const requests: Array<string> = []
  return Effect.map(
    listening((client) => {
      client.once("data", (head) => {
        requests.push(head.toString())
        if (!answer.startsWith("HTTP/1.1 200")) {
          client.end(answer)
          return
        }
        const upstream = connect(target, "127.0.0.1")
        upstream.on("error", () => client.destroy()).on("close", () => client.destroy())
        client.on("close", () => upstream.destroy())
        client.write(answer)
        client.pipe(upstream)
        upstream.pipe(client)
      })
    }),
    ({ port }) => ({ port, requests })
  )
}

describe("Dialer through a proxy", () => {
  const url = "https://app.example/client.json"

  it.scopedLive("FET-13: requests a tunnel to the checked address, and runs TLS with the origin through it", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.document(url, { client_id: url })
      for (
        const [address, authority] of [["93.184.215.14", "93.184.215.14:443"], [
          "2606:2800::1",
          "[2606:2800::1]:443"
        ]] as const
      ) {
        const { port, requests } = yield* proxy(origin.port)
        const fetcher = Fetcher.layerWithoutDependencies({ ca: origin.ca }).pipe(
          Layer.provide([
            NameLookupTest.layer({ "app.example": [address] }),
            Dialer.layerHttpProxy({ host: "localhost", port, authorization: Redacted.make("Basic dTpw") }),
            HostPolicy.layerPublic
          ])
        )
        const response = yield* Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => fetch(clientId(url))).pipe(
          Effect.provide(fetcher)
        )
        expect(response.address).toBe(address)
        expect(requests).toEqual([
          `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic dTpw\r\n\r\n`
        ])
      }
    }))

  it.scopedLive("FET-13: the proxy gets no connection for an address that must not be dialed", () =>
    Effect.gen(function*() {
      const { port, requests } = yield* proxy(1)
      const fetcher = Fetcher.layerWithoutDependencies().pipe(
        Layer.provide([
          NameLookupTest.layer({ "app.example": ["10.0.0.1"] }),
          Dialer.layerHttpProxy({ host: "127.0.0.1", port }),
          HostPolicy.layerPublic
        ])
      )
      const error = yield* Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => Effect.flip(fetch(clientId(url)))).pipe(
        Effect.provide(fetcher)
      )
      expect(error._tag).toBe("AddressBlocked")
      expect(requests).toEqual([])
    }))

  it.scopedLive("FET-12: the error of a proxy that refuses does not contain the authorization", () =>
    Effect.gen(function*() {
      const { port } = yield* proxy(1, "HTTP/1.1 407 No\r\n\r\n")
      const authorization = Redacted.make("Basic dXNlcjpwYXNz")
      const fetcher = Fetcher.layerWithoutDependencies().pipe(
        Layer.provide([
          NameLookupTest.layer({ "app.example": ["93.184.215.14"] }),
          Dialer.layerHttpProxy({ host: "127.0.0.1", port, authorization }),
          HostPolicy.layerPublic
        ])
      )
      const error = yield* Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => Effect.flip(fetch(clientId(url)))).pipe(
        Effect.provide(fetcher)
      )
      expect(error).toMatchObject({ _tag: "ConnectFailed", attempts: [{ code: "PROXY_REFUSED" }] })
      expect(`${error.message} ${JSON.stringify(error)}`).not.toContain("dXNlcjpwYXNz")
    }))

  for (
    const [name, answer] of [
      ["a 403", "HTTP/1.1 403 Forbidden\r\n\r\n"],
      ["not HTTP", "SSH-2.0\r\n\r\n"],
      ["empty", ""],
      ["a 200 with bytes behind it", "HTTP/1.1 200 OK\r\n\r\nmore"],
      ["too long", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}`],
      ["too long, and complete", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}\r\n\r\n`],
      ["a 101", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
      ["a 403 after a 103", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n"],
      ["an interim response alone", "HTTP/1.1 100 Continue\r\n\r\n"],
      ["a flood of interim responses", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)],
      ["a 200 with bytes behind it, after a 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nmore"]
    ] as const
  ) {
    it.scopedLive(`ADR-02: fails when the response of the proxy is ${name}`, () =>
      Effect.gen(function*() {
        const { port } = yield* listening((socket) => socket.once("data", () => socket.end(answer)))
        const error = yield* Effect.flip(dial("93.184.215.14", 443)).pipe(
          Effect.provide(Dialer.layerHttpProxy({ host: "127.0.0.1", port }))
        )
        expect(error).toMatchObject({ _tag: "DialError", cause: { code: "PROXY_REFUSED" } })
      }))
  }

  it.scopedLive("ADR-02: interim responses of the proxy are skipped, in one piece or byte by byte", () =>
    Effect.gen(function*() {
      const answer =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
      for (const pieces of [[answer], [...answer]]) {
        const { port } = yield* listening((socket) =>
          socket.once("data", () => pieces.forEach((piece, index) => setTimeout(() => socket.write(piece), index)))
        )
        const tunnel = yield* dial("93.184.215.14", 443).pipe(
          Effect.provide(Dialer.layerHttpProxy({ host: "127.0.0.1", port }))
        )
        expect(tunnel.destroyed).toBe(false)
      }
    }))

  it.scopedLive("FET-08: an interruption closes the connection to a proxy that does not respond", () =>
    Effect.gen(function*() {
      const { open, port } = yield* listening((socket) => socket.resume())
      const fiber = yield* Effect.fork(
        Effect.scoped(dial("93.184.215.14", 443)).pipe(
          Effect.provide(Dialer.layerHttpProxy({ host: "127.0.0.1", port }))
        )
      )
      yield* Effect.sleep(50)
      expect(open()).toBe(1)
      expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
      yield* Effect.sleep(20)
      expect(open()).toBe(0)
    }))

  it.live("ADR-02: fails when the connection to the proxy ended before the request", () =>
    Effect.gen(function*() {
      const gone = new Socket().destroy()
      const broken = new Socket().on("error", () => {})
      broken.destroy(new Error("It broke"))
      // They emit no further event.
      yield* Effect.sleep(5)
      expect(yield* Effect.flip(ProxyTunnel.open(gone, "CONNECT"))).toMatchObject({ code: "PROXY_REFUSED" })
      expect(yield* Effect.flip(ProxyTunnel.open(broken, "CONNECT"))).toMatchObject({ message: "It broke" })
    }))

  for (
    const [name, options] of [
      ["host", { host: "", port: 3128 }],
      ["host", { host: " proxy.internal", port: 3128 }],
      ["host", { host: undefined as never, port: 3128 }],
      ["port", { host: "proxy.internal", port: 0 }],
      ["port", { host: "proxy.internal", port: 65_536 }],
      ["port", { host: "proxy.internal", port: 1.5 }],
      ["port", { host: "proxy.internal", port: undefined as never }],
      ["authorization", { host: "proxy.internal", port: 3128, authorization: Redacted.make("s3cret\r\nHost: x") }],
      ["authorization", { host: "proxy.internal", port: 3128, authorization: Redacted.make("s3crét") }],
      ["authorization", { host: "proxy.internal", port: 3128, authorization: Redacted.make("") }],
      ["authorization", { host: "proxy.internal", port: 3128, authorization: "s3cret" as never }]
    ] as const
  ) {
    it.effect(`FET-13: an invalid ${name} of the proxy fails the layer and is named: ${inspect(options)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Dialer.layerHttpProxy(options))))
        expect(error).toMatchObject({ _tag: "InvalidOptions", message: expect.stringContaining(`\`${name}\``) })
        expect(error.message).not.toContain("s3cr")
      }))
  }

  it.scopedLive("FET-13: reads the options of the proxy from Config", () =>
    Effect.gen(function*() {
      const { port, requests } = yield* proxy(1)
      const layer = Dialer.layerHttpProxyConfig({
        host: Config.string("HOST"),
        port: Config.integer("PORT"),
        authorization: Config.redacted("AUTHORIZATION").pipe(Config.withDefault(undefined))
      })
      const dialed = (entries: Record<string, string>) =>
        Effect.exit(Effect.provide(dial("93.184.215.14", 443), layer)).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))
        )
      expect(Exit.isSuccess(yield* dialed({ HOST: "127.0.0.1", PORT: `${port}`, AUTHORIZATION: "Basic dTpw" })))
        .toBe(true)
      expect(requests).toEqual([
        "CONNECT 93.184.215.14:443 HTTP/1.1\r\nHost: 93.184.215.14:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
      ])
      expect(Exit.isFailure(yield* dialed({ HOST: "127.0.0.1", PORT: "0" }))).toBe(true)
    }))
})
