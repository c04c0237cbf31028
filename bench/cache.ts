/**
 * The cache beside what it is made of: effect's own cache, and bare node-postgres on the same pool.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Cache, Fetcher, HostPolicy, Migrations, PostgresCache, Resolver, Validator } from "effect-cimd"
import type { ClientId } from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as EffectCache from "effect/Cache"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { pathToFileURL } from "node:url"
import * as DirectQuery from "../dist/src/internal/directQuery.js"
import type { Row } from "./row.js"
import { atLeast, atMost, median, percentile, print, unlimited } from "./row.js"

/** Nanoseconds that an effect takes, measured inside a fiber. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const start = process.hrtime.bigint()
    return Effect.map(effect, () => Number(process.hrtime.bigint() - start))
  })

/** The medians of two works, measured in turn, so that both meet the machine in the same mood. */
const sideBySide = <E, R>(
  rounds: number,
  ours: Effect.Effect<unknown, E, R>,
  theirs: Effect.Effect<unknown, E, R>
): Effect.Effect<{ readonly ours: number; readonly theirs: number }, E, R> =>
  Effect.gen(function*() {
    const times = { ours: Array<number>(), theirs: Array<number>() }
    for (let round = -Math.ceil(rounds / 5); round < rounds; round++) {
      const [a, b] = round % 2 === 0
        ? [yield* timed(ours), yield* timed(theirs)]
        : [yield* timed(theirs), yield* timed(ours)].reverse() as [number, number]
      if (round < 0) continue
      times.ours.push(a)
      times.theirs.push(b)
    }
    return { ours: median(times.ours), theirs: median(times.theirs) }
  })

const micros = (nanos: number): string => `${(nanos / 1000).toFixed(2)} µs`

const idOf = (i: number) => `https://app${i % 1000}.example/client-${i}.json` as ClientId.ClientId
const documentOf = (clientId: string) =>
  new TextEncoder().encode(JSON.stringify({
    client_id: clientId,
    client_name: "Benchmark",
    client_uri: "https://app.example/",
    redirect_uris: ["https://app.example/callback", "http://127.0.0.1/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none"
  }))

const accepted = (clientId: ClientId.ClientId) =>
  Effect.flatMap(Validator.Validator, (validator) => validator.validate(clientId, documentOf(clientId)))

const noFetch = Layer.succeed(Fetcher.Fetcher, { fetch: () => Effect.dieMessage("The benchmark reads what is cached") })

const memoryHit = Effect.gen(function*() {
  const resolver = yield* Resolver.Resolver
  const cache = yield* Cache.Cache
  const id = idOf(1)
  const document = yield* accepted(id)
  yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
  const effects = yield* EffectCache.make({
    capacity: 10_000,
    timeToLive: "1 hour",
    lookup: () => Effect.succeed(document)
  })
  yield* effects.get(id)
  const many = (effect: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function*() {
      for (let i = 0; i < 20_000; i++) yield* effect
    })
  const { ours, theirs } = yield* sideBySide(31, many(resolver.resolve(id)), many(effects.get(id)))
  return atMost(
    "memory hit, beside effect's own Cache",
    ours / theirs,
    0.6,
    `${micros(ours / 20_000)} against ${micros(theirs / 20_000)}`
  )
}).pipe(Effect.provide(
  Resolver.layer().pipe(
    Layer.provideMerge(Layer.mergeAll(noFetch, Validator.layer(), Cache.layerMemory())),
    Layer.provide(HostPolicy.layerPublic)
  )
))

// What a host would write: the row of one client, if it is fresh.
const bareQuery = "SELECT document, judgement FROM cimd_documents WHERE client_id = $1 AND expires_at > now()"

const fill = (count: number) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const document = yield* accepted(idOf(0))
    yield* sql`TRUNCATE cimd_documents`
    yield* sql`INSERT INTO cimd_documents
        (client_id, origin, ruleset, document, judgement, fetched_at, expires_at)
      SELECT url, 'https://app' || i % 1000 || '.example', ${document.ruleset},
        jsonb_set(${JSON.stringify(document.json)}::jsonb, '{client_id}', to_jsonb(url)),
        ${JSON.stringify({ authMethods: document.authMethods, warnings: [] })}::jsonb, now(), now() + interval '1 hour'
      FROM generate_series(0, ${count - 1}) i, LATERAL (
        SELECT 'https://app' || i % 1000 || '.example/client-' || i || '.json' AS url
      ) AS urls`
    yield* sql.unsafe("VACUUM ANALYZE cimd_documents")
  })

const reads = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const pool = DirectQuery.poolOf(yield* PgClient.PgClient)?.pool
    if (pool === undefined) return yield* Effect.dieMessage("The client has a pool of its own")
    const { ruleset } = yield* Validator.Validator
    let next = 0
    const id = () => idOf((next += 7919) % 1000)
    const ours = Effect.suspend(() => cache.get(id(), ruleset))
    const theirs = Effect.suspend(() => Effect.promise(() => pool.query(bareQuery, [id()])))
    const prepared = Effect.suspend(() =>
      Effect.promise(() => pool.query({ name: "read", text: bareQuery, values: [id()] }))
    )
    const serially = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function*() {
        for (let i = 0; i < 200; i++) yield* effect
      })
    const concurrently = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.forEach(Array.from({ length: 64 }), () => Effect.forEach(Array.from({ length: 20 }), () => effect), {
        concurrency: "unbounded",
        discard: true
      })
    yield* fill(1000)
    const serial = yield* sideBySide(31, serially(ours), serially(theirs))
    const concurrent = yield* sideBySide(31, concurrently(ours), concurrently(prepared))

    const idle = (yield* sideBySide(31, serially(ours), Effect.void)).ours
    yield* fill(1_000_000)
    let far = 0
    const spread = Effect.suspend(() => cache.get(idOf((far += 104_729) % 1_000_000), ruleset))
    yield* serially(spread)
    const large = (yield* sideBySide(31, serially(spread), Effect.void)).ours
    const sql = yield* PgClient.PgClient
    const [size] = yield* sql<{ bytes: number }>`
      SELECT (pg_total_relation_size('cimd_documents') / 1000000.0)::float8 AS bytes`

    return [
      atMost(
        "serial Postgres read, beside a bare query",
        serial.ours / serial.theirs,
        1.2,
        `${micros(serial.ours / 200)} against ${micros(serial.theirs / 200)}`
      ),
      atLeast(
        "throughput of reads at 64 concurrent, beside one prepared query each",
        concurrent.theirs / concurrent.ours,
        4,
        `${Math.round(1280e9 / concurrent.ours)} against ${Math.round(1280e9 / concurrent.theirs)} reads a second`
      ),
      atMost(
        "read at 1,000,000 rows, beside 1,000 rows",
        large / idle,
        1.2,
        `${micros(large / 200)} against ${micros(idle / 200)}`
      ),
      unlimited("bytes of disk per row", size?.bytes ?? Number.NaN, "table and indexes at 1,000,000 rows")
    ]
  }).pipe(
    Effect.provide(
      Layer.merge(
        Validator.layer(),
        // To fill the table takes longer than a connection may be silent.
        Layer.provideMerge(
          PostgresCache.layer(),
          PostgresCache.layerClient({ url, maxConnections: 10, maxSilence: "1 minute" })
        )
      )
    )
  )

const sweeps = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const sql = yield* PgClient.PgClient
    const { ruleset } = yield* Validator.Validator
    const latencies = (until: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function*() {
        const times: Array<number> = []
        const reading = Effect.forever(
          Effect.tap(timed(cache.get(idOf(1), ruleset)), (time) => Effect.sync(() => times.push(time)))
        )
        yield* Effect.raceFirst(until, reading)
        return percentile(times, 0.99)
      })
    const half = Effect.gen(function*() {
      yield* fill(2_000_000)
      yield* sql`UPDATE cimd_documents SET expires_at = now() - interval '1 second' WHERE substr(reverse(client_id), 6, 1) >= '5'`
      const [left] = yield* sql<{ count: number }>`SELECT count(*)::int FROM cimd_documents WHERE expires_at < now()`
      yield* sql.unsafe("VACUUM ANALYZE cimd_documents")
      yield* sql.unsafe("CHECKPOINT")
      return left?.count ?? 0
    })
    const idle: Array<number> = []
    const busy: Array<number> = []
    const plain: Array<number> = []
    const swept: Array<number> = []
    let count = 0
    // The same reads go on beside both.
    const beside = (effect: Effect.Effect<unknown, unknown>, times: Array<number>) =>
      latencies(Effect.map(timed(effect), (time) => {
        times.push(time)
      }))
    for (let round = 0; round < 2; round++) {
      count = yield* half
      yield* beside(sql`DELETE FROM cimd_documents WHERE expires_at < now()`, plain)
      yield* half
      idle.push(yield* latencies(Effect.sleep("3 seconds")))
      busy.push(yield* beside(cache.sweep(), swept))
    }
    return [
      atMost(
        `sweep of ${count} of 2,000,000 rows, beside one plain DELETE`,
        median(swept) / median(plain),
        1.5,
        `${(median(swept) / 1e9).toFixed(2)} s against ${
          (median(plain) / 1e9).toFixed(2)
        } s, both beside the same reads`
      ),
      atMost(
        "p99 of reads during the sweep, beside its idle value",
        median(busy) / median(idle),
        2,
        `${micros(median(busy))} against ${micros(median(idle))}`
      )
    ]
  }).pipe(
    Effect.provide(
      Layer.merge(
        Validator.layer(),
        Layer.provideMerge(
          PostgresCache.layer({ timeout: "1 minute" }),
          PostgresCache.layerClient({ url, maxConnections: 10, maxSilence: "1 minute" })
        )
      )
    )
  )

const memoryPerEntry = Effect.gen(function*() {
  const cache = yield* Cache.Cache
  const count = 20_000
  const now = yield* cache.now
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) {
    yield* cache.put(yield* accepted(idOf(i)), { fetchedAt: now, timeToLive: "1 hour" })
  }
  globalThis.gc?.()
  const bytes = (process.memoryUsage().heapUsed - before) / count
  return unlimited(
    "bytes of memory per entry of the memory tier",
    bytes,
    `a document of ${documentOf(idOf(0)).length} bytes`
  )
}).pipe(Effect.provide(Layer.merge(Validator.layer(), Cache.layerMemory({ maxEntries: 20_000 }))))

/** All rows of the cache. */
export const cache = (): Promise<ReadonlyArray<Row>> =>
  Effect.gen(function*() {
    const server = yield* Postgres.url
    const url = yield* Postgres.database(server)
    yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
    return [yield* memoryHit, yield* memoryPerEntry, ...(yield* reads(url)), ...(yield* sweeps(url))]
  }).pipe(Effect.scoped, Effect.runPromise)

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await cache())
