import { it } from "@effect/vitest"
import type { InvalidOptions } from "effect-cimd"
import { Fetcher, HostPolicy, NameLookup } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect } from "vitest"
import { clientId } from "../support/clientId.js"
import { dnsServer } from "../support/dnsServer.js"

const url = "https://app.example/client.json"
const publicAddress = Origin.publicAddresses[0]
const otherPublicAddress = "93.184.215.15"

/** A fetcher with a name lookup by the test, and an origin behind the addresses in `reachable`. */
const worldOf = (
  lookup: Layer.Layer<NameLookup.NameLookup, InvalidOptions.InvalidOptions>,
  reachable: ReadonlyArray<string> = [publicAddress],
  options?: Fetcher.Options
) =>
  Layer.unwrapEffect(
    Effect.map(Origin.Origin, ({ ca, port }) =>
      Fetcher.layerWithoutDependencies({ ca, timeout: "2 seconds", ...options }).pipe(
        Layer.provideMerge(DialerTest.layerWith((address) =>
          reachable.includes(address) ? port : undefined
        )),
        Layer.provide(lookup)
      ))
  ).pipe(Layer.provideMerge(Origin.layer), Layer.provide(HostPolicy.layerPublic))

const world = (
  answers: NameLookupTest.Answers,
  reachable?: ReadonlyArray<string>,
  options?: Fetcher.Options
) => worldOf(NameLookupTest.layer(answers), reachable, options)

const fetch = Effect.flatMap(Fetcher.Fetcher, (fetcher) => fetcher.fetch(clientId(url)))
const dialed = Effect.flatMap(DialerTest.DialerTest, ({ dialed }) => dialed)
const document = Effect.flatMap(Origin.Origin, (origin) => origin.document(url, { client_id: url }))
const connections = Effect.flatMap(Origin.Origin, (origin) => Effect.map(origin.connections, ({ total }) => total))

describe("Addresses of a name", () => {
  const mixtures = [
    ["169.254.169.254"],
    [publicAddress, "168.63.129.16"],
    ["64:ff9b::168.63.129.16"],
    [publicAddress, "10.0.0.1"],
    ["10.0.0.1", publicAddress],
    [publicAddress, "::1"],
    [publicAddress, "::ffff:10.0.0.1"],
    [publicAddress, "fe80::1%eth0"],
    [publicAddress, "no address"]
  ]
  for (const answer of mixtures) {
    it.live(`ADR-01, FET-13: one address that is not public fails the fetch, and nothing is dialed: ${answer.join(", ")}`, () =>
      Effect.gen(function*() {
        yield* document
        expect((yield* Effect.flip(fetch))._tag).toBe("AddressBlocked")
        expect(yield* dialed).toEqual([])
        expect(yield* connections).toBe(0)
      }).pipe(Effect.provide(world({ "app.example": answer }))))
  }

  it.live("ADR-08: a port of another protocol fails the fetch before the lookup, whatever the host policy says", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Fetcher.Fetcher
      for (const port of [1, 22, 25, 6667, 10_080]) {
        expect(yield* Effect.flip(fetch(clientId(`https://app.example:${port}/client.json`)))).toMatchObject({
          _tag: "AddressBlocked",
          address: `app.example:${port}`,
          reason: `port ${port} belongs to another protocol than HTTPS`
        })
      }
      expect(yield* dialed).toEqual([])
      // The name does not exist, so a port that passes fails at the lookup.
      expect((yield* Effect.flip(fetch(clientId("https://app.example:8443/client.json"))))._tag).toBe("LookupFailed")
    }).pipe(Effect.provide(world({}))))

  it.live("ADR-01: fails for a name without addresses", () =>
    Effect.gen(function*() {
      expect((yield* Effect.flip(fetch))._tag).toBe("LookupFailed")
    }).pipe(Effect.provide(world({ "app.example": [] }))))

  it.live("ADR-01: fails for a name that does not exist", () =>
    Effect.gen(function*() {
      expect((yield* Effect.flip(fetch))._tag).toBe("LookupFailed")
    }).pipe(Effect.provide(world({}))))

  it.live("ADR-01, FET-08: the deadline ends a lookup that hangs, even one that cannot be interrupted", () =>
    Effect.gen(function*() {
      const start = Date.now()
      expect(yield* Effect.flip(fetch)).toMatchObject({ _tag: "FetchTimeout", phase: "lookup" })
      expect(Date.now() - start).toBeLessThan(600)
    }).pipe(Effect.provide(
      world(() => Effect.uninterruptible(Effect.as(Effect.sleep("5 seconds"), [publicAddress])), [], {
        timeout: "300 millis"
      })
    )))

  it.live("ADR-01: reaches an origin with only IPv6", () =>
    Effect.gen(function*() {
      yield* document
      expect((yield* fetch).address).toBe(Origin.publicAddresses[1])
    }).pipe(Effect.provide(world({ "app.example": [Origin.publicAddresses[1]] }, [Origin.publicAddresses[1]]))))
})

describe("DNS rebinding", () => {
  const rebinding = () => {
    const lookups: Array<string> = []
    return {
      lookups,
      answers: (host: string) =>
        Effect.sync(() => {
          lookups.push(host)
          return lookups.length === 1 ? [publicAddress] : ["127.0.0.1"]
        })
    }
  }

  it.live("ADR-02: looks the name up once, and dials the address that was checked", () => {
    const { answers, lookups } = rebinding()
    return Effect.gen(function*() {
      yield* document
      expect((yield* fetch).address).toBe(publicAddress)
      expect(lookups).toEqual(["app.example"])
      expect(yield* dialed).toEqual([{ address: publicAddress, port: 443 }])
    }).pipe(Effect.provide(world(answers)))
  })

  it.live("ADR-02: does not look up again after a refused connection", () => {
    const { answers, lookups } = rebinding()
    return Effect.gen(function*() {
      expect((yield* Effect.flip(fetch))._tag).toBe("ConnectFailed")
      expect(lookups).toEqual(["app.example"])
      expect(yield* dialed).toEqual([{ address: publicAddress, port: 443 }])
      expect(yield* connections).toBe(0)
    }).pipe(Effect.provide(world(answers, [])))
  })

  it.live("ADR-02: dials the next checked address when the first refuses the connection", () =>
    Effect.gen(function*() {
      yield* document
      expect((yield* fetch).address).toBe(otherPublicAddress)
      expect((yield* dialed).map(({ address }) => address)).toEqual([publicAddress, otherPublicAddress])
    }).pipe(Effect.provide(world({ "app.example": [publicAddress, otherPublicAddress] }, [otherPublicAddress]))))
})

describe("Response", () => {
  it.live("FET-10: has the body, its freshness and the address, and no header text", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.document(url, { client_id: url }, {
        "Cache-Control": "max-age=60",
        "X-Secret": "s3cret",
        ETag: "\"e\""
      })
      const response = yield* fetch
      expect(Object.keys(response).sort()).toEqual(["address", "body", "freshness", "receivedAt"])
      expect(response.freshness).toMatchObject({ storable: true, noCache: false })
      expect(JSON.stringify({ ...response, body: "" })).not.toContain("s3cret")
    }).pipe(Effect.provide(world({ "app.example": [publicAddress] }))))
})

describe("receivedAt", () => {
  it.live("FET-10: is when the head had arrived, however long the body takes", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve(url, {
        raw: "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n".padEnd(180, "x"),
        drip: { bytes: 90, every: 400 }
      })
      const before = Date.now()
      const { receivedAt } = yield* fetch
      const [request] = yield* origin.requests
      expect(receivedAt).toBeGreaterThanOrEqual(request?.time ?? before)
      expect(Date.now() - receivedAt).toBeGreaterThanOrEqual(350)
    }).pipe(Effect.provide(world({ "app.example": [publicAddress] }))))
})

describe("Proxy variables of the environment", () => {
  const names = [
    ...["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [name, name.toLowerCase()]),
    ...["GLOBAL_AGENT_HTTP_PROXY", "npm_config_proxy", "npm_config_https_proxy", "NODE_USE_ENV_PROXY"]
  ]
  afterEach(() => {
    for (const name of names) delete process.env[name]
  })

  it.live("FET-13: have no effect, and the proxy gets no connection", () =>
    Effect.gen(function*() {
      let proxied = 0
      const proxy = yield* Effect.acquireRelease(
        Effect.async<ReturnType<typeof createServer>>((resume) => {
          const server = createServer().on("connection", () => proxied++)
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.async<void>((resume) => {
            server.close(() => resume(Effect.void))
          })
      )
      const { port } = proxy.address() as AddressInfo
      for (const name of names) process.env[name] = `http://127.0.0.1:${port}`
      process.env["NODE_USE_ENV_PROXY"] = "1"
      process.env["NO_PROXY"] = process.env["no_proxy"] = "other.example"
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* document
          expect((yield* fetch).address).toBe(publicAddress)
        }),
        world({ "app.example": [publicAddress] })
      )
      expect(proxied).toBe(0)
    }).pipe(Effect.scoped))
})

describe("Fetcher with DNS", () => {
  const ends: ReadonlyArray<readonly [end: string, expected: Record<string, unknown>, dialed: ReadonlyArray<string>]> =
    [
      ["169.254.169.254", { _tag: "AddressBlocked", address: "169.254.169.254" }, []],
      [publicAddress, { address: publicAddress }, [publicAddress]]
    ]
  for (const [end, expected, addresses] of ends) {
    it.scopedLive(`ADR-01, FET-13: checks the addresses at the end of a chain of CNAMEs: ${end}`, () =>
      Effect.gen(function*() {
        const { server } = yield* dnsServer(({ type }) =>
          type === "A"
            ? [
              { type: "CNAME", name: "app.example", data: "a.cdn.example" },
              { type: "CNAME", name: "a.cdn.example", data: "b.cdn.example" },
              { type: "A", name: "b.cdn.example", data: end }
            ]
            : []
        )
        yield* Effect.gen(function*() {
          yield* document
          expect(yield* Effect.merge(fetch)).toMatchObject(expected)
          expect((yield* dialed).map(({ address }) => address)).toEqual(addresses)
          expect(yield* connections).toBe(addresses.length)
        }).pipe(Effect.provide(worldOf(NameLookup.layerWith({ servers: [server] }))))
      }))
  }

  it.scopedLive("FET-08: the deadline ends a lookup when the server does not respond", () =>
    Effect.gen(function*() {
      const { server } = yield* dnsServer(() => "silence")
      const [took, error] = yield* Effect.timed(Effect.flip(fetch)).pipe(
        Effect.provide(worldOf(NameLookup.layerWith({ servers: [server] }), [], { timeout: 300 }))
      )
      expect(error).toMatchObject({ _tag: "FetchTimeout", phase: "lookup" })
      expect(Duration.toMillis(took)).toBeLessThan(600)
    }))

  it.live("FET-15: a lookup that was not started fails with Throttled, and no back-off follows", () =>
    Effect.gen(function*() {
      for (let attempt = 0; attempt < 3; attempt++) {
        expect(yield* Effect.flip(fetch)).toMatchObject({ _tag: "Throttled", reason: "busy" })
      }
    }).pipe(Effect.provide(world(
      (host) => new NameLookup.NameLookupError({ host, cause: Object.assign(new Error("too many"), { code: "EBUSY" }) })
    ))))
})
