import { it } from "@effect/vitest"
import { ClientId, Fetcher, HostPolicy } from "effect-cimd"
import { DialerTest, FetcherTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describe, expect } from "vitest"
import { clientId } from "./support/clientId.js"

const world = (options?: Fetcher.Options) =>
  FetcherTest.layer(options).pipe(
    Layer.provideMerge(Origin.layer),
    Layer.provide(HostPolicy.layerPublic)
  )

const url = "https://app.example/client.json"

describe("Fetcher", () => {
  it.live("FET-01, FET-02: sends one GET with exactly these header lines, and returns the document", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const fetcher = yield* Fetcher.Fetcher
      const target = "https://app.example:8443/a%2Fb//c;d=1?x=%20&y"
      yield* origin.document(target, { client_id: target }, { "cache-control": "max-age=600" })
      const response = yield* fetcher.fetch(clientId(target))
      expect(JSON.parse(Buffer.from(response.body).toString())).toEqual({ client_id: target })
      expect(response.freshness).toMatchObject({ storable: true, noCache: false })
      expect(response.freshness.remaining).toBeGreaterThan(598)
      expect(response.address).toBe(Origin.publicAddresses[0])
      expect(yield* origin.requests).toEqual([{
        method: "GET",
        target: "/a%2Fb//c;d=1?x=%20&y",
        headers: [
          ["Host", "app.example:8443"],
          ["Accept", "application/json"],
          ["Accept-Encoding", "identity"],
          ["User-Agent", "effect-cimd"],
          ["Connection", "close"]
        ],
        serverName: "app.example",
        time: expect.any(Number)
      }])
      const dialer = yield* DialerTest.DialerTest
      expect(yield* dialer.dialed).toEqual([{ address: Origin.publicAddresses[0], port: 8443 }])
      yield* Effect.sleep(50)
      expect(yield* origin.connections).toEqual({ open: 0, total: 1 })
    }).pipe(Effect.provide(world())))

  it.live("FET-01: sends the request target of the client id byte for byte, and its port in Host", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const fetcher = yield* Fetcher.Fetcher
      const targets = [
        "/",
        "/?",
        "//",
        "//other.example/client.json",
        "/a//b/",
        "/.well-known/client",
        "/%41%2f%2F%5c",
        "/a%0d%0aHost:%20other.example",
        "/%00%ff",
        "/~!$&'()*+,;=:@-._",
        "/c?u=https://127.0.0.1/?a&b=%26;c",
        "/c??/@:",
        "/c?%0a",
        `/${"x".repeat(1900)}`
      ]
      const authorities = [
        ["app.example", "app.example"],
        ["app.example:443", "app.example"],
        ["app.example:2", "app.example:2"],
        ["app.example:65535", "app.example:65535"],
        ["xn--bcher-kva.example:8443", "xn--bcher-kva.example:8443"]
      ] as const
      const asked = authorities.flatMap(([authority, host]) =>
        targets.filter((target) => ClientId.is(`https://${authority}${target}`)).map((target) =>
          [authority, host, target] as const
        )
      )
      expect(asked.length).toBeGreaterThan(60)
      for (const [authority, , target] of asked) {
        yield* origin.serve(target, { body: "{}" })
        yield* fetcher.fetch(clientId(`https://${authority}${target}`))
      }
      expect((yield* origin.requests).map(({ headers, serverName, target }) => [serverName, headers[0], target]))
        .toEqual(
          asked.map(([, host, target]) => [host.replace(/:.*/, ""), ["Host", host], target])
        )
    }).pipe(Effect.provide(world({ rateLimit: { limit: 1000, window: 1000 } }))))

  it.live("FET-03: the error of a 404 has the status", () =>
    Effect.gen(function*() {
      const fetcher = yield* Fetcher.Fetcher
      const error = yield* Effect.flip(fetcher.fetch(clientId(url)))
      expect(error).toMatchObject({ _tag: "UnexpectedStatus", status: 404, clientId: url })
    }).pipe(Effect.provide(world())))

  for (
    const [handshake, code] of [
      ["wrong-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
      ["common-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
      ["self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"],
      ["expired", "CERT_HAS_EXPIRED"],
      ["not-yet-valid", "CERT_NOT_YET_VALID"],
      ["reset", "ECONNRESET"]
    ] as const
  ) {
    it.live(`FET-01: fails for a handshake of the kind ${handshake}`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const fetcher = yield* Fetcher.Fetcher
        yield* origin.document(url, {})
        yield* origin.handshake("app.example", handshake)
        const error = yield* Effect.flip(fetcher.fetch(clientId(url)))
        expect(error).toMatchObject({ _tag: "TlsFailed", code })
        expect(yield* origin.requests).toEqual([])
      }).pipe(Effect.provide(world())))
  }

  it.live("FET-08: the deadline ends a handshake that hangs", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const fetcher = yield* Fetcher.Fetcher
      yield* origin.handshake("app.example", "hang")
      const error = yield* Effect.flip(fetcher.fetch(clientId(url)))
      expect(error).toMatchObject({ _tag: "FetchTimeout", phase: "tls" })
    }).pipe(Effect.provide(world({ timeout: 300 }))))
})
