import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import type { Ticket } from "../../src/internal/fetch/lane.js"
import { Lane } from "../../src/internal/fetch/lane.js"
import * as Limiter from "../../src/internal/fetch/limiter.js"
import type { Meter } from "../../src/internal/fetch/meter.js"
import type { Shares } from "../../src/internal/fetch/payers.js"
import { Refusal } from "../../src/internal/fetch/refusal.js"
import { clientId } from "../support/clientId.js"
import { gauge, limits, run, settle } from "../support/limiter.js"
import { assertInSlices } from "../support/properties.js"

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 300)

const clients = [
  "https://a.example/1",
  "https://x.a.example:444/2",
  "https://b.example/",
  "https://alice.github.io/",
  "https://bob.github.io/",
  "https://carol.github.io/",
  "https://192.0.2.1/"
].map(clientId)

const request = fc.record({
  clientId: fc.constantFrom(...clients),
  known: fc.constantFrom("accepted" as const, "site" as const, "nothing" as const),
  requester: fc.constantFrom(undefined, "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "someone")
})

const shares = fc.record({
  concurrency: fc.integer({ min: 1, max: 6 }),
  concurrencyPerSite: fc.integer({ min: 1, max: 3 }),
  rateLimit: fc.record({ limit: fc.integer({ min: 1, max: 40 }), windowMillis: fc.constantFrom(1, 1000) }),
  maxTrackedKeys: fc.constantFrom(1, 2, 100)
})

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ name: fc.constant("enter" as const), request }) },
  {
    weight: 5,
    arbitrary: fc.record({
      name: fc.constantFrom("leave" as const, "begin" as const, "slow" as const, "charge" as const),
      index: fc.nat(40)
    })
  },
  { weight: 2, arbitrary: fc.record({ name: fc.constant("pass" as const), millis: fc.constantFrom(1, 100, 70_000) }) }
)

/** What the tickets that are not over use of each meter. */
const usedBy = (tickets: ReadonlyArray<Ticket>) => {
  const used = new Map<Meter, { running: number; waiting: number }>()
  for (const { charges, state } of tickets) {
    for (const { meter } of charges) {
      const count = used.get(meter) ?? { running: 0, waiting: 0 }
      used.set(meter, count)
      if (state !== "over") count[state]++
    }
  }
  return used
}

const check = (tickets: ReadonlyArray<Ticket>, { concurrency, concurrencyPerSite }: Shares) => {
  const running = tickets.filter(({ state }) => state === "running").length
  expect(running).toBeLessThanOrEqual(concurrency)
  expect(tickets.filter(({ state }) => state === "waiting").length).toBeLessThanOrEqual(concurrency * 8)
  for (const [meter, count] of usedBy(tickets)) {
    expect({ running: meter.running, waiting: meter.waiting }).toEqual(count)
  }
  for (const { domain, requester, site, state } of tickets) {
    expect(site.all.running).toBeLessThanOrEqual(concurrencyPerSite)
    expect(site.all.waiting).toBeLessThanOrEqual(concurrencyPerSite * 8)
    expect(domain.all.running).toBeLessThanOrEqual(concurrencyPerSite * 2)
    expect(requester?.all.running ?? 0).toBeLessThanOrEqual(Math.max(1, Math.floor(concurrency / 4)))
    // A permit is free for a waiter only if the waiter's own share is used up.
    const { all, newcomers } = site
    if (state === "waiting" && running < Math.max(1, Math.floor(concurrency / 2))) {
      expect(
        all.running >= concurrencyPerSite || newcomers.running >= Math.ceil(concurrencyPerSite / 2) ||
          domain.all.running >= concurrencyPerSite * 2 || domain.newcomers.running >= concurrencyPerSite ||
          (requester?.all.running ?? 0) >= Math.max(1, Math.floor(concurrency / 4))
      ).toBe(true)
    }
  }
}

describe("Lane", () => {
  it("FET-15, FET-21: counts never exceed a bound, and nothing leaks (property)", () =>
    assertInSlices(
      fc.property(shares, fc.array(action, { maxLength: 120 }), (shares, actions) => {
        const lane = new Lane("other", shares)
        const tickets: Array<Ticket> = []
        let now = 0
        for (const action of actions) {
          if (action.name === "pass") {
            now += action.millis
          } else if (action.name === "enter") {
            const ticket = lane.enter(action.request, now)
            if (!(ticket instanceof Refusal)) tickets.push(ticket)
          } else {
            const ticket = tickets[action.index % Math.max(1, tickets.length)]
            if (ticket === undefined) continue
            if (action.name === "leave") lane.leave(ticket, now)
            else if (action.name === "begin") lane.begin(ticket)
            else if (action.name === "slow") lane.recordSlow(ticket, now)
            else lane.charge(ticket, 2, now)
          }
          check(tickets, shares)
        }
        for (const ticket of tickets) lane.leave(ticket, now)
        for (const [meter] of usedBy(tickets)) expect([meter.running, meter.waiting]).toEqual([0, 0])
      }),
      numRuns
    ))

  it("FET-21: permits and waits that end unused leave every rate as it was (property)", () =>
    assertInSlices(
      fc.property(shares, fc.array(request, { maxLength: 60 }), fc.array(fc.nat(60)), (shares, requests, order) => {
        const lane = new Lane("other", shares)
        const tickets = requests.flatMap((request) => {
          const ticket = lane.enter(request, 0)
          return ticket instanceof Refusal ? [] : [ticket]
        })
        for (const index of order) {
          const ticket = tickets[index]
          if (ticket !== undefined) lane.leave(ticket, 0)
        }
        for (const ticket of tickets) lane.leave(ticket, 0)
        for (const { domain, requester, site } of tickets) {
          for (const meter of [site.all, domain.all, requester?.all]) expect(meter?.freeAt ?? 0).toBeCloseTo(0, 6)
        }
      }),
      numRuns
    ))
})

describe("Limiter", () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        name: fc.constant("acquire" as const),
        request,
        millis: fc.integer({ min: 0, max: 3000 })
      })
    },
    { weight: 2, arbitrary: fc.record({ name: fc.constant("interrupt" as const), index: fc.nat(40) }) },
    {
      weight: 2,
      arbitrary: fc.record({ name: fc.constant("pass" as const), millis: fc.integer({ min: 1, max: 900 }) })
    }
  )

  it("FET-21: every wait ends in time, granted or Throttled, and every permit comes back (property)", () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
        Effect.gen(function*() {
          const limiter = Limiter.make({ ...limits, concurrency: 3, concurrencyPerSite: 2, queueTimeoutMillis: 1000 })
          const fibers: Array<Fiber.RuntimeFiber<{ readonly waited: number }, never>> = []
          const now = Effect.map(TestClock.currentTimeMillis, Number)
          for (const step of steps) {
            if (step.name === "pass") {
              yield* TestClock.adjust(step.millis)
            } else if (step.name === "interrupt") {
              const fiber = fibers[step.index % Math.max(1, fibers.length)]
              if (fiber !== undefined) yield* Fiber.interrupt(fiber)
            } else {
              fibers.push(
                yield* Effect.fork(Effect.gen(function*() {
                  const asked = yield* now
                  return yield* Effect.scoped(Effect.gen(function*() {
                    const outcome = yield* Effect.either(limiter.acquire(step.request))
                    const waited = (yield* now) - asked
                    if (outcome._tag === "Right") yield* Effect.sleep(step.millis)
                    else expect(outcome.left._tag).toBe("Throttled")
                    return { waited }
                  }))
                }))
              )
              yield* settle
            }
          }
          yield* TestClock.adjust(1000)
          yield* TestClock.adjust(3000)
          for (const fiber of fibers) {
            const exit = Option.getOrThrow(yield* Fiber.poll(fiber))
            if (exit._tag === "Success") expect(exit.value.waited).toBeLessThanOrEqual(1000)
            else expect(Cause.isInterruptedOnly(exit.cause)).toBe(true)
          }
          // Every permit is there again.
          yield* TestClock.adjust("2 minutes")
          const meter = gauge()
          for (const client of clients) {
            yield* Effect.fork(Effect.exit(run(limiter, client, meter.fetch("last", "1 hour"), { known: "accepted" })))
          }
          yield* settle
          expect(meter.running("last")).toBe(3)
        }).pipe(Effect.provide(TestContext.TestContext), Effect.runPromise)),
      { numRuns: Math.ceil(numRuns / 10) }
    ))
})
