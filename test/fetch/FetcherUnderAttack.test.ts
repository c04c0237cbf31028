import { it } from "@effect/vitest"
import type { FetchError } from "effect-cimd"
import { Dialer, Fetcher, HostPolicy, NameLookup } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { describe, expect } from "vitest"
import { clientId } from "../support/clientId.js"

const fetch = (url: string, options?: Fetcher.PermitOptions) =>
  Effect.flatMap(Fetcher.Fetcher, ({ fetch }) => fetch(clientId(url), options))
const hanging: Origin.Answer = { raw: "", end: "hang" }
const range = (count: number) => Array.from({ length: count }, (_, index) => index)
const errors = (results: ReadonlyArray<Either.Either<unknown, FetchError.FetchError>>) =>
  results.filter(Either.isLeft).map(({ left }) => left._tag)

/** Every host has an address of its own, unless `addresses` says otherwise. */
const ownAddress = () => {
  const known = new Map<string, string>()
  return (host: string) => {
    const address = known.get(host) ?? `93.184.${known.size >> 8}.${known.size & 0xff}`
    known.set(host, address)
    return [address]
  }
}

/** A fetcher with the limits of production, whose every connection leads to one origin. */
const world = (options: Fetcher.Options = {}, addresses: (host: string) => ReadonlyArray<string> = ownAddress()) =>
  Layer.unwrapEffect(Effect.map(Origin.Origin, ({ ca }) =>
    Fetcher.layerWithoutDependencies({ ca, ...options }).pipe(
      Layer.provideMerge(DialerTest.layer),
      Layer.provide([NameLookupTest.layer((host) => Effect.succeed(addresses(host))), HostPolicy.layerPublic])
    ))).pipe(Layer.provideMerge(Origin.layer))

/** Starts an effect this often, at an even rate, and does not wait for its ends. */
const flood = <E, R>(count: number, millis: number, attack: (index: number) => Effect.Effect<unknown, E, R>) =>
  Effect.forEach(
    range(count),
    (index) => Effect.zipRight(Effect.fork(Effect.exit(attack(index))), Effect.sleep(millis)),
    { discard: true }
  )

const millis = (seconds: number) => seconds * 1000

describe("Under attack", () => {
  it.live("FET-21: the deadline of a fetch is not used up by its wait", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve("/", { body: "{}", delay: "900 millis" })
      const results = yield* Effect.forEach(range(4), (host) => Effect.either(fetch(`https://h${host}.example/`)), {
        concurrency: "unbounded"
      })
      expect(errors(results)).toEqual([])
    }).pipe(Effect.provide(world({ concurrency: 1, timeout: "2500 millis", queueTimeout: "20 seconds" }))))

  it.live(
    "FET-22: hanging hosts of a wildcard name starve no honest newcomer, and leave no back-off behind",
    () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve("/hang", hanging)
        yield* origin.serve("/client", { body: "{}", delay: "700 millis" })
        const attack = yield* Effect.fork(flood(196, 1000 / 28, (n) => fetch(`https://h${n}.evil.example/hang`)))
        yield* Effect.sleep(millis(1))
        const honest = range(20).map((n) => `https://app${n}.example/client`)
        const results = yield* Effect.forEach(
          honest,
          (url, index) => Effect.delay(Effect.either(fetch(url)), index * 200),
          { concurrency: "unbounded" }
        )
        expect(errors(results)).toEqual([])
        const again = yield* Effect.forEach(honest, (url) => Effect.either(fetch(url)), { concurrency: 8 })
        expect(errors(again)).toEqual([])
        yield* Fiber.interrupt(attack)
      }).pipe(Effect.provide(world())),
    20_000
  )

  it.live("FET-23: requests for paths of a victim do not starve its real client", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve("https://victim.example/client", { body: "{}" })
      const start = performance.now()
      let refused = 0
      const attack = yield* Effect.fork(flood(
        180,
        1000 / 30,
        (n) =>
          Effect.tapErrorTag(
            fetch(`https://victim.example/no-such-${n}`, { known: "site" }),
            "Throttled",
            ({ reason }) =>
              Effect.sync(() => {
                if (reason === "rate") refused++
              })
          )
      ))
      // Without a limit of its own, the attack has the starts of the whole site after two seconds.
      yield* Effect.sleep(millis(2))
      const results = yield* Effect.forEach(range(4), () =>
        Effect.delay(Effect.either(fetch("https://victim.example/client", { known: "accepted" })), 750))
      expect(errors(results)).toEqual([])
      yield* Fiber.interrupt(attack)
      // The attack used up its half: 30 at once, and 1.5 a second. A handshake on a busy machine counts as several of them.
      expect(refused).toBeGreaterThan(0)
      const attacks = (yield* origin.requests).filter(({ target }) =>
        target.startsWith("/no-such")
      )
      expect(attacks.length).toBeGreaterThan(0)
      expect(attacks.length).toBeLessThanOrEqual(31 + 1.5 * (performance.now() - start) / 1000)
      // Of the half that remains, each of the four fetches may use seven starts, so 140 ms of the thread.
    }).pipe(Effect.provide(world({ rateLimit: { limit: 60, window: "20 seconds" } }))), 20_000)

  it.live("FET-20: the ports of a host share the limits of its site", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve("/", hanging)
      for (const port of range(12)) yield* Effect.fork(Effect.exit(fetch(`https://mail.example:${8000 + port}/`)))
      yield* Effect.repeat(Effect.delay(origin.connections, 10), { until: ({ total }) => total >= 4 })
      yield* Effect.sleep(300)
      expect((yield* origin.connections).total).toBe(4)
      expect((yield* (yield* DialerTest.DialerTest).dialed).length).toBe(4)
    }).pipe(Effect.provide(world({ timeout: "30 seconds" }))))
})

describe("One address", () => {
  for (
    const [family, addresses] of [
      ["an IPv4 address", () => ["93.184.215.14"]],
      ["a /64 of IPv6", (host: string) => [`2606:2800:21f:cb07::${host.slice(1, host.indexOf("."))}`]]
    ] as const
  ) {
    it.live(`FET-23: ${family} has half of the permits while no client of the sites is known`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve("/hang", hanging)
        yield* origin.serve("/client", { body: "{}" })
        const attack = yield* Effect.forEach(
          range(8),
          (n) => Effect.fork(Effect.exit(fetch(`https://h${n}.example/hang`)))
        )
        yield* Effect.repeat(Effect.delay(origin.connections, 10), { until: ({ open }) => open >= 8 })
        const { dialed } = yield* DialerTest.DialerTest
        expect((yield* dialed).length).toBe(8)
        expect(yield* Effect.flip(fetch("https://h9.example/client"))).toMatchObject({
          _tag: "Throttled",
          reason: "busy"
        })
        expect((yield* dialed).length).toBe(8)
        for (const known of ["confirmed", "accepted", "site"] as const) {
          expect((yield* fetch("https://h9.example/client", { known })).body.length).toBe(2)
        }
        yield* Fiber.interruptAll(attack)
        yield* Effect.sleep(50)
        // Nothing was booked on the one that was refused, and every place is free again.
        expect((yield* fetch("https://h9.example/client")).body.length).toBe(2)
      }).pipe(Effect.provide(world({}, addresses))))
  }

  it.live("FET-23: the next address of a host is tried, and several of one network count once", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      yield* origin.serve("/hang", hanging)
      yield* origin.serve("/client", { body: "{}" })
      for (const n of range(8)) yield* Effect.fork(Effect.exit(fetch(`https://h${n}.example/hang`)))
      yield* Effect.repeat(Effect.delay(origin.connections, 10), { until: ({ open }) => open >= 8 })
      expect((yield* fetch("https://both.example/client")).address).toBe("93.184.9.9")
      for (let time = 0; time < 3; time++) expect((yield* fetch("https://many.example/client")).body.length).toBe(2)
    }).pipe(Effect.provide(world({}, (host) =>
      host === "both.example"
        ? ["93.184.215.14", "93.184.9.9"]
        : host === "many.example"
        ? range(8).map((n) => `2606:2800:21f:cb07::${n + 1}`)
        : ["93.184.215.14"]))))
})

describe("Errors of this machine", () => {
  const [v4, v6] = Origin.publicAddresses
  const failing = (code: string) => (address: string, port: number) =>
    new Dialer.DialError({ address, port, cause: Object.assign(new Error(code), { code }) })
  const url = "https://app.example/client.json"

  /** The errors of two fetches in a row. The second shows whether the first started a back-off. */
  const twice = (
    dial: Dialer.Dialer["Type"]["dial"],
    lookup: NameLookup.NameLookup["Type"]["lookup"] = () => Effect.succeed([v4, v6])
  ) =>
    Effect.replicateEffect(Effect.flip(fetch(url)), 2).pipe(
      Effect.provide(Fetcher.layerWithoutDependencies()),
      Effect.provideService(Dialer.Dialer, { dial }),
      Effect.provideService(NameLookup.NameLookup, { lookup }),
      Effect.provide(HostPolicy.layerPublic)
    )
  const busy = (code: string) => ({ _tag: "Throttled", reason: "busy", code, message: expect.stringContaining(code) })

  for (const code of ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL", "EAGAIN"]) {
    it.live(`FET-21: ${code} of a connection is not a failure of the client`, () =>
      Effect.gen(function*() {
        expect(yield* twice(failing(code))).toMatchObject([busy(code), busy(code)])
        // An address that was not tried may have been the one that works.
        const first = (address: string, port: number) => failing(address === v4 ? code : "ECONNREFUSED")(address, port)
        expect(yield* twice(first)).toMatchObject([busy(code), busy(code)])
      }))
  }

  for (const code of ["ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT", "PROXY_REFUSED"]) {
    it.live(`FET-21: ${code} of a connection is one`, () =>
      Effect.gen(function*() {
        expect(yield* twice(failing(code))).toMatchObject([{ _tag: "ConnectFailed" }, { reason: "failed" }])
      }))
  }

  it.live("FET-21: EADDRNOTAVAIL of an IPv6 address means that there is no IPv6, which does not pass", () =>
    Effect.gen(function*() {
      const errors = yield* twice(failing("EADDRNOTAVAIL"), () => Effect.succeed([v6]))
      expect(errors).toMatchObject([{ _tag: "ConnectFailed" }, { reason: "failed" }])
    }))

  const lookups = (code: string) =>
    twice(
      failing("ECONNREFUSED"),
      (host) => new NameLookup.NameLookupError({ host, cause: Object.assign(new Error(code), { code }) })
    )

  for (const code of ["EBUSY", "EMFILE", "ENOMEM", "ECONNREFUSED", "EAI_MEMORY"]) {
    it.live(`FET-21: ${code} of a lookup is not a failure of the client`, () =>
      Effect.gen(function*() {
        expect(yield* lookups(code)).toMatchObject([busy(code), busy(code)])
      }))
  }

  for (const code of ["ENOTFOUND", "ESERVFAIL", "EREFUSED", "ETIMEOUT", "EAI_AGAIN"]) {
    it.live(`FET-21: ${code} of a lookup is one`, () =>
      Effect.gen(function*() {
        expect(yield* lookups(code)).toMatchObject([{ _tag: "LookupFailed", code }, { reason: "failed" }])
      }))
  }
})
