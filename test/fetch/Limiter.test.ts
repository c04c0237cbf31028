import { it } from "@effect/vitest"
import { FetchError } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { describe, expect } from "vitest"
import { BoundedTable } from "../../src/internal/fetch/boundedTable.js"
import * as Limiter from "../../src/internal/fetch/limiter.js"
import { busy } from "../../src/internal/fetch/refusal.js"
import { errorOf, gauge, id, limits, notFound, run, settle, start, started } from "../support/limiter.js"

describe("Limiter", () => {
  it.effect("FET-15: runs at most the maximum number of concurrent fetches, and the others later", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make(limits)
      const meter = gauge()
      const fibers = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, index) => id(index)),
        (clientId) => Effect.fork(run(limiter, clientId, meter.fetch("x", "1 second")))
      )
      yield* settle
      expect(meter.running()).toBe(16)
      yield* TestClock.adjust("7 seconds")
      expect(meter.most()).toBe(16)
      yield* Fiber.joinAll(fibers)
      expect(meter.running()).toBe(0)
    }))

  it.effect("FET-15: runs at most the maximum per site, and a busy site delays no other", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make(limits)
      const meter = gauge()
      for (let path = 0; path < 20; path++) {
        yield* Effect.fork(run(limiter, id("busy", path), meter.fetch("busy", "1 hour")))
      }
      yield* settle
      expect(meter.running("busy")).toBe(4)
      for (let host = 0; host < 12; host++) {
        yield* Effect.fork(run(limiter, id(host), meter.fetch("others", "1 hour")))
      }
      yield* settle
      expect(meter.running("others")).toBe(12)
      expect(meter.running("busy")).toBe(4)
    }))

  it.effect("FET-15: grants permits in the order of arrival", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 1 })
      const served: Array<number> = []
      const fibers = yield* Effect.forEach([0, 1, 2, 3, 4], (host) =>
        Effect.fork(run(limiter, id(host), Effect.sync(() => served.push(host)))))
      yield* Fiber.joinAll(fibers)
      expect(served).toEqual([0, 1, 2, 3, 4])
    }))

  it.effect("FET-15: fails further fetches of a site with a retry time when its queue is full", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 2, concurrencyPerSite: 1 })
      const meter = gauge()
      for (let path = 0; path < 9; path++) {
        yield* Effect.fork(run(limiter, id("busy", path), meter.fetch("busy", "1 hour")))
      }
      yield* settle
      const exit = yield* Effect.exit(run(limiter, id("busy", 9), meter.fetch("busy", 1)))
      expect(errorOf(exit)).toMatchObject({ _tag: "Throttled", reason: "busy", retryAfterMillis: 1000 })
      yield* Effect.fork(run(limiter, id("other"), meter.fetch("other", "1 hour")))
      yield* settle
      expect(meter.running("other")).toBe(1)
    }))

  it.effect("FET-15: bounds the queue over all sites too", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 2 })
      const meter = gauge()
      for (let host = 0; host < 18; host++) {
        yield* Effect.fork(run(limiter, id(host), meter.fetch("all", "1 hour")))
      }
      yield* settle
      const last = yield* Effect.fork(run(limiter, id("last"), meter.fetch("last", 1)))
      yield* settle
      const exit = Option.getOrThrow(yield* Fiber.poll(last))
      expect(errorOf(exit)).toMatchObject({ _tag: "Throttled", reason: "busy", retryAfterMillis: 1000 })
    }))

  it.effect("FET-15: an interrupted fetch returns its permit, and an interrupted waiter leaves the queue", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 1 })
      const meter = gauge()
      const first = yield* Effect.fork(run(limiter, id(1), meter.fetch("1", "1 hour")))
      const second = yield* Effect.fork(run(limiter, id(2), meter.fetch("2", "1 hour")))
      yield* Effect.fork(run(limiter, id(3), meter.fetch("3", "1 hour")))
      yield* settle
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      yield* settle
      expect([meter.running("1"), meter.running("2"), meter.running("3")]).toEqual([0, 0, 1])
    }))

  it.effect("FET-15: limits the rate of starts per site, and restores it evenly", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, rateLimit: { limit: 10, windowMillis: 5000 } })
      const startPath = (path: number) => start(limiter, id("a", path))
      for (let path = 0; path < 10; path++) {
        expect(errorOf(yield* startPath(path))).toBeUndefined()
      }
      expect(errorOf(yield* startPath(10))).toMatchObject({ _tag: "Throttled", reason: "rate", retryAfterMillis: 500 })
      expect(errorOf(yield* start(limiter, id("b")))).toBeUndefined()
      yield* TestClock.adjust(499)
      expect(errorOf(yield* startPath(11))).toMatchObject({ _tag: "Throttled", reason: "rate", retryAfterMillis: 1 })
      yield* TestClock.adjust(1)
      expect(errorOf(yield* startPath(12))).toBeUndefined()
      expect(errorOf(yield* startPath(13))).toMatchObject({ _tag: "Throttled", reason: "rate" })
      yield* TestClock.adjust("1 hour")
      for (let path = 0; path < 10; path++) {
        expect(errorOf(yield* startPath(path))).toBeUndefined()
      }
      expect(errorOf(yield* startPath(14))).toMatchObject({ _tag: "Throttled", reason: "rate" })
    }))

  it.effect("FET-15: permits exactly the limit of starts, whatever the number", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(123_456_789)
      for (const starts of [1, 3, 7, 49, 100]) {
        const limiter = Limiter.make({ ...limits, rateLimit: { limit: starts, windowMillis: 1000 } })
        const exits = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, path) => id("a", path)),
          (client) => start(limiter, client)
        )
        expect(started(exits)).toBe(starts)
      }
    }))

  it.effect("FET-15: pauses a client after a failure, doubles the pause from 1 s to 60 s, and a success ends it", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make(limits)
      const client = id("a")
      const fail = Effect.exit(run(limiter, client, notFound(client)))
      for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
        expect(errorOf(yield* fail)).toMatchObject({ _tag: "UnexpectedStatus" })
        expect(errorOf(yield* fail)).toMatchObject({
          _tag: "Throttled",
          reason: "failed",
          retryAfterMillis: seconds * 1000
        })
        expect(errorOf(yield* start(limiter, id("a", 1)))).toBeUndefined()
        yield* TestClock.adjust(seconds * 1000 - 1)
        expect(errorOf(yield* fail)).toMatchObject({ _tag: "Throttled", reason: "failed", retryAfterMillis: 1 })
        yield* TestClock.adjust(1)
      }
      expect(errorOf(yield* start(limiter, client))).toBeUndefined()
      expect(errorOf(yield* fail)).toMatchObject({ _tag: "UnexpectedStatus" })
      expect(errorOf(yield* fail)).toMatchObject({ _tag: "Throttled", retryAfterMillis: 1000 })
    }))

  it.effect("FET-15: the error of a pause has whether the failure permits a stale document", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make(limits)
      const client = id("a")
      const status = (status: number) => new FetchError.UnexpectedStatus({ clientId: client, status })
      const failures = [
        [status(503), true],
        [status(404), false],
        [status(429), true],
        [status(410), false],
        [new FetchError.FetchTimeout({ clientId: client, phase: "headers", millis: 1 }), true],
        [new FetchError.AddressBlocked({ clientId: client, address: "10.0.0.1", reason: "private" }), true],
        [status(405), true]
      ] as const
      for (const [failure, originFault] of failures) {
        const fetch = Effect.exit(run(limiter, client, Effect.fail(failure)))
        expect(errorOf(yield* fetch)).toBe(failure)
        for (let attempt = 0; attempt < 2; attempt++) {
          expect(errorOf(yield* fetch)).toMatchObject({ _tag: "Throttled", reason: "failed", originFault })
        }
        yield* TestClock.adjust("60 seconds")
      }
    }))

  it.effect("FET-15: forgets a failure long ago", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make(limits)
      const client = id("a")
      const fail = Effect.exit(run(limiter, client, notFound(client)))
      yield* fail
      yield* TestClock.adjust("1 second")
      yield* fail
      yield* TestClock.adjust("62 seconds")
      yield* fail
      expect(errorOf(yield* fail)).toMatchObject({ retryAfterMillis: 1000 })
    }))

  it.effect("FET-15: a waiter is paused too when the same client failed before its permit", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 1 })
      const client = id("a")
      let fetches = 0
      const fail = run(
        limiter,
        client,
        Effect.sync(() => fetches++).pipe(Effect.delay(100), Effect.zipRight(notFound(client)))
      )
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.fork(Effect.exit(fail)))
      yield* TestClock.adjust("1 second")
      const errors = (yield* Effect.forEach(fibers, Fiber.join)).map(errorOf)
      expect(errors.map((error) => error?._tag)).toEqual(["UnexpectedStatus", "Throttled", "Throttled"])
      expect(fetches).toBe(1)
    }))

  it.effect("FET-21: neither an error of a limit nor an interruption counts as a failure of the client", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 1, queueTimeoutMillis: 1000 })
      const client = id("a")
      const first = yield* Effect.fork(run(limiter, client, Effect.never))
      yield* settle
      const waiter = yield* Effect.fork(start(limiter, client))
      yield* TestClock.adjust("1 second")
      expect(errorOf(yield* Fiber.join(waiter))).toMatchObject({ _tag: "Throttled", reason: "busy" })
      yield* Fiber.interrupt(first)
      for (const scope of ["node", "address"] as const) {
        const { _tag } = yield* Effect.flip(run(limiter, client, Effect.fail(busy(scope))))
        expect(_tag).toBe("Throttled")
      }
      expect(errorOf(yield* start(limiter, client))).toBeUndefined()
    }))

  it.effect("FET-15: a spray of paths evicts no paused client, and the table stays bounded", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, rateLimit: { limit: 1e9, windowMillis: 1 }, maxTrackedKeys: 50 })
      const fail = (client: ReturnType<typeof id>) => Effect.exit(run(limiter, client, notFound(client)))
      yield* fail(id("victim"))
      for (let path = 0; path < 1000; path++) yield* fail(id("spray", path))
      expect(errorOf(yield* fail(id("victim")))).toMatchObject({ _tag: "Throttled", reason: "failed" })
      expect(errorOf(yield* fail(id("spray", 48)))).toMatchObject({ _tag: "Throttled", reason: "failed" })
      expect(errorOf(yield* fail(id("spray", 49)))).toMatchObject({ _tag: "UnexpectedStatus" })
      yield* TestClock.adjust("1 hour")
      yield* fail(id("spray", 49))
      expect(errorOf(yield* fail(id("spray", 49)))).toMatchObject({ _tag: "Throttled", reason: "failed" })
    }))

  it.effect("FET-15: a spray of hosts evicts no site, and all that do not fit share one rate", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, rateLimit: { limit: 2, windowMillis: 60_000 }, maxTrackedKeys: 50 })
      const startOf = (client: ReturnType<typeof id>) => start(limiter, client)
      yield* startOf(id("victim", 1))
      yield* startOf(id("victim", 2))
      const exits = yield* Effect.forEach(Array.from({ length: 1000 }, (_, host) => id(host)), startOf)
      expect(started(exits)).toBe(49 + 2)
      expect(errorOf(yield* startOf(id("victim", 3)))).toMatchObject({ _tag: "Throttled", reason: "rate" })
      yield* TestClock.adjust("1 hour")
      const later = yield* Effect.forEach(Array.from({ length: 40 }, (_, host) => id(`later${host}`)), startOf)
      expect(started(later)).toBe(40)
    }))
})

describe("BoundedTable", () => {
  it.effect("FET-15: evicts dead entries and no live ones", () =>
    Effect.sync(() => {
      const table = new BoundedTable<number, number>(10, (until, now) => now < until)
      for (let key = 0; key < 10; key++) expect(table.set(key, key < 5 ? 100 : 1, 0)).toBe(true)
      expect(table.set(10, 100, 0)).toBe(false)
      for (let key = 11; key < 1000; key++) table.set(key, 3, 2)
      expect(table.count).toBe(10)
      for (let key = 0; key < 5; key++) expect(table.get(key)).toBe(100)
      expect(table.set(0, 200, 2)).toBe(true)
      expect(table.get(0)).toBe(200)
      table.delete(0)
      expect(table.get(0)).toBeUndefined()
    }))
})
