import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { describe, expect } from "vitest"
import * as Limiter from "../../src/internal/fetch/limiter.js"
import { clientId } from "../support/clientId.js"
import type { Asked } from "../support/limiter.js"
import { errorOf, gauge, id, limits, run, settle, start, started } from "../support/limiter.js"

const page = (site: number | string, path: number | string = 0) => clientId(`https://s${site}.github.io/${path}`)
const range = (count: number) => Array.from({ length: count }, (_, index) => index)
type Id = ReturnType<typeof id>

/** A limiter, and fetches of it that never end. */
const world = (changes: Partial<Limiter.Limits> = {}) => {
  const limiter = Limiter.make({ ...limits, ...changes })
  const meter = gauge()
  const hang = (key: string, client: Id, asked?: Asked) =>
    Effect.tap(Effect.fork(Effect.exit(run(limiter, client, meter.fetch(key, "9999 days"), asked))), settle)
  return {
    limiter,
    running: meter.running,
    hang,
    hangAll: (key: string, clients: ReadonlyArray<Id>, asked?: Asked) =>
      Effect.forEach(clients, (client) => hang(key, client, asked)),
    starts: (clients: ReadonlyArray<Id>, asked?: Asked) =>
      Effect.map(Effect.forEach(clients, (client) => start(limiter, client, asked)), started),
    start: (client: Id, asked?: Asked) => Effect.map(start(limiter, client, asked), errorOf)
  }
}

const throttled = (reason: "rate" | "busy", retryAfterMillis?: number) => ({
  _tag: "Throttled",
  reason,
  ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
})

/** The error of a fetch that has ended; `undefined` if it goes on. */
const ended = (
  fiber: Fiber.Fiber<Exit.Exit<void, Parameters<typeof errorOf>[0] extends Exit.Exit<unknown, infer E> ? E : never>>
) =>
  Effect.map(
    Fiber.poll(fiber),
    Option.flatMapNullable((exit) => Exit.isSuccess(exit) ? errorOf(exit.value) : undefined)
  )

describe("Sites and domains", () => {
  it.effect("FET-20: ports and hosts of one site have its limits together", () =>
    Effect.gen(function*() {
      const { hangAll, running, starts } = world({ rateLimit: { limit: 10, windowMillis: 1e6 } })
      yield* hangAll("one", range(6).map((port) => clientId(`https://mail.example:${port + 1025}/c`)))
      expect(running("one")).toBe(4)
      expect(yield* starts(range(9).map((port) => clientId(`https://h.example:${port + 1025}/c`)))).toBe(9)
      expect(yield* starts(range(9).map((host) => clientId(`https://x${host}.h.example/c`)))).toBe(1)
    }))

  it.effect("FET-15: the sites of a domain have twice the permits of a site together", () =>
    Effect.gen(function*() {
      const { hangAll, running } = world()
      yield* hangAll("pages", range(20).map((site) => page(site)))
      expect(running("pages")).toBe(8)
      yield* hangAll("others", range(20).map((host) => id(host)))
      expect(running("others")).toBe(8)
    }))

  it.effect("FET-15: the sites of a domain have four times the rate of a site together", () =>
    Effect.gen(function*() {
      const { start, starts } = world({ rateLimit: { limit: 5, windowMillis: 1000 } })
      expect(yield* starts(range(30).map((site) => page(site)))).toBe(20)
      expect(yield* start(page("new"))).toMatchObject(throttled("rate", 50))
      expect(yield* start(id("elsewhere"))).toBeUndefined()
    }))
})

describe("Lanes", () => {
  it.effect("FET-15: confirmed clients have permits and a queue of their own", () =>
    Effect.gen(function*() {
      const { hang, hangAll, running, start } = world({ concurrency: 2 })
      yield* hangAll("others", range(18).map((host) => id(host)))
      expect(running("others")).toBe(2)
      yield* hangAll("confirmed", range(12).map((host) => id(host)), { known: "confirmed" })
      expect(running("confirmed")).toBe(8)
      const waiters = yield* hangAll("confirmed", range(60).map((host) => id(`more${host}`)), { known: "confirmed" })
      expect(yield* ended(waiters[59]!)).toEqual(Option.none())
      expect(yield* start(id("last"), { known: "confirmed" })).toMatchObject(throttled("busy"))
      expect(yield* ended(yield* hang("others", id("last")))).toMatchObject(Option.some(throttled("busy")))
    }))

  it.effect("FET-15: confirmed clients have rates of their own, and inside their lane the limits of a site hold", () =>
    Effect.gen(function*() {
      const { hangAll, running, starts } = world({ rateLimit: { limit: 10, windowMillis: 1000 } })
      const clients = range(30).map((path) => id("site", path))
      for (const known of ["confirmed", "nothing"] as const) {
        expect(yield* starts(clients, { known })).toBe(10)
        yield* TestClock.adjust("2 seconds")
        yield* hangAll(known, clients.slice(0, 6), { known })
        expect(running(known)).toBe(4)
      }
    }))
})

describe("A permit that is not used", () => {
  const rate = { limit: 1, windowMillis: 10_000 }

  it.effect("FET-21: is returned with its start", () =>
    Effect.gen(function*() {
      const { limiter, start } = world({ concurrency: 1, rateLimit: rate })
      for (let time = 0; time < 3; time++) {
        yield* Effect.scoped(limiter.acquire({ clientId: id("a"), known: "nothing", requester: "r" }))
      }
      expect(yield* start(id("a"), { requester: "r" })).toBeUndefined()
      expect(yield* start(id("a"))).toMatchObject(throttled("rate"))
    }))

  it.effect("FET-21: returns nothing that time has restored", () =>
    Effect.gen(function*() {
      const { limiter, starts } = world({ rateLimit: { limit: 4, windowMillis: 4000 } })
      const scope = yield* Scope.make()
      yield* Scope.extend(limiter.acquire({ clientId: id("a"), known: "nothing", requester: undefined }), scope)
      yield* TestClock.adjust("1 second")
      expect(yield* starts(range(3).map((path) => id("a", path)))).toBe(3)
      yield* Scope.close(scope, Exit.void)
      expect(yield* starts(range(3).map((path) => id("a", path)))).toBe(1)
    }))

  it.effect("FET-21: a wait that ends without a permit returns its start and its place at once", () =>
    Effect.gen(function*() {
      const { hang, limiter, running } = world({ concurrency: 1, rateLimit: rate, queueTimeoutMillis: 2000 })
      const first = yield* hang("first", id(1))
      // The scope of the failed wait stays open.
      const scope = yield* Scope.make()
      const waiter = yield* Effect.fork(
        Effect.flip(Scope.extend(limiter.acquire({ clientId: id(2), known: "nothing", requester: "r" }), scope))
      )
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(waiter)).toMatchObject(throttled("busy"))
      const interrupted = yield* hang("second", id(2), { requester: "r" })
      yield* Fiber.interrupt(interrupted)
      yield* hang("second", id(2), { requester: "r" })
      yield* Fiber.interrupt(first)
      yield* settle
      expect(running("second")).toBe(1)
    }))

  it.effect("FET-21: the wait ends in time for a caller that cannot be interrupted", () =>
    Effect.gen(function*() {
      const { hang, limiter } = world({ concurrency: 1, queueTimeoutMillis: 2000 })
      yield* hang("first", id(1))
      const waiter = yield* Effect.fork(Effect.uninterruptible(start(limiter, id(2))))
      yield* TestClock.adjust("2 seconds")
      expect(errorOf(yield* Fiber.join(waiter))).toMatchObject(throttled("busy", 1000))
    }))

  it.effect("FET-21: is for one fetch, until its scope closes", () =>
    Effect.gen(function*() {
      const { limiter } = world()
      const usage = { receivedBytes: 0, handshakeMillis: 0 }
      const request = { clientId: id(1), known: "nothing", requester: undefined } as const
      const twice = Effect.flatMap(limiter.acquire(request), ({ use }) => Effect.repeatN(use(usage, Effect.void), 1))
      const late = Effect.flatMap(Effect.scoped(limiter.acquire(request)), ({ use }) => use(usage, Effect.void))
      for (const effect of [Effect.scoped(twice), late]) {
        expect(yield* Effect.exit(effect)).toMatchObject({ cause: { _tag: "Die" } })
      }
    }))
})

describe("The order of permits", () => {
  it.effect("FET-22: the site with the fewest permits comes first, then the one that waits longest for one", () =>
    Effect.gen(function*() {
      const { limiter } = world({ concurrency: 1 })
      const served: Array<string> = []
      const serve = (name: string) =>
        Effect.fork(run(limiter, id(name.slice(0, 1), name), Effect.sync(() => served.push(name))))
      const first = yield* Effect.fork(run(limiter, id("x"), Effect.never))
      yield* settle
      for (const name of ["a1", "a2", "a3", "b1", "b2", "c1"]) yield* serve(name)
      yield* settle
      yield* Fiber.interrupt(first)
      yield* settle
      expect(served).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"])
    }))

  it.effect("FET-22: a site with running fetches comes after one without", () =>
    Effect.gen(function*() {
      const { hang, hangAll, running } = world({ concurrency: 4 })
      const fibers = yield* hangAll("busy", range(3).map((path) => id("busy", path)))
      const last = yield* hang("other", id("other"))
      yield* hang("busy", id("busy", 3))
      yield* hang("new", id("new"))
      yield* Fiber.interrupt(last)
      yield* settle
      expect([running("busy"), running("new")]).toEqual([3, 1])
      yield* Fiber.interrupt(fibers[0]!)
      yield* settle
      expect(running("busy")).toBe(3)
    }))

  it.effect("FET-22: a domain comes after others when it has more than twice the permits", () =>
    Effect.gen(function*() {
      const { hang, hangAll, running } = world({ concurrency: 4 })
      const fibers = yield* hangAll("pages", range(3).map((site) => page(site)))
      yield* hang("site", id("site"))
      yield* hang("pages", page("next"))
      yield* hang("site", id("site", 2))
      yield* Fiber.interrupt(fibers[0]!)
      yield* settle
      // Two of the domain count as one of a site, and the site was granted its permit later.
      expect([running("pages"), running("site")]).toEqual([3, 1])
      yield* hang("new", id("new"))
      yield* Fiber.interrupt(fibers[1]!)
      yield* settle
      expect([running("pages"), running("new")]).toEqual([2, 1])
    }))

  it.effect("FET-22: within a site, accepted clients come before others", () =>
    Effect.gen(function*() {
      const { hang, running } = world({ concurrency: 1 })
      const first = yield* hang("first", id("a"))
      yield* hang("new", id("a", 1))
      yield* hang("accepted", id("a", 2), { known: "accepted" })
      yield* Fiber.interrupt(first)
      yield* settle
      expect([running("new"), running("accepted")]).toEqual([0, 1])
    }))
})

describe("A full queue", () => {
  it.effect("FET-22: drops the newest waiter of the site with the most", () =>
    Effect.gen(function*() {
      const { hang, hangAll, running } = world({ concurrency: 2 })
      const many = yield* hangAll("many", range(17).map((path) => id("many", path)))
      yield* hang("one", id(1))
      const two = yield* hang("two", id(2))
      expect(yield* ended(many[16]!)).toMatchObject(Option.some(throttled("busy", 1000)))
      expect(yield* ended(many[15]!)).toEqual(Option.none())
      expect(yield* ended(two)).toEqual(Option.none())
      // The next of the many would be the one to lose.
      expect(yield* ended(yield* hang("many", id("many", 17)))).toMatchObject(Option.some(throttled("busy")))
      yield* Fiber.interrupt(many[0]!)
      yield* settle
      expect(running("one")).toBe(1)
    }))

  it.effect("FET-22: drops a waiter of a domain that has more than twice as many", () =>
    Effect.gen(function*() {
      const { hang, hangAll } = world({ concurrency: 2 })
      yield* hangAll("running", [id(1), id(2)])
      const pages = yield* hangAll("pages", range(12).map((site) => page(site)))
      const many = yield* hangAll("many", range(4).map((path) => id("many", path)))
      expect(yield* ended(yield* hang("new", id("new")))).toEqual(Option.none())
      expect(yield* ended(pages[11]!)).toMatchObject(Option.some(throttled("busy")))
      expect(yield* Effect.forEach(many, ended)).toEqual(many.map(() => Option.none()))
    }))

  it.effect("FET-22: of one site, drops clients that were never accepted before others", () =>
    Effect.gen(function*() {
      const { hang, hangAll } = world({ concurrency: 2 })
      const before = yield* hangAll("before", range(9).map((path) => id("a", path)))
      const accepted = yield* hangAll("accepted", range(9).map((path) => id("a", `known${path}`)), {
        known: "accepted"
      })
      expect(yield* ended(yield* hang("new", id("new")))).toEqual(Option.none())
      expect(yield* ended(before[8]!)).toMatchObject(Option.some(throttled("busy")))
      expect(yield* Effect.forEach(accepted, ended)).toEqual(accepted.map(() => Option.none()))
    }))

  it.effect("FET-22: of equal sites, drops one that was slow, and else the newcomer", () =>
    Effect.gen(function*() {
      const { hang, hangAll, limiter } = world({ concurrency: 1, timeoutMillis: 1000 })
      const slow = yield* Effect.fork(run(limiter, id("slow"), Effect.sleep(500)))
      yield* TestClock.adjust(500)
      yield* Fiber.join(slow)
      yield* hang("running", id("running"))
      const waiters = yield* hangAll("waiting", [id("slow", 1), ...range(7).map((host) => id(host))])
      const next = yield* hang("waiting", id("next"))
      expect(yield* ended(waiters[0]!)).toMatchObject(Option.some(throttled("busy")))
      expect(yield* ended(next)).toEqual(Option.none())
      expect(yield* ended(yield* hang("waiting", id("last")))).toMatchObject(Option.some(throttled("busy")))
    }))
})

describe("Slow sites", () => {
  /** A fetch of this duration. */
  const take = (limiter: Limiter.Limiter, client: Id, millis: number, asked?: Asked) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(run(limiter, client, Effect.sleep(millis), asked))
      yield* TestClock.adjust(millis)
      yield* Fiber.join(fiber)
    })

  it.effect("FET-22: a site that took half of the timeout has at most half of the permits, for a minute", () =>
    Effect.gen(function*() {
      const { hangAll, limiter, running } = world({ concurrency: 4, timeoutMillis: 1000 })
      yield* take(limiter, id("a"), 499)
      const quick = yield* hangAll("quick", range(4).map((path) => id("a", path)))
      expect(running("quick")).toBe(4)
      yield* Fiber.interruptAll(quick)
      yield* take(limiter, id("a"), 500)
      const slow = yield* hangAll("slow", range(4).map((path) => id("a", path)))
      expect(running("slow")).toBe(2)
      yield* hangAll("new", [id(1), id(2)])
      expect(running("new")).toBe(2)
      yield* TestClock.adjust("59 seconds")
      yield* Fiber.interruptAll(slow)
      yield* TestClock.adjust("60 seconds")
      yield* hangAll("later", range(4).map((path) => id("a", path)))
      expect(running("later")).toBe(2)
    }))

  it.effect("FET-22: slow sites together have at most half of the permits, and wait behind the others", () =>
    Effect.gen(function*() {
      const { hang, hangAll, limiter, running } = world({ concurrency: 4, timeoutMillis: 1000 })
      for (const host of ["a", "b", "c"]) yield* take(limiter, id(host), 500)
      yield* hangAll("slow", ["a", "b", "c"].map((host) => id(host)))
      expect(running("slow")).toBe(2)
      const [first] = yield* hangAll("quick", [id(1), id(2)])
      yield* hang("quick", id(3))
      yield* Fiber.interrupt(first!)
      yield* settle
      expect([running("slow"), running("quick")]).toEqual([2, 2])
    }))

  it.effect("FET-22: a fetch that times out or is interrupted late makes its site slow, and running ones count", () =>
    Effect.gen(function*() {
      const { hang, hangAll, running } = world({ concurrency: 4, timeoutMillis: 1000 })
      const fibers = yield* hangAll("a", range(3).map((path) => id("a", path)))
      yield* TestClock.adjust(600)
      yield* Fiber.interrupt(fibers[0]!)
      // Two of the site go on, which is half of the permits.
      yield* hang("a", id("a", 3))
      expect(running("a")).toBe(2)
      yield* hangAll("new", [id(1), id(2)])
      expect(running("new")).toBe(2)
    }))

  it.effect("FET-22: with a single permit, a slow site is still fetched", () =>
    Effect.gen(function*() {
      const { limiter, start } = world({ concurrency: 1, timeoutMillis: 1000 })
      yield* take(limiter, id("a"), 500)
      expect(yield* start(id("a"))).toBeUndefined()
    }))

  it.effect("FET-22: what clients that were never accepted cause does not slow down accepted ones", () =>
    Effect.gen(function*() {
      const { hang, hangAll, limiter, running } = world({ concurrency: 4, timeoutMillis: 1000 })
      yield* take(limiter, page("evil"), 500)
      yield* hangAll("new", range(3).map((site) => page(site)))
      expect(running("new")).toBe(2)
      yield* hangAll("accepted", [page("honest"), page("evil", "accepted")], { known: "accepted" })
      expect(running("accepted")).toBe(2)
      // What an accepted client causes counts for its site, and not for its domain.
      yield* take(world().limiter, page("other"), 1)
      yield* hang("accepted", id(1), { known: "accepted" })
      expect(running("accepted")).toBe(2)
    }))
})

describe("Shares that only get smaller", () => {
  const rateLimit = { limit: 10, windowMillis: 10_000 }
  const paths = (count: number, name = "no-such") => range(count).map((path) => id("victim", `${name}${path}`))

  it.effect("FET-23: clients that were never accepted have half of the rate of a site with an accepted one", () =>
    Effect.gen(function*() {
      for (const known of ["accepted", "site"] as const) {
        const { start, starts } = world({ rateLimit })
        expect(yield* start(id("victim"), { known })).toBeUndefined()
        expect(yield* starts(paths(30))).toBe(known === "site" ? 4 : 5)
        expect(yield* start(id("victim", "other"), { known: "site" })).toMatchObject(throttled("rate"))
        expect(yield* starts(paths(30, "real"), { known: "accepted" })).toBe(known === "site" ? 5 : 4)
        yield* TestClock.adjust("2 seconds")
        expect(yield* starts(paths(30))).toBe(1)
        expect(yield* starts(paths(30, "real"), { known: "accepted" })).toBe(1)
      }
    }))

  it.effect("FET-23: an accepted client is remembered for an hour, and a flood before it does not outlast it", () =>
    Effect.gen(function*() {
      const { start, starts } = world({ rateLimit })
      expect(yield* starts(paths(30))).toBe(10)
      yield* TestClock.adjust("5 seconds")
      expect(yield* starts(paths(30))).toBe(5)
      yield* TestClock.adjust("1 second")
      expect(yield* start(id("victim"), { known: "accepted" })).toBeUndefined()
      yield* TestClock.adjust("2 seconds")
      expect(yield* starts(paths(30))).toBe(1)
      expect(yield* starts(paths(30, "real"), { known: "accepted" })).toBe(1)
      yield* TestClock.adjust("59 minutes")
      expect(yield* starts(paths(30))).toBe(5)
      yield* TestClock.adjust("61 minutes")
      expect(yield* starts(paths(30))).toBe(10)
    }))

  it.effect("FET-23: they have half of its permits and of its queue too", () =>
    Effect.gen(function*() {
      const { hangAll, running, start } = world()
      yield* start(id("victim"), { known: "accepted" })
      const fibers = yield* hangAll("new", paths(20))
      expect(running("new")).toBe(2)
      expect(yield* Effect.forEach(fibers, ended)).toMatchObject([
        ...range(18).map(() => Option.none()),
        ...range(2).map(() => Option.some(throttled("busy")))
      ])
      yield* hangAll("real", paths(2, "real"), { known: "accepted" })
      expect(running("real")).toBe(2)
    }))

  it.effect("FET-23: the same holds for a domain, so that its new sites cannot starve the known ones", () =>
    Effect.gen(function*() {
      const { hangAll, running, start, starts } = world({ rateLimit })
      yield* start(page("real"), { known: "accepted" })
      expect(yield* starts(range(50).map((site) => page(site)))).toBe(20)
      expect(yield* start(page("real"), { known: "accepted" })).toBeUndefined()
      yield* TestClock.adjust("10 seconds")
      yield* hangAll("new", range(9).map((site) => page(site)))
      expect(running("new")).toBe(4)
      yield* hangAll("real", range(4).map((path) => page("real", path)), { known: "accepted" })
      expect(running("real")).toBe(4)
    }))

  it.effect("FET-23: nothing that is accepted adds to the share of a site", () =>
    Effect.gen(function*() {
      const { hangAll, running, starts } = world({ rateLimit })
      expect(yield* starts([...paths(5), ...paths(20, "accepted")], { known: "accepted" })).toBe(10)
      yield* TestClock.adjust("10 seconds")
      yield* hangAll("site", [...paths(3), ...paths(3, "accepted")], { known: "accepted" })
      expect(running("site")).toBe(4)
    }))

  it.effect("FET-23: even the lowest rate lets a client in that was never accepted", () =>
    Effect.gen(function*() {
      const { start } = world({ rateLimit: { limit: 1, windowMillis: 1000 } })
      yield* start(id("victim"), { known: "accepted" })
      yield* TestClock.adjust("1 second")
      expect(yield* start(id("victim", 1))).toBeUndefined()
      yield* TestClock.adjust("1 second")
      expect(yield* start(id("victim", 2))).toMatchObject(throttled("rate", 1000))
      expect(yield* start(id("victim"), { known: "accepted" })).toBeUndefined()
    }))

  it.effect("FET-23: a requester has a quarter of the permits, and no more of a site than without", () =>
    Effect.gen(function*() {
      const { hangAll, running } = world()
      yield* hangAll("one", range(9).map((host) => id(`one${host}`)), { requester: "192.0.2.1" })
      expect(running("one")).toBe(4)
      yield* hangAll("two", range(9).map((path) => id("two", path)), { requester: "192.0.2.2" })
      expect(running("two")).toBe(4)
      yield* hangAll("two", [id("two", "more")], { requester: "192.0.2.3" })
      expect(running("two")).toBe(4)
      yield* hangAll("none", range(9).map((host) => id(`none${host}`)))
      expect(running("none")).toBe(8)
    }))

  it.effect("FET-23: a requester has at least one permit, and the rate of a domain", () =>
    Effect.gen(function*() {
      const { start, starts } = world({ concurrency: 3, rateLimit: { limit: 5, windowMillis: 1000 } })
      const asked = { requester: "someone" }
      expect(yield* starts(range(50).map((host) => id(host)), asked)).toBe(20)
      expect(yield* start(id("more"), asked)).toMatchObject(throttled("rate", 50))
      expect(yield* start(id("more"), { requester: "another" })).toBeUndefined()
    }))

  it.effect("FET-23: an address of a requester counts with its network, in any spelling", () =>
    Effect.gen(function*() {
      const same = [
        ["2001:db8::1", "2001:DB8:0:0:ffff::"],
        ["192.0.2.1", "::ffff:192.0.2.1"],
        ["::ffff:c000:201", "192.0.2.1"],
        ["x".repeat(300), "y".repeat(400)]
      ] as const
      const different = [["2001:db8::1", "2001:db8:0:1::1"], ["192.0.2.1", "192.0.2.2"], ["a", "A"]] as const
      for (const [pairs, expected] of [[same, "busy"], [different, undefined]] as const) {
        for (const [one, other] of pairs) {
          const { hang, limiter } = world({ concurrency: 4, queueTimeoutMillis: 1 })
          yield* hang("one", id(1), { requester: one })
          const fiber = yield* Effect.fork(start(limiter, id(2), { requester: other }))
          yield* TestClock.adjust(1)
          expect([one, other, errorOf(yield* Fiber.join(fiber))]).toMatchObject([
            one,
            other,
            expected === undefined ? undefined : throttled(expected)
          ])
        }
      }
    }))

  it.effect("FET-23: a spray of requesters evicts none, and all that do not fit share one", () =>
    Effect.gen(function*() {
      const { starts } = world({ maxTrackedKeys: 10, rateLimit: { limit: 1, windowMillis: 60_000 } })
      const limiterRate = 4
      const each = (names: ReadonlyArray<string>) =>
        Effect.forEach(names, (requester, index) => starts([id(`${requester}${index}`)], { requester }))
      yield* each(range(10).map(String))
      // The table of sites is full as well, so these share the start of one site.
      expect((yield* each(range(9).map((name) => `late${name}`))).filter((count) => count === 1).length)
        .toBeLessThan(limiterRate)
    }))

  it.effect("FET-23: each 20 ms of a handshake on the thread count as a start of the site and the domain", () =>
    Effect.gen(function*() {
      for (const [millis, count] of [[0, 10], [20, 10], [20.1, 5], [40, 5], [100, 2], [174, 2], [1e6, 1]] as const) {
        const { starts } = world({ rateLimit })
        expect([millis, yield* starts(paths(20), { handshakeMillis: millis })]).toEqual([millis, count])
      }
      const { start, starts } = world({ rateLimit })
      expect(yield* starts(range(9).map((site) => page(site)), { handshakeMillis: 100, requester: "r" })).toBe(8)
      expect(yield* start(id("other"), { requester: "r" })).toBeUndefined()
      // A pause of the whole process must not exclude a site for long.
      const { start: again } = world({ rateLimit })
      yield* again(id("victim"), { handshakeMillis: 1e6 })
      yield* TestClock.adjust("2 seconds")
      expect(yield* again(id("victim"))).toBeUndefined()
    }))
})
