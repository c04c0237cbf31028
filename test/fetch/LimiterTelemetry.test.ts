import { it } from "@effect/vitest"
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { NameLookupTest } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as TestClock from "effect/TestClock"
import { describe, expect } from "vitest"
import * as Limiter from "../../src/internal/fetch/limiter.js"
import { busy } from "../../src/internal/fetch/refusal.js"
import { clientId } from "../support/clientId.js"
import { id, limits, notFound, run, settle, start } from "../support/limiter.js"

const range = (count: number) => Array.from({ length: count }, (_, index) => index)

/** The values of all metrics of one name, by their tags. */
const valuesOf = (name: string) =>
  Effect.map(
    Metric.snapshot,
    (pairs) =>
      Object.fromEntries(pairs.flatMap(({ metricKey, metricState }) =>
        metricKey.name === name
          ? [[
            metricKey.tags.map(({ key, value }) => `${key}=${value}`).sort().join(),
            MetricState.isCounterState(metricState)
              ? Number(metricState.count)
              : MetricState.isGaugeState(metricState)
              ? Number(metricState.value)
              : Number.NaN
          ]]
          : []
      ))
  )

/** Returns which counters of one name an effect raises. */
const raised = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* valuesOf(name)
    yield* effect
    const after = Object.entries(yield* valuesOf(name))
    return Object.fromEntries(
      after.map(([tags, count]) => [tags, count - (before[tags] ?? 0)] as const).filter(([, count]) => count > 0)
    )
  })

const page = (site: number) => clientId(`https://s${site}.github.io/`)

describe("Metrics", () => {
  it.effect("FET-24: cimd_throttled_total has the reason and the limit, in few fixed tags", () =>
    Effect.gen(function*() {
      const throttledBy = (
        attack: (limiter: Limiter.Limiter) => Effect.Effect<unknown>,
        changes: Partial<Limiter.Limits>
      ) => raised("cimd_throttled_total", attack(Limiter.make({ ...limits, ...changes })))
      const hang = (limiter: Limiter.Limiter, clients: ReadonlyArray<ReturnType<typeof id>>, requester?: string) =>
        Effect.forEach(
          clients,
          (client) =>
            Effect.zipRight(Effect.fork(start(limiter, client, requester === undefined ? {} : { requester })), settle),
          {
            discard: true
          }
        )
      const rate = { rateLimit: { limit: 1, windowMillis: 1000 } }
      const starts = (clients: ReadonlyArray<ReturnType<typeof id>>, asked = {}) => (limiter: Limiter.Limiter) =>
        Effect.forEach(clients, (client) => start(limiter, client, asked))
      const hold = (limiter: Limiter.Limiter, clients: ReadonlyArray<ReturnType<typeof id>>) =>
        Effect.forEach(
          clients,
          (client) => Effect.zipRight(Effect.fork(Effect.exit(run(limiter, client, Effect.never))), settle)
        )
      expect(yield* throttledBy(starts([id(1), id(1, 2)]), rate)).toEqual({ "reason=rate,scope=site": 1 })
      expect(yield* throttledBy(starts(range(5).map(page)), rate)).toEqual({ "reason=rate,scope=domain": 1 })
      expect(yield* throttledBy(starts(range(5).map((host) => id(host)), { requester: "r" }), rate)).toEqual({
        "reason=rate,scope=requester": 1
      })
      expect(
        yield* throttledBy((limiter) => Effect.exit(run(limiter, id(1), notFound(id(1)))).pipe(Effect.repeatN(1)), {})
      ).toEqual({ "reason=failed,scope=client": 1 })
      for (const scope of ["node", "address"] as const) {
        expect(
          yield* throttledBy((limiter) => Effect.exit(run(limiter, id(1), Effect.fail(busy(scope)))), {})
        ).toEqual({ [`reason=busy,scope=${scope}`]: 1 })
      }
      expect(
        yield* throttledBy((limiter) => hold(limiter, range(10).map((path) => id(1, path))), { concurrencyPerSite: 1 })
      ).toEqual({ "reason=busy,scope=site": 1 })
      expect(
        yield* throttledBy((limiter) => hold(limiter, range(10).map((host) => id(host))), { concurrency: 1 })
      ).toEqual({ "reason=busy,scope=queue": 1 })
      expect(
        yield* throttledBy((limiter) =>
          Effect.gen(function*() {
            yield* hold(limiter, [id(0)])
            yield* hang(limiter, [id(1)])
            yield* TestClock.adjust(10)
          }), { concurrency: 1, queueTimeoutMillis: 10 })
      ).toEqual({ "reason=busy,scope=queue": 1 })
    }))

  it.effect("FET-24: gauges have the permits, waiters and sites of each lane", () =>
    Effect.gen(function*() {
      const limiter = Limiter.make({ ...limits, concurrency: 2, confirmedConcurrency: 1 })
      const gauges = Effect.map(
        Effect.all([
          valuesOf("cimd_fetch_permits"),
          valuesOf("cimd_fetch_waiting"),
          valuesOf("cimd_tracked_sites")
        ]),
        (all) => ["confirmed", "other"].map((lane) => all.map((values) => values[`lane=${lane}`]))
      )
      const fibers = yield* Effect.forEach([
        ...range(5).map((host) => [id(host), "nothing"] as const),
        ...range(2).map((host) => [id(host), "confirmed"] as const)
      ], ([client, known]) => Effect.fork(Effect.exit(run(limiter, client, Effect.never, { known }))))
      yield* settle
      expect(yield* gauges).toEqual([[1, 1, 2], [2, 3, 5]])
      yield* Fiber.interruptAll(fibers)
      expect((yield* gauges).map(([permits, waiting]) => [permits, waiting])).toEqual([[0, 0], [0, 0]])
    }))

  it.effect("FET-24: the phase of a timeout is counted, and the date of the list of public suffixes shown", () =>
    Effect.gen(function*() {
      const { fetch } = yield* Fetcher.Fetcher
      expect(
        yield* raised(
          "cimd_fetch_timeouts_total",
          Effect.gen(function*() {
            const fiber = yield* Effect.fork(Effect.exit(fetch(id(1))))
            yield* TestClock.adjust("5 seconds")
            yield* Fiber.join(fiber)
          })
        )
      ).toEqual({ "phase=lookup": 1 })
      expect(yield* valuesOf("cimd_public_suffix_list_timestamp_seconds")).toEqual({
        "": Date.UTC(2026, 10, 25) / 1000
      })
    }).pipe(Effect.provide(
      Fetcher.layerWithoutDependencies().pipe(
        Layer.provide([NameLookupTest.layer(() => Effect.never), Dialer.layer, HostPolicy.layerPublic])
      )
    )))
})

describe("The log", () => {
  it.effect("FET-24: one line a minute at most names the sites and requesters that use most", () => {
    const lines: Array<{ readonly level: string; readonly message: unknown; readonly [name: string]: unknown }> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      lines.push({
        level: logLevel.label,
        message: String(message),
        ...Object.fromEntries(HashMap.toEntries(annotations))
      })
    })
    return Effect.gen(function*() {
      const limiter = Limiter.make({
        ...limits,
        concurrency: 16,
        concurrencyPerSite: 3,
        rateLimit: { limit: 10, windowMillis: 100_000 }
      })
      const hold = (host: string, count: number, requester?: string) =>
        Effect.forEach(range(count), (path) =>
          Effect.fork(Effect.exit(run(limiter, id(host, path), Effect.never, {
            known: "accepted",
            ...(requester === undefined ? {} : { requester })
          }))))
      // A failed client, and a fetch that is not throttled, cause no line.
      yield* Effect.exit(run(limiter, id("failed"), notFound(id("failed")))).pipe(Effect.repeatN(3))
      expect(lines).toEqual([])
      yield* hold("c", 3)
      yield* hold("a", 4)
      yield* hold("b", 3, "2001:db8::1")
      yield* hold("d", 1, "a\u202e\n\"requester\"")
      yield* settle
      const flood = Effect.forEach(range(20), (path) => start(limiter, id("flood", path)))
      yield* flood
      expect(lines).toEqual([{
        level: "WARN",
        message: "Fetches of client metadata documents are throttled by the limits of this node",
        rate: 1,
        busy: 0,
        failed: 3,
        sites:
          "ha.example (3 running, 1 waiting), hc.example (3 running, 0 waiting), hb.example (3 running, 0 waiting)",
        requesters: expect.stringMatching(
          /^2001:db8:0:0::\/64 \(3 running, 0 waiting\), a[\x20-\x7e]*requester[\x20-\x7e]* \(1 running, 0 waiting\)$/
        )
      }])
      yield* TestClock.adjust("59999 millis")
      yield* flood
      expect(lines.length).toBe(1)
      yield* TestClock.adjust("1 millis")
      yield* flood
      expect(lines.length).toBe(2)
      expect(Number(lines[1]?.["rate"])).toBeGreaterThan(20)
    }).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Logger.withMinimumLogLevel(LogLevel.All)
    )
  })
})
