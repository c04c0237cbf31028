import { it } from "@effect/vitest"
import { NameLookup } from "effect-cimd"
import { NameLookupTest } from "effect-cimd/testing"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { readdirSync } from "node:fs"
import { isIP } from "node:net"
import { afterEach, describe, expect, vi } from "vitest"
import type { Reply } from "./support/dnsServer.js"
import { dnsServer, rcode } from "./support/dnsServer.js"

const lookup = (host: string) => Effect.flatMap(NameLookup.NameLookup, (service) => service.lookup(host))

/** Replaces the resolver of the system while `hangs` is set: its calls are recorded and completed by hand. */
const resolver = vi.hoisted(() => {
  const state: { hangs: boolean; readonly answers: Array<() => void>; readonly asked: Array<string> } = {
    hangs: false,
    answers: [],
    asked: []
  }
  return state
})

vi.mock("node:dns", async (importOriginal) => {
  const dns = await importOriginal<typeof import("node:dns")>()
  type Done = (error: Error | null, answers: ReadonlyArray<{ readonly address: string }>) => void
  return {
    ...dns,
    lookup: (host: string, options: object, done: Done) => {
      resolver.asked.push(host)
      if (resolver.hangs) resolver.answers.push(() => done(null, []))
      else dns.lookup(host, options, done as never)
    }
  }
})

/** The number of open file descriptors of this process, including sockets. */
const openFiles = () => readdirSync("/dev/fd").length

const a = (name: string, data: string) => ({ type: "A", name, data, ttl: 60 }) as const
const aaaa = (name: string, data: string) => ({ type: "AAAA", name, data, ttl: 60 }) as const
const cname = (name: string, data: string) => ({ type: "CNAME", name, data, ttl: 60 }) as const

const host = "app.example"
const chain = [cname(host, "a.cdn.example"), cname("a.cdn.example", "b.cdn.example")]

/** The responses of the server to A and to AAAA, and the result: addresses, or the code of the error. */
const zones: ReadonlyArray<
  readonly [what: string, a: Reply, aaaa: Reply, expected: ReadonlyArray<string> | string]
> = [
  ["A alone", [a(host, "192.0.2.1"), a(host, "192.0.2.2")], [], ["192.0.2.1", "192.0.2.2"]],
  ["AAAA alone", [], [aaaa(host, "2001:db8::1")], ["2001:db8::1"]],
  ["A before AAAA", [a(host, "192.0.2.1")], [aaaa(host, "2001:db8::1")], ["192.0.2.1", "2001:db8::1"]],
  [
    "the addresses at the end of a chain of CNAMEs",
    [...chain, a("b.cdn.example", "169.254.169.254")],
    [...chain, aaaa("b.cdn.example", "2001:db8::1")],
    ["169.254.169.254", "2001:db8::1"]
  ],
  ["A, where the chain of the AAAA has no end", [a(host, "192.0.2.1")], chain, ["192.0.2.1"]],
  ["nothing for a chain of CNAMEs without end", chain, chain, []],
  ["nothing for a name without addresses", [], [], []],
  ["the error of a name that does not exist", rcode.nameError, rcode.nameError, "ENOTFOUND"],
  ["A, where the name does not exist for AAAA", [a(host, "192.0.2.1")], rcode.nameError, ["192.0.2.1"]],
  ["A, where the server fails for AAAA", [a(host, "192.0.2.1")], rcode.serverFailure, ["192.0.2.1"]],
  ["A, where the server refuses AAAA", [a(host, "192.0.2.1")], rcode.refused, ["192.0.2.1"]],
  ["A, where the server knows no AAAA", [a(host, "192.0.2.1")], rcode.notImplemented, ["192.0.2.1"]],
  ["A, where the server does not respond to AAAA", [a(host, "192.0.2.1")], "silence", ["192.0.2.1"]],
  ["AAAA, where the server fails for A", rcode.serverFailure, [aaaa(host, "2001:db8::1")], ["2001:db8::1"]],
  ["AAAA, where the server does not respond to A", "silence", [aaaa(host, "2001:db8::1")], ["2001:db8::1"]],
  ["the error of A, where there is no AAAA", rcode.serverFailure, [], "ESERVFAIL"],
  ["the error of AAAA, where there is no A", [], rcode.serverFailure, "ESERVFAIL"],
  ["the error of a server that does not respond", "silence", "silence", "ETIMEOUT"]
]

describe("NameLookup in DNS", () => {
  for (const [what, a, aaaa, expected] of zones) {
    it.scopedLive(`ADR-01: returns ${what}`, () =>
      Effect.gen(function*() {
        const { questions, server } = yield* dnsServer(({ type }) => type === "A" ? a : aaaa)
        const result = yield* Effect.either(lookup(host)).pipe(
          Effect.provide(NameLookup.layerWith({ servers: [server], timeout: 100 }))
        )
        expect(result).toMatchObject(
          typeof expected === "string" ? { left: { host, cause: { code: expected } } } : { right: expected }
        )
        expect([...new Set(questions)].sort()).toEqual([`A ${host}`, `AAAA ${host}`])
      }))
  }

  const v4 = [a(host, "192.0.2.1")]
  const v6 = [aaaa(host, "2001:db8::1")]
  for (
    const [what, a, aaaa, expected] of [
      ["AAAA is not answered", v4, "silence", ["192.0.2.1"]],
      ["A is not answered", "silence", v6, ["2001:db8::1"]],
      ["AAAA is answered too late", v4, { afterMillis: 5000, records: v6 }, ["192.0.2.1"]],
      ["A is answered too late", { afterMillis: 5000, records: v4 }, v6, ["2001:db8::1"]]
    ] satisfies ReadonlyArray<readonly [string, Reply, Reply, ReadonlyArray<string>]>
  ) {
    it.scopedLive(`FET-08: returns the addresses of one family after a short wait where ${what}`, () =>
      Effect.gen(function*() {
        const { server } = yield* dnsServer(({ type }) => type === "A" ? a : aaaa)
        const [took, addresses] = yield* Effect.timed(lookup(host)).pipe(
          Effect.provide(NameLookup.layerWith({ servers: [server], timeout: "3 seconds" }))
        )
        expect(addresses).toEqual(expected)
        expect(Duration.toMillis(took)).toBeGreaterThan(200)
        expect(Duration.toMillis(took)).toBeLessThan(2500)
      }))
  }

  for (
    const [what, a, aaaa] of [
      ["AAAA", v4, { afterMillis: 60, records: v6 }],
      ["A", { afterMillis: 60, records: v4 }, v6]
    ] satisfies ReadonlyArray<readonly [string, Reply, Reply]>
  ) {
    it.scopedLive(`ADR-01: returns all addresses, so that all are checked, where ${what} comes a little later`, () =>
      Effect.gen(function*() {
        const { server } = yield* dnsServer(({ type }) => type === "A" ? a : aaaa)
        const addresses = yield* Effect.provide(lookup(host), NameLookup.layerWith({ servers: [server] }))
        expect(addresses).toEqual(["192.0.2.1", "2001:db8::1"])
      }))
  }

  for (const nothing of [[], rcode.nameError, rcode.serverFailure] satisfies ReadonlyArray<Reply>) {
    it.scopedLive(`ADR-01: waits longer for A where AAAA is ${JSON.stringify(nothing)}`, () =>
      Effect.gen(function*() {
        const { server } = yield* dnsServer(({ type }) => type === "A" ? { afterMillis: 600, records: v4 } : nothing)
        const addresses = yield* Effect.provide(lookup(host), NameLookup.layerWith({ servers: [server] }))
        expect(addresses).toEqual(["192.0.2.1"])
      }))
  }

  it.scopedLive("ADR-01: queries exactly the name, whatever the search list of the system", () =>
    Effect.gen(function*() {
      const { questions, server } = yield* dnsServer(() => rcode.nameError)
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process.env, { LOCALDOMAIN: "corp.example", RES_OPTIONS: "ndots:15" })),
        () =>
          Effect.sync(() => {
            delete process.env["LOCALDOMAIN"]
            delete process.env["RES_OPTIONS"]
          })
      )
      yield* Effect.flip(lookup(host)).pipe(Effect.provide(NameLookup.layerWith({ servers: [server] })))
      expect([...questions].sort()).toEqual([`A ${host}`, `AAAA ${host}`])
    }))

  it.scopedLive("ADR-06: localhost is this machine, and no server is queried", () =>
    Effect.gen(function*() {
      const { questions, server } = yield* dnsServer(() => [a("localhost", "192.0.2.1")])
      for (const host of ["localhost", "app.localhost"]) {
        const addresses = yield* Effect.provide(lookup(host), NameLookup.layerWith({ servers: [server] }))
        expect(addresses).toEqual(["127.0.0.1", "::1"])
      }
      expect(questions).toEqual([])
    }))

  it.scopedLive("FET-08: an interrupted lookup ends at once, and leaves no socket or timer", () =>
    Effect.gen(function*() {
      const { questions, server } = yield* dnsServer(() => "silence")
      const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length
      const before = [openFiles(), timers()] as const
      const fibers = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => `h${index}.example`),
        (host) => Effect.fork(Effect.provide(lookup(host), NameLookup.layerWith({ servers: [server], timeout: 1000 })))
      )
      yield* Effect.repeat(Effect.sleep(10), { until: () => questions.length >= 100 })
      expect(openFiles()).toBeGreaterThanOrEqual(before[0] + 50)
      const [took] = yield* Effect.timed(Fiber.interruptAll(fibers))
      expect(Duration.toMillis(took)).toBeLessThan(700)
      expect(openFiles()).toBeLessThanOrEqual(before[0])
      expect(timers()).toBeLessThanOrEqual(before[1])
      // No query is repeated either.
      yield* Effect.sleep(1100)
      expect(questions.length).toBe(100)
    }))

  it.scopedLive("FET-08: servers that do not respond to AAAA do not use up the time of a fetch, however many", () =>
    Effect.gen(function*() {
      const servers = yield* Effect.replicateEffect(
        dnsServer(({ type }) => type === "A" ? [a(host, "192.0.2.1")] : "silence"),
        3
      )
      const layer = NameLookup.layerWith({ servers: servers.map(({ server }) => server), timeout: 300 })
      const [took, addresses] = yield* Effect.timed(Effect.provide(lookup(host), layer))
      expect(addresses).toEqual(["192.0.2.1"])
      expect(Duration.toMillis(took)).toBeLessThan(1200)
    }))

  it.scopedLive("FET-08: forty names whose servers do not respond delay no other name", () =>
    Effect.gen(function*() {
      const { questions, server } = yield* dnsServer(({ name, type }) =>
        name === host ? type === "A" ? [a(host, "192.0.2.1")] : [] : "silence"
      )
      yield* Effect.gen(function*() {
        yield* Effect.forEach(
          Array.from({ length: 40 }, (_, index) => `h${index}.example`),
          (hanging) => Effect.fork(lookup(hanging))
        )
        yield* Effect.repeat(Effect.sleep(10), { until: () => questions.length >= 80 })
        const [took, addresses] = yield* Effect.timed(lookup(host))
        expect(addresses).toEqual(["192.0.2.1"])
        expect(Duration.toMillis(took)).toBeLessThan(200)
      }).pipe(Effect.provide(NameLookup.layerWith({ servers: [server] })))
    }))

  it.live(
    "ADR-01: queries the servers of the system by default",
    () =>
      Effect.map(Effect.flip(lookup("does-not-exist.invalid")), ({ cause }) =>
        expect(cause).toMatchObject({
          code: expect.stringMatching(/^(ENOTFOUND|ESERVFAIL|EREFUSED|ECONNREFUSED|ETIMEOUT)$/)
        })).pipe(Effect.provide(NameLookup.layer)),
    20_000
  )

  it.effect("ADR-01: invalid options fail the layer and are named", () =>
    Effect.gen(function*() {
      const build = (options: NameLookup.Options) =>
        Effect.flip(Effect.scoped(Layer.build(NameLookup.layerWith(options))))
      for (const servers of [[], ["dns.example"], ["127.0.0.1:port"], [""]]) {
        const { _tag, message } = yield* build({ servers })
        expect([_tag, message]).toEqual(["InvalidOptions", expect.stringContaining("`servers`")])
      }
      for (const timeout of [0, -1, Number.NaN, Duration.infinity]) {
        expect((yield* build({ timeout })).message).toContain("`timeout`")
      }
    }))

  it.scopedLive("ADR-01: reads the options from Config", () =>
    Effect.gen(function*() {
      const { server } = yield* dnsServer(({ type }) => type === "A" ? [a(host, "192.0.2.1")] : [])
      const layer = NameLookup.layerConfig({ servers: Config.array(Config.string(), "SERVERS") })
      expect(
        yield* Effect.provide(lookup(host), layer).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["SERVERS", server]])))
        )
      ).toEqual(["192.0.2.1"])
    }))
})

describe("NameLookup of the system", () => {
  afterEach(() => {
    resolver.hangs = false
    for (const answer of resolver.answers.splice(0)) answer()
    resolver.asked.splice(0)
  })

  it.live("ADR-01: returns every address of localhost in the hosts file", () =>
    Effect.gen(function*() {
      const addresses = yield* lookup("localhost")
      expect(addresses.length).toBeGreaterThan(0)
      expect(addresses.filter((address) => isIP(address) === 0)).toEqual([])
      expect(addresses.some((address) => address === "127.0.0.1" || address === "::1")).toBe(true)
    }).pipe(Effect.provide(NameLookup.layerSystem)))

  it.live("ADR-01: the error for a name that does not exist has the code of the resolver", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(lookup("does-not-exist.invalid"))
      expect(error).toMatchObject({ _tag: "NameLookupError", host: "does-not-exist.invalid" })
      expect(error.message).toContain("does-not-exist.invalid")
      expect(["ENOTFOUND", "EAI_AGAIN"]).toContain((error.cause as { code?: string }).code)
    }).pipe(Effect.provide(NameLookup.layerSystem)))

  it.live("ADR-01: passes names as fully qualified, so that no search list is applied", () =>
    Effect.gen(function*() {
      resolver.hangs = true
      for (const host of ["app.example", "localhost"]) yield* Effect.timeoutOption(lookup(host), 5)
      expect(resolver.asked).toEqual(["app.example.", "localhost"])
    }).pipe(Effect.provide(Layer.fresh(NameLookup.layerSystem))))

  it.live("FET-08: a resolver that hangs delays no caller, and gets at most 32 concurrent lookups", () =>
    Effect.gen(function*() {
      resolver.hangs = true
      for (let host = 0; host < 32; host++) {
        expect(yield* Effect.timeoutOption(lookup(`h${host}.example`), 5)).toMatchObject({ _tag: "None" })
      }
      expect(resolver.answers.length).toBe(32)
      const error = yield* Effect.flip(lookup("late.example"))
      expect(error.message).toContain("32 earlier lookups")
      expect(error.cause).toMatchObject({ code: "EBUSY" })
      expect(resolver.answers.length).toBe(32)
      resolver.answers.shift()?.()
      yield* Effect.timeoutOption(lookup("next.example"), 5)
      expect(resolver.answers.length).toBe(32)
    }).pipe(Effect.provide(Layer.fresh(NameLookup.layerSystem))))
})

describe("NameLookupTest", () => {
  it.effect("ADR-01: returns addresses from a record, and fails for other names", () =>
    Effect.gen(function*() {
      expect(yield* lookup("a.example")).toEqual(["1.2.3.4", "::1"])
      expect(yield* lookup("empty.example")).toEqual([])
      expect((yield* Effect.flip(lookup("constructor")))._tag).toBe("NameLookupError")
    }).pipe(Effect.provide(NameLookupTest.layer({ "a.example": ["1.2.3.4", "::1"], "empty.example": [] }))))

  it.effect("ADR-02: returns addresses from a function, so that a second lookup can differ", () => {
    let count = 0
    return Effect.gen(function*() {
      expect(yield* lookup("a.example")).toEqual(["1.1.1.1"])
      expect(yield* lookup("a.example")).toEqual(["127.0.0.1"])
    }).pipe(Effect.provide(NameLookupTest.layer(() => Effect.sync(() => [count++ === 0 ? "1.1.1.1" : "127.0.0.1"]))))
  })
})
