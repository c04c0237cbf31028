import { it } from "@effect/vitest"
import type { NameLookup } from "effect-cimd"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { describe, expect } from "vitest"
import { interleaved } from "../../src/internal/fetch/checkedAddresses.js"
import { clientId } from "../support/clientId.js"
import { listening } from "../support/listening.js"

const url = "https://app.example/client.json"
const [v4, v6] = Origin.publicAddresses

const development = Layer.orDie(HostPolicy.layer({ development: { issuer: "https://localhost" } }))
const literals = Layer.orDie(HostPolicy.layer({ addressLiterals: true }))

interface Setting {
  readonly answers: NameLookupTest.Answers
  readonly route?: (address: string, port: number) => number | undefined
  readonly policy?: Layer.Layer<HostPolicy.HostPolicy>
  readonly dial?: Dialer.Dialer["Type"]["dial"]
  readonly options?: Fetcher.Options
  readonly answer?: Origin.Answer
}

/** Fetches with a fetcher of its own. Returns the result, and what was dialed. */
const fetchIn = (setting: Setting, target: string = url) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    yield* origin.serve(target, setting.answer ?? { body: "{}" })
    const route = setting.route ?? (() => origin.port)
    const fetcher = Fetcher.layerWithoutDependencies({ ca: origin.ca, timeout: 2000, ...setting.options }).pipe(
      Layer.provide(NameLookupTest.layer(setting.answers)),
      Layer.provide(setting.policy ?? HostPolicy.layerPublic)
    )
    return yield* Effect.gen(function*() {
      const { fetch } = yield* Fetcher.Fetcher
      const result = yield* Effect.either(fetch(clientId(target)))
      const dialed = (yield* (yield* DialerTest.DialerTest).dialed).map(({ address }) => address)
      return { result, dialed }
    }).pipe(
      Effect.provide(
        setting.dial === undefined
          ? fetcher
          : Layer.provide(fetcher, Layer.succeed(Dialer.Dialer, { dial: setting.dial }))
      ),
      Effect.provide(DialerTest.layerWith(route))
    )
  })

const live = (name: string, test: Effect.Effect<void, unknown, Origin.Origin>) =>
  it.live(name, () => Effect.provide(test, Origin.layer))

describe("Dialing", () => {
  live(
    "ADR-02: DNS rebinding: never reaches the address of the second lookup",
    Effect.scoped(Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { port, reached } = yield* listening()
      let lookups = 0
      const setting: Setting = {
        answers: () => Effect.sync(() => lookups++ === 0 ? [v4] : ["127.0.0.1"]),
        route: (address) => address === v4 ? origin.port : port
      }
      expect((yield* fetchIn(setting)).result).toMatchObject({ _tag: "Right", right: { address: v4 } })
      const { dialed, result } = yield* fetchIn(setting)
      expect(result).toMatchObject({ left: { _tag: "AddressBlocked", address: "127.0.0.1" } })
      expect(dialed).toEqual([])
      yield* Effect.sleep(50)
      expect(reached()).toBe(0)
    }))
  )

  live(
    "ADR-02: DNS rebinding: no phase of a failing fetch looks the name up again",
    Effect.scoped(Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { port, reached } = yield* listening()
      const failures: ReadonlyArray<readonly [Partial<Setting> & { readonly handshake?: Origin.Handshake }, string]> = [
        [{ route: (address) => address === v4 ? undefined : port }, "ConnectFailed"],
        [{ handshake: "self-signed" }, "TlsFailed"],
        [{ handshake: "reset" }, "TlsFailed"],
        [{ answer: { raw: "", end: "reset" } }, "ResponseTruncated"],
        [{ answer: { status: 503 } }, "UnexpectedStatus"],
        [{ answer: { status: 307, headers: { location: url } } }, "UnexpectedRedirect"]
      ]
      for (const [{ handshake = "trusted", ...setting }, tag] of failures) {
        yield* origin.handshake("app.example", handshake)
        let lookups = 0
        const { dialed, result } = yield* fetchIn({
          answers: () => Effect.sync(() => lookups++ === 0 ? [v4] : ["127.0.0.1"]),
          route: (address) => address === v4 ? origin.port : port,
          ...setting
        })
        expect(result, tag).toMatchObject({ left: { _tag: tag } })
        expect([lookups, dialed], tag).toEqual([1, [v4]])
      }
      yield* Effect.sleep(50)
      expect(reached()).toBe(0)
    }))
  )

  live(
    "FET-13: never passes a spelling of loopback to the direct dialer, which would reach it",
    Effect.scoped(Effect.gen(function*() {
      const v4Trap = yield* listening()
      const v6Trap = yield* listening(undefined, "::1", v4Trap.port)
      const { dial } = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
      const target = `https://app.example:${v4Trap.port}/client.json`
      for (const address of ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:7f00:1", "::1"]) {
        const before = v4Trap.reached() + v6Trap.reached()
        yield* Effect.scoped(dial(address, v4Trap.port))
        yield* Effect.sleep(20)
        expect(v4Trap.reached() + v6Trap.reached(), address).toBe(before + 1)
        const { result } = yield* fetchIn({ answers: { "app.example": [address] }, dial }, target)
        expect(result, address).toMatchObject({ left: { _tag: "AddressBlocked", address } })
        yield* Effect.sleep(20)
        expect(v4Trap.reached() + v6Trap.reached(), address).toBe(before + 1)
      }
    }))
  )

  live(
    "FET-04: nothing in a response causes another connection",
    Effect.scoped(Effect.gen(function*() {
      const { port, reached } = yield* listening()
      const { port: originPort } = yield* Origin.Origin
      const elsewhere = `https://127.0.0.1:${port}/client.json`
      const headers = {
        "alt-svc": `http/1.1="127.0.0.1:${port}"; ma=60`,
        "content-location": elsewhere,
        link: `<${elsewhere}>; rel="canonical"`,
        location: elsewhere,
        refresh: `0; url=${elsewhere}`,
        "proxy-authenticate": "Basic",
        "www-authenticate": "Basic"
      }
      for (const status of [200, 201, 300, 301, 302, 303, 305, 307, 308, 401, 407, 421, 425, 503]) {
        const { dialed, result } = yield* fetchIn({
          answers: { "app.example": [v4] },
          route: (address) => address === v4 ? originPort : port,
          answer: { status, headers: { ...headers, "retry-after": "0" }, body: "{}" }
        })
        expect(result._tag, `${status}`).toBe(status === 200 ? "Right" : "Left")
        expect(dialed).toEqual([v4])
      }
      yield* Effect.sleep(50)
      expect(reached()).toBe(0)
      const { requests } = yield* Origin.Origin
      expect((yield* requests).length).toBe(14)
    }))
  )

  live(
    "ADR-01: checks the addresses at the end of a chain of CNAMEs, and keeps the name of the client id",
    Effect.gen(function*() {
      const zone = (end: ReadonlyArray<string>): Record<string, string | ReadonlyArray<string>> => ({
        "app.example": "a.cdn.example",
        "a.cdn.example": "b.cdn.example",
        "b.cdn.example": end
      })
      const chained = (records: Record<string, string | ReadonlyArray<string>>): NameLookupTest.Answers => {
        const answer = (host: string, links: number): ReturnType<NameLookup.NameLookup["Type"]["lookup"]> => {
          const record = records[host]
          if (record === undefined || links > 16) return Effect.fail(NameLookupTest.notFound(host))
          return typeof record === "string" ? answer(record, links + 1) : Effect.succeed(record)
        }
        return (host) => answer(host, 0)
      }
      expect((yield* fetchIn({ answers: chained(zone([v6, v4])) })).result).toMatchObject({ right: { address: v6 } })
      expect(yield* (yield* Origin.Origin).requests).toMatchObject([
        { serverName: "app.example", headers: expect.arrayContaining([["Host", "app.example"]]) }
      ])
      for (const end of [["10.0.0.1"], [v4, "::1"], ["169.254.169.254", v4]]) {
        const { dialed, result } = yield* fetchIn({ answers: chained(zone(end)) })
        expect(result).toMatchObject({ left: { _tag: "AddressBlocked" } })
        expect(dialed).toEqual([])
      }
      for (const records of [zone([]), { "app.example": "app.example" }, { "app.example": "gone.example" }]) {
        const { dialed, result } = yield* fetchIn({ answers: chained(records) })
        expect(result).toMatchObject({ left: { _tag: "LookupFailed", host: "app.example" } })
        expect(dialed).toEqual([])
      }
    })
  )

  live(
    "FET-08: one deadline covers all phases, none of which takes too long by itself",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { dial } = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
      const [took, { result }] = yield* Effect.timed(fetchIn({
        answers: () => Effect.delay(Effect.succeed([v4]), 250),
        dial: () => Effect.delay(dial("127.0.0.1", origin.port), 250),
        answer: { body: "{}", delay: 750 },
        options: { timeout: 1000 }
      }))
      expect(result).toMatchObject({ left: { _tag: "FetchTimeout", phase: "headers", millis: 1000 } })
      expect(Duration.toMillis(took)).toBeLessThan(1300)
    })
  )

  live(
    "FET-13: never connects to a special-use address, in any spelling",
    Effect.gen(function*() {
      for (
        const address of [
          "127.0.0.1",
          "::1",
          "0.0.0.0",
          "169.254.169.254",
          "100.64.0.1",
          "255.255.255.255",
          "::ffff:93.184.215.14",
          "64:ff9b::a00:1",
          "2002:a00:1::",
          "127.1",
          "0x7f000001",
          "2130706433",
          "localhost",
          "",
          " 93.184.215.14",
          "93.184.215.14\n"
        ]
      ) {
        const { dialed, result } = yield* fetchIn({ answers: () => Effect.succeed([v4, address]) })
        expect(result, address).toMatchObject({ left: { _tag: "AddressBlocked" } })
        expect(dialed).toEqual([])
      }
    })
  )

  live(
    "FET-08: the deadline ends a lookup without a response",
    Effect.gen(function*() {
      const { dialed, result } = yield* fetchIn({ answers: () => Effect.never, options: { timeout: 200 } })
      expect(result).toMatchObject({ left: { _tag: "FetchTimeout", phase: "lookup", millis: 200 } })
      expect(dialed).toEqual([])
    })
  )

  live(
    "FET-08: the deadline ends a dialer that hangs and cannot be interrupted",
    Effect.gen(function*() {
      const [took, { result }] = yield* Effect.timed(fetchIn({
        answers: () => Effect.succeed([v4]),
        options: { timeout: 200 },
        dial: (address, port) =>
          Effect.uninterruptible(
            Effect.delay(Effect.fail(new Dialer.DialError({ address, port, cause: "too late" })), "3 seconds")
          )
      }))
      expect(result).toMatchObject({ left: { _tag: "FetchTimeout", phase: "connect" } })
      expect(Duration.toMillis(took)).toBeLessThan(500)
    })
  )

  live(
    "ADR-02: dials the next checked address beside one that hangs, and then cancels the latter",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { dial } = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
      let givenUp = 0
      const [took, { result }] = yield* Effect.timed(fetchIn({
        answers: () => Effect.succeed([v6, v4]),
        dial: (address) =>
          address === v4
            ? dial("127.0.0.1", origin.port)
            : Effect.onInterrupt(Effect.never, () => Effect.sync(() => givenUp++))
      }))
      expect(result).toMatchObject({ right: { address: v4 } })
      expect(Duration.toMillis(took)).toBeGreaterThan(240)
      expect(Duration.toMillis(took)).toBeLessThan(1500)
      yield* Effect.sleep(10)
      expect(givenUp).toBe(1)
    })
  )

  live(
    "ADR-02: dials the addresses after a refused connection one at a time too",
    Effect.gen(function*() {
      const begun: Array<number> = []
      const { result } = yield* fetchIn({
        answers: () => Effect.succeed(["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]),
        dial: (address, port) =>
          Effect.suspend(() => {
            begun.push(Date.now())
            return begun.length === 1 ? new Dialer.DialError({ address, port, cause: "refused" }) : Effect.never
          }),
        options: { timeout: 900 }
      })
      expect(result).toMatchObject({ left: { _tag: "FetchTimeout", phase: "connect" } })
      const waits = begun.slice(1).map((time, index) => time - (begun[index] ?? 0))
      expect(waits.map((wait) => wait > 200)).toEqual([false, true, true])
    })
  )

  live(
    "ADR-02: does not use a connection that a dialer makes too late, and closes it with the fetch",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { dial } = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
      const { result } = yield* fetchIn({
        answers: () => Effect.succeed([v6, v4]),
        answer: { body: "{}", delay: 400 },
        dial: (address) =>
          address === v4
            ? dial("127.0.0.1", origin.port)
            : Effect.uninterruptible(Effect.delay(dial("127.0.0.1", origin.port), 400))
      })
      expect(result).toMatchObject({ right: { address: v4 } })
      yield* Effect.sleep(20)
      expect(yield* origin.connections).toEqual({ open: 0, total: 2 })
    })
  )

  live(
    "ADR-02: closes a connection after use, also when its dialer leaves it open",
    Effect.scoped(Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const { dial } = yield* Effect.provide(Dialer.Dialer, Dialer.layer)
      const scope = yield* Effect.scope
      for (const answer of [{ body: "{}", end: "hang" }, { raw: "", end: "hang" }] as const) {
        yield* fetchIn({
          answers: { "app.example": [v4] },
          answer,
          dial: () => Scope.extend(dial("127.0.0.1", origin.port), scope),
          options: { timeout: 300 }
        })
        yield* Effect.sleep(30)
        expect((yield* origin.connections).open).toBe(0)
      }
    }))
  )

  live(
    "ADR-02: the error names each address and its code when none accepts the connection",
    Effect.gen(function*() {
      const { result } = yield* fetchIn({ answers: () => Effect.succeed([v4, v6]), route: () => undefined })
      expect(result).toMatchObject({
        left: {
          _tag: "ConnectFailed",
          attempts: [{ address: v4, code: "ECONNREFUSED" }, { address: v6, code: "ECONNREFUSED" }]
        }
      })
    })
  )

  live(
    "ADR-02: a defect of a dialer stays a defect, and no other address is tried",
    Effect.gen(function*() {
      let dials = 0
      const exit = yield* Effect.exit(fetchIn({
        answers: () => Effect.succeed([v4, v6]),
        dial: () =>
          Effect.suspend(() => {
            dials++
            return Effect.die("a mistake")
          })
      }))
      expect(exit).toEqual(Exit.die("a mistake"))
      expect(dials).toBe(1)
    })
  )

  live(
    "ADR-02: checks all of hundreds of addresses, and dials a few",
    Effect.gen(function*() {
      const many = Array.from({ length: 300 }, (_, index) => `93.184.${index >> 8}.${index & 255}`)
      const { dialed } = yield* fetchIn({ answers: () => Effect.succeed([...many, ...many]), route: () => undefined })
      expect(dialed).toEqual(many.slice(0, 8))
      const twice = yield* fetchIn({ answers: () => Effect.succeed([v4, v4, v6, v4]), route: () => undefined })
      expect(twice.dialed).toEqual([v4, v6])
      const { dialed: none, result } = yield* fetchIn({ answers: () => Effect.succeed([...many, "10.0.0.1"]) })
      expect(result).toMatchObject({ left: { _tag: "AddressBlocked", address: "10.0.0.1" } })
      expect(none).toEqual([])
    })
  )

  live(
    "ADR-04: fetches from an IPv4 origin behind NAT64",
    Effect.gen(function*() {
      const { dialed, result } = yield* fetchIn({ answers: { "app.example": ["64:ff9b::5db8:d70e"] } })
      expect(result).toMatchObject({ _tag: "Right" })
      expect(dialed).toEqual(["64:ff9b::5db8:d70e"])
    })
  )

  live(
    "ADR-02: does not try another address after a failed TLS handshake",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.handshake("app.example", "self-signed")
      const { dialed, result } = yield* fetchIn({ answers: () => Effect.succeed([v4, v6]) })
      expect(result).toMatchObject({ left: { _tag: "TlsFailed", address: v4 } })
      expect(dialed).toEqual([v4])
    })
  )

  it("ADR-02: alternates between the families, beginning with the one that the system prefers", () => {
    expect(interleaved(["::1", "::2", "::3", "1.1.1.1"])).toEqual(["::1", "1.1.1.1", "::2", "::3"])
    expect(interleaved(["1.1.1.1", "2.2.2.2", "::1"])).toEqual(["1.1.1.1", "::1", "2.2.2.2"])
    expect(interleaved([])).toEqual([])
  })
})

describe("Address literals", () => {
  live(
    "URL-10: are not fetched without permission by the policy, and never looked up",
    Effect.gen(function*() {
      const answers = () => Effect.dieMessage("An address was looked up")
      for (const host of [v4, `[${v6}]`]) {
        const target = `https://${host}/client.json`
        const { dialed, result } = yield* fetchIn({ answers }, target)
        expect(result).toMatchObject({ left: { _tag: "AddressBlocked" } })
        expect(dialed).toEqual([])
        expect((yield* fetchIn({ answers, policy: literals }, target)).result).toMatchObject({ _tag: "Right" })
      }
      const origin = yield* Origin.Origin
      expect((yield* origin.requests).map(({ headers, serverName }) => [headers[0], serverName])).toEqual([
        [["Host", v4], undefined],
        [["Host", `[${v6}]`], undefined]
      ])
    })
  )

  live(
    "ADR-03: are not fetched from special-use ranges even with that permission",
    Effect.gen(function*() {
      for (const host of ["10.0.0.1", "169.254.169.254", "127.0.0.1", "[::1]", "[fd00::1]", "[::ffff:7f00:1]"]) {
        const { dialed, result } = yield* fetchIn({ answers: {}, policy: literals }, `https://${host}/client.json`)
        expect(result, host).toMatchObject({ left: { _tag: "AddressBlocked" } })
        expect(dialed).toEqual([])
      }
    })
  )

  live(
    "FET-01: the certificate is checked against the address",
    Effect.gen(function*() {
      const { result } = yield* fetchIn({ answers: {}, policy: literals }, "https://1.1.1.1/client.json")
      expect(result).toMatchObject({ left: { _tag: "TlsFailed", code: "ERR_TLS_CERT_ALTNAME_INVALID" } })
    })
  )
})

describe("Development mode", () => {
  live(
    "ADR-06: permits localhost and loopback addresses",
    Effect.gen(function*() {
      const answers = { localhost: ["::1", "127.0.0.1"] }
      for (const host of ["localhost", "127.0.0.1", "[::1]", "localhost:8443"]) {
        const { result } = yield* fetchIn({ answers, policy: development }, `https://${host}/client.json`)
        expect(result, host).toMatchObject({ _tag: "Right" })
      }
    })
  )

  live(
    "ADR-06: does not permit a stranger's name with a loopback address",
    Effect.gen(function*() {
      for (const address of ["127.0.0.1", "::1"]) {
        const { dialed, result } = yield* fetchIn({ answers: { "app.example": [address] }, policy: development })
        expect(result).toMatchObject({ left: { _tag: "AddressBlocked", address } })
        expect(dialed).toEqual([])
      }
    })
  )

  live(
    "ADR-06: does not permit private addresses, also not for localhost",
    Effect.gen(function*() {
      const { result } = yield* fetchIn(
        { answers: { localhost: ["127.0.0.1", "192.168.0.1"] }, policy: development },
        "https://localhost/client.json"
      )
      expect(result).toMatchObject({ left: { _tag: "AddressBlocked", address: "192.168.0.1" } })
    })
  )

  live(
    "ADR-06: reaches localhost with the lookup of the system and the direct dialer, and only in this mode",
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const target = `https://localhost:${origin.port}/client.json`
      yield* origin.document(target, {})
      const attempt = (policy: Layer.Layer<HostPolicy.HostPolicy>) =>
        Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => Effect.either(fetch(clientId(target)))).pipe(
          Effect.provide(Layer.provide(Fetcher.layer({ ca: origin.ca, timeout: 2000 }), policy))
        )
      expect(yield* attempt(HostPolicy.layerPublic)).toMatchObject({ left: { _tag: "AddressBlocked" } })
      expect((yield* origin.connections).total).toBe(0)
      expect(yield* attempt(development)).toMatchObject({ right: { address: "127.0.0.1" } })
    })
  )

  live(
    "ADR-06: without it, localhost fails because of its address",
    Effect.gen(function*() {
      const { dialed, result } = yield* fetchIn(
        { answers: { localhost: ["127.0.0.1"] } },
        "https://localhost/client.json"
      )
      expect(result).toMatchObject({ left: { _tag: "AddressBlocked", address: "127.0.0.1" } })
      expect(dialed).toEqual([])
    })
  )
})
