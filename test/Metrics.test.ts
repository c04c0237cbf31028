import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, HostPolicy, PostgresCache, Resolver, Validator } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as metrics from "../src/internal/metrics.js"
import { accepted } from "./support/documents.js"
import * as Postgres from "./support/postgres.js"

/** By how much an effect raises a counter. */
const raised = <A, E, R>(
  counter: Metric.Metric.Counter<number>,
  effect: Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const before = (yield* Metric.value(counter)).count
    yield* effect
    return (yield* Metric.value(counter)).count - before
  })

const put = (path: string) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const document = accepted(`https://app.example/${path}`)
    yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
    return document.clientId
  })

const evictions = Effect.gen(function*() {
  const cache = yield* Cache.Cache
  const clientId = yield* put("client")
  expect(yield* raised(metrics.evictedByCall, cache.evict(clientId))).toBe(1)
  expect(yield* raised(metrics.evictedByCall, cache.evictAll)).toBe(1)
})

describe("what is counted", () => {
  it.live("a resolved client is a miss when no fresh document is there, and a hit of its tier when one is", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      const origin = yield* Origin.Origin
      const url = "https://app.example/client.json"
      yield* origin.document(url, { client_id: url, client_name: "App", redirect_uris: ["https://app.example/cb"] })
      expect(yield* raised(metrics.misses, resolver.resolve(url))).toBe(1)
      expect(yield* raised(metrics.misses, resolver.resolve(url))).toBe(0)
      expect(yield* raised(metrics.memoryHits, resolver.resolve(url))).toBe(1)
    }).pipe(Effect.provide(
      Resolver.layer().pipe(
        Layer.provideMerge(Layer.mergeAll(FetcherTest.layer(), Validator.layer(), Cache.layerMemory())),
        Layer.provide(HostPolicy.layerPublic),
        Layer.provideMerge(Origin.layer)
      )
    )))

  it.live("what is refused, by the error, and what is answered with past its expiry", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      const origin = yield* Origin.Origin
      const url = "https://app.example/client.json"
      const document = { client_id: url, client_name: "App", redirect_uris: ["https://app.example/cb"] }
      const resolve = Effect.ignore(resolver.resolve(url))
      expect(yield* raised(metrics.refusalsOf("InvalidClientId"), Effect.ignore(resolver.resolve("app")))).toBe(1)
      yield* origin.serve(url, { status: 404 })
      expect(yield* raised(metrics.refusalsOf("StatusRefused"), resolve)).toBe(1)
      yield* origin.document(url, document, { "Cache-Control": "max-age=0" })
      expect(yield* raised(metrics.origins, resolve)).toBe(1)
      yield* Effect.sleep("20 millis")
      yield* origin.serve(url, { status: 503 })
      expect(yield* raised(metrics.staleHits, resolve)).toBe(1)
      expect(yield* raised(metrics.refusalsOf("StatusRefused"), resolve)).toBe(0)
    }).pipe(Effect.provide(
      Resolver.layer({ freshness: { minimum: "1 milli" } }).pipe(
        Layer.provideMerge(
          Layer.mergeAll(FetcherTest.layer(), Validator.layer(), Cache.layerMemory({ staleFor: "1 minute" }))
        ),
        Layer.provide(HostPolicy.layerPublic),
        Layer.provideMerge(Origin.layer)
      )
    )))

  it.live("evictions by a call, in memory", () => Effect.provide(evictions, Cache.layerMemory()))

  it.live("evictions by a call, in Postgres, once for both tiers", () =>
    Effect.provide(evictions, Layer.provide(PostgresCache.layerTiered(), Postgres.migrated)))

  it.live("what a full memory gives up", () =>
    Effect.gen(function*() {
      yield* put("1")
      expect(yield* raised(metrics.evictedFromMemory, put("2"))).toBe(0)
      expect(yield* raised(metrics.evictedFromMemory, put("2"))).toBe(0)
      expect(yield* raised(metrics.evictedFromMemory, put("3"))).toBe(1)
    }).pipe(Effect.provide(Cache.layerMemory({ maxEntries: 2 }))))

  it.live("what an origin, and the table, hold too much of", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* put("1")
      expect(yield* raised(metrics.evictedFromOrigin, put("2"))).toBe(0)
      expect(yield* raised(metrics.evictedFromOrigin, put("3"))).toBe(1)
      yield* sql`INSERT INTO cimd_documents (client_id, origin, ruleset, document, judgement, fetched_at, expires_at)
        SELECT 'https://other.example/' || i, '', '', '{}', '{}', now(),
          now() + interval '1 hour' + i * interval '1 second' FROM generate_series(1, 5) i`
      expect(yield* raised(metrics.evictedFromTable, cache.sweep({ batchSize: 2 }))).toBe(4)
    }).pipe(Effect.provide(
      Layer.provideMerge(PostgresCache.layer({ maxPerOrigin: 2, maxDocuments: 3 }), Postgres.migrated)
    )))
})
