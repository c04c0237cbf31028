import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import type { ClientMetadata } from "effect-cimd"
import { Cache, ClientRegistry, HostPolicy, PostgresCache, Resolver, Sweeper, Validator } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Schedule from "effect/Schedule"
import * as metrics from "../src/internal/metrics.js"
import { accepted, reader, readerUnder } from "./support/documents.js"
import { policyWith } from "./support/hostPolicy.js"
import * as Postgres from "./support/postgres.js"

/** The count of a counter with this name, and with this tag as its only one. */
const count = (name: string, tag?: string) =>
  Effect.map(
    Metric.snapshot,
    (pairs) =>
      pairs.flatMap(({ metricKey, metricState }) =>
        metricKey.name === name && metricKey.tags.map(({ key, value }) => `${key}=${value}`).join() === (tag ?? "") &&
          MetricState.isCounterState(metricState)
          ? [Number(metricState.count)]
          : []
      ).reduce((sum, count) => sum + count, 0)
  )

/** Returns by how much an effect increments counters. */
const raised = <A, E, R>(
  counters: ReadonlyArray<readonly [name: string, tag?: string]>,
  effect: Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const counts = Effect.forEach(counters, ([name, tag]) => count(name, tag))
    const before = yield* counts
    yield* effect
    return (yield* counts).map((after, i) => after - before[i]!)
  })

const resolves = (["memory", "postgres", "origin", "stale"] as const).map((source) =>
  ["cimd_resolves_total", `source=${source}`] as const
)
const refusals = (error: string) => [["cimd_refusals_total", `error=${error}`]] as const
const evictions = (reason: string) => [["cimd_evictions_total", `reason=${reason}`]] as const
const unservable = (reason: string) => [["cimd_unservable_rows_total", `reason=${reason}`]] as const

const url = "https://app.example/client.json"
const document = { client_id: url, client_name: "App", redirect_uris: ["https://app.example/cb"] }
const resolve = Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(url))

const node = <E>(cache: Layer.Layer<Cache.Cache, E>, policy = HostPolicy.layerPublic) =>
  Resolver.layer({ freshness: { minimum: "1 milli" } }).pipe(
    Layer.provideMerge(
      Layer.mergeAll(FetcherTest.layer(), Validator.layer(), cache, ClientRegistry.layerMemory())
    ),
    Layer.provide(policy)
  )

const put = (path: string, timeToLive = 3_600_000, members: ClientMetadata.JsonObject = {}) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const document = accepted(`https://app.example/${path}`, members)
    yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive })
    return document.clientId
  })

const evictionsByCall = Effect.gen(function*() {
  const cache = yield* Cache.Cache
  const clientId = yield* put("client")
  expect(yield* raised(evictions("call"), cache.evict(clientId))).toEqual([1])
  expect(yield* raised(evictions("call"), cache.evictAll)).toEqual([1])
})

describe("metrics", () => {
  for (
    const [name, cache, hit] of [
      ["memory", Layer.orDie(Cache.layerMemory({ staleIfError: "1 minute" })), [1, 0, 0, 0]],
      [
        "Postgres",
        Layer.orDie(Layer.provide(PostgresCache.layer({ staleIfError: "1 minute" }), Postgres.migrated)),
        [0, 1, 0, 0]
      ]
    ] as const
  ) {
    it.live(`counts resolved documents by source, and misses (${name})`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const counters = [...resolves, ["cimd_misses_total"]] as const
        yield* origin.document(url, document)
        expect(yield* raised(counters, resolve)).toEqual([0, 0, 1, 0, 1])
        expect(yield* raised(counters, resolve)).toEqual([...hit, 0])
        yield* origin.document(url, document, { "Cache-Control": "max-age=0" })
        yield* Effect.flatMap(Resolver.Resolver, (resolver) => resolver.refresh(url))
        yield* Effect.sleep("20 millis")
        yield* origin.serve(url, { status: 503 })
        expect(yield* raised(counters, resolve)).toEqual([0, 0, 0, 1, 1])
        expect(yield* raised(refusals("UnexpectedStatus"), resolve)).toEqual([0])
      }).pipe(Effect.provide(Layer.provideMerge(node(cache), Origin.layer))))
  }

  it.live("counts failed resolves by error", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      const origin = yield* Origin.Origin
      expect(yield* raised(refusals("InvalidClientId"), Effect.ignore(resolver.resolve("app")))).toEqual([1])
      yield* origin.serve(url, { status: 404 })
      expect(yield* raised(refusals("UnexpectedStatus"), Effect.ignore(resolve))).toEqual([1])
    }).pipe(Effect.provide(Layer.provideMerge(node(Cache.layerMemory()), Origin.layer))))

  it.live("counts clients that the host policy refuses, also those in memory", () => {
    let open = true
    const policy = policyWith((clientId) =>
      Effect.suspend(() =>
        open ? Effect.void : new HostPolicy.HostRefused({ clientId, host: "app.example", reason: "closed" })
      )
    )
    return Effect.gen(function*() {
      yield* Effect.flatMap(Origin.Origin, (origin) => origin.document(url, document))
      yield* resolve
      open = false
      expect(yield* raised(refusals("HostRefused"), Effect.ignore(resolve))).toEqual([1])
    }).pipe(Effect.provide(Layer.provideMerge(node(Cache.layerMemory(), policy), Origin.layer)))
  })

  it.live("counts pinned documents, and recalls by outcome", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const { recall } = yield* Resolver.Resolver
      const recalled = (outcome: string) => [["cimd_recalls_total", `outcome=${outcome}`]] as const
      const counted = (outcome: string, clientId = url) =>
        Effect.map(raised(recalled(outcome), Effect.ignore(recall(clientId))), ([count]) => count)
      yield* Effect.flatMap(
        Origin.Origin,
        (origin) => origin.document(url, document, { "Cache-Control": "max-age=600" })
      )
      expect(yield* counted("InvalidClientId", "app")).toBe(1)
      expect(yield* counted("unconfirmed")).toBe(1)
      const resolution = yield* resolve
      yield* registry.confirm(resolution)
      expect(yield* counted("origin")).toBe(1)
      yield* registry.confirm({ ...resolution, lifetimeMillis: 0 })
      expect(yield* counted("expired")).toBe(1)
      yield* registry.pin(resolution.document, { reason: "a test" })
      expect(yield* counted("pin")).toBe(1)
      expect(yield* raised([["cimd_resolves_total", "source=pin"]], resolve)).toEqual([1])
      yield* registry.block(url, { reason: "a test" })
      expect(yield* counted("blocked")).toBe(1)
      expect(yield* raised(refusals("ClientBlocked"), Effect.ignore(resolve))).toEqual([1])
    }).pipe(Effect.provide(Layer.provideMerge(node(Cache.layerMemory()), Origin.layer))))

  it.live("counts coalesced callers, on one node and across nodes", () =>
    Effect.gen(function*() {
      const database = Layer.succeedContext(yield* Layer.build(Postgres.migrated))
      const origin = yield* Origin.Origin
      const nodes = yield* Effect.replicateEffect(
        Layer.build(Layer.fresh(node(Layer.provide(PostgresCache.layer(), database)))),
        2
      )
      yield* origin.serve(url, { body: JSON.stringify(document), delay: "300 millis" })
      const callers = nodes.flatMap((context) => {
        const resolver = Context.get(context, Resolver.Resolver)
        return Array.from({ length: 5 }, () => resolver.resolve(url))
      })
      // Four on each node wait for the fifth, and one node waits for the other.
      expect(
        yield* raised([["cimd_coalesced_total"]], Effect.all(callers, { concurrency: "unbounded" }))
      ).toEqual([9])
      expect(yield* origin.requests).toHaveLength(1)
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

  it.live("counts evictions by a call, in memory", () => Effect.provide(evictionsByCall, Cache.layerMemory()))

  it.live("counts evictions by a call, in Postgres, once for both tiers", () =>
    Effect.provide(evictionsByCall, Layer.provide(PostgresCache.layerTiered(), Postgres.migrated)))

  it.live("counts evictions from a full memory", () =>
    Effect.gen(function*() {
      const putLarge = (path: string) => put(path, 3_600_000, { note: "x".repeat(25_000) })
      yield* putLarge("1")
      expect(yield* raised(evictions("memory_full"), putLarge("2"))).toEqual([0])
      expect(yield* raised(evictions("memory_full"), putLarge("2"))).toEqual([0])
      expect(yield* raised(evictions("memory_full"), putLarge("3"))).toEqual([1])
    }).pipe(Effect.provide(Cache.layerMemory({ maxBytes: 65_536 }))))

  it.live("counts evictions from a full site and from a full table, and measures the table", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* put("1")
      expect(yield* raised(evictions("site_full"), put("2"))).toEqual([0])
      expect(yield* raised(evictions("site_full"), put("3"))).toEqual([1])
      yield* sql`INSERT INTO cimd_documents
        (client_id, origin, bytes, ruleset, document, judgement, fetched_at, expires_at, kept_until)
        SELECT 'https://other.example/' || i, 'https://other.example', 300000, '', '{}', '{}', now() - interval '1 minute',
          until, until
        FROM generate_series(1, 5) i, LATERAL (SELECT now() + interval '1 hour' AS until) AS later`
      const left = Effect.map(sql`SELECT 1 FROM cimd_documents WHERE bytes = 300000`, ({ length }) => length)
      // The node may start to relieve the table before the sweep does.
      const sweep = Effect.gen(function*() {
        yield* sql`UPDATE cimd_usage SET measured_at = '-infinity'`
        yield* cache.sweep({ batchSize: 2 })
        yield* Effect.repeat(left, { until: (rows) => rows === 3, schedule: Schedule.spaced("20 millis") })
        yield* cache.sweep()
      })
      expect(yield* raised(evictions("table_full"), sweep)).toEqual([2])
      const { value } = yield* Metric.value(metrics.tableBytes)
      expect(value).toBeGreaterThan(900_000)
      expect(value).toBeLessThan(910_000)
    }).pipe(Effect.provide(
      Layer.provideMerge(PostgresCache.layer({ maxPerSite: 2, maxTableBytes: 2 ** 20 }), Postgres.migrated)
    )))

  it.live("counts rows that cannot be served, by reason", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      const clientId = yield* put("row")
      expect(yield* raised(unservable("ruleset"), cache.get(clientId, readerUnder("another", () => false)))).toEqual([
        1
      ])
      expect(yield* raised(unservable("ruleset"), cache.get(clientId, reader))).toEqual([0])
      yield* sql`UPDATE cimd_documents SET document = '[]'`
      expect(yield* raised(unservable("damaged"), cache.get(clientId, reader))).toEqual([1])
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("counts sweeps by outcome, and the rows they deleted, with leases", () =>
    Effect.gen(function*() {
      const { sweepNow } = yield* Sweeper.Sweeper
      const sql = yield* PgClient.PgClient
      const counters = [
        ["cimd_sweeps_total", "outcome=done"],
        ["cimd_sweeps_total", "outcome=failed"],
        ["cimd_swept_rows_total"]
      ] as const
      yield* Effect.forEach(["1", "2", "3"], (path) => put(path, 1))
      yield* sql`INSERT INTO cimd_leases (client_id, holder, began_at, expires_at)
        VALUES ('https://app.example/lease', 'node', now(), now() - interval '1 second')`
      yield* Effect.sleep("20 millis")
      expect(yield* raised(counters, sweepNow)).toEqual([1, 0, 4])
      expect(yield* raised(counters, sweepNow)).toEqual([1, 0, 0])
      yield* sql`DROP TABLE cimd_leases`
      expect(yield* raised(counters, Effect.flip(sweepNow))).toEqual([0, 1, 0])
    }).pipe(
      Effect.provide(Sweeper.layer({ interval: "1 hour" })),
      Effect.provide(ClientRegistry.layerMemory()),
      Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))
    ))

  it.live("counts the rows that a sweep of memory deleted", () =>
    Effect.gen(function*() {
      yield* put("1", 1)
      yield* Effect.sleep("20 millis")
      expect(yield* raised([["cimd_swept_rows_total"]], Effect.flatMap(Cache.Cache, (cache) => cache.sweep())))
        .toEqual([1])
    }).pipe(Effect.provide(Cache.layerMemory())))
})
