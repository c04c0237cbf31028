/**
 * The cache beside what it is made of: effect's own cache, and bare node-postgres on the same pool.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import {
  Cache,
  Fetcher,
  HostPolicy,
  Migrations,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Validator
} from "effect-cimd"
import type { ClientId } from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as EffectCache from "effect/Cache"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import { pathToFileURL } from "node:url"
import * as Pool from "../dist/src/internal/postgres/pool.js"
import { documentOf } from "./document.js"
import type { Row } from "./row.js"
import { atLeast, atMost, median, percentile, print, unlimited } from "./row.js"
import { micros, sideBySide, timed } from "./timing.js"

const idOf = (i: number) => `https://app${i % 1000}.example/client-${i}.json` as ClientId.ClientId

const accepted = (clientId: ClientId.ClientId) =>
  Effect.flatMap(Validator.Validator, (validator) => validator.validate(clientId, documentOf(clientId)))

const tiered = (url: Redacted.Redacted) => Layer.provide(PostgresCache.layerTiered(), PostgresClient.layer({ url }))

const registry = (url: Redacted.Redacted) => Layer.provide(PostgresRegistry.layer(), PostgresClient.layer({ url }))

const validator = Layer.provide(Validator.layer(), HostPolicy.layerPublic)

const noFetch = Layer.succeed(Fetcher.Fetcher, {
  fetch: () => Effect.dieMessage("The benchmark reads what is cached"),
  permit: () => Effect.dieMessage("The benchmark reads what is cached")
})

const memoryHit = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
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
    // When the tier begins to hear of changes it forgets what it had read before.
    yield* Effect.sleep("2 seconds")
    yield* resolver.resolve(id)
    if ((yield* resolver.resolve(id)).source !== "memory") return yield* Effect.dieMessage("Memory did not answer")
    const many = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function*() {
        for (let i = 0; i < 20_000; i++) yield* effect
      })
    const { ours, theirs } = yield* sideBySide(31, many(resolver.resolve(id)), many(effects.get(id)))
    return atMost(
      "memory hit, beside effect's own Cache",
      ours / theirs,
      0.6,
      `${micros(ours / 20_000)} against ${micros(theirs / 20_000)}, in the tier before Postgres`
    )
  }).pipe(Effect.provide(
    Resolver.layer().pipe(
      Layer.provideMerge(Layer.mergeAll(noFetch, Validator.layer(), tiered(url), registry(url))),
      Layer.provide(HostPolicy.layerPublic)
    )
  ))

// What a host would write: the row of one client, if it is fresh.
const bareQuery = "SELECT document, judgement FROM cimd_documents WHERE client_id = $1 AND expires_at > now()"

// The same of many clients at once, which is the least that a batch of reads can cost.
const bareBatch = {
  name: "batch",
  text: "SELECT client_id, document FROM cimd_documents WHERE client_id = ANY($1::text[]) AND expires_at > now()"
}

const fill = (prefix: string, count: number) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const document = yield* accepted(idOf(0))
    const table = sql(`${prefix}documents`)
    yield* sql`TRUNCATE ${table}`
    yield* sql`INSERT INTO ${table}
        (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until)
      SELECT url, 'https://app' || i % 1000 || '.example', ${document.ruleset},
        jsonb_set(${JSON.stringify(document.json)}::jsonb, '{client_id}', to_jsonb(url)),
        ${
      JSON.stringify({ authMethods: document.authMethods, neverMatched: [], warnings: [] })
    }::jsonb, now(), now() + interval '1 hour', now() + interval '1 hour'
      FROM generate_series(0, ${count - 1}) i, LATERAL (
        SELECT 'https://app' || i % 1000 || '.example/client-' || i || '.json' AS url
      ) AS urls`
    yield* sql`VACUUM ANALYZE ${table}`
  })

const serially = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 200; i++) yield* effect
  })

/** A cache over tables of its own, with so many rows. */
const filled = (prefix: string, count: number) =>
  Effect.gen(function*() {
    yield* Migrations.run({ prefix })
    yield* fill(prefix, count)
    return Context.get(yield* Layer.build(PostgresCache.layer({ prefix })), Cache.Cache)
  })

const reads = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const pool = (yield* Pool.ofClient(sql))?.pool
    if (pool === undefined) return yield* Effect.dieMessage("layerClient did not make this client")
    const validator = yield* Validator.Validator
    const cache = yield* filled("cimd_", 1000)
    let next = 0
    const id = () => idOf((next += 7919) % 1000)
    const ours = Effect.suspend(() => cache.get(id(), validator))
    const theirs = Effect.suspend(() => Effect.promise(() => pool.query(bareQuery, [id()])))
    const prepared = Effect.suspend(() =>
      Effect.promise(() => pool.query({ name: "read", text: bareQuery, values: [id()] }))
    )
    const concurrently = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.forEach(
        Array.from({ length: 64 }),
        // A host lets go of what it has read; to keep it would measure the garbage collector.
        () => Effect.forEach(Array.from({ length: 20 }), () => effect, { discard: true }),
        { concurrency: "unbounded", discard: true }
      )
    const batch = Effect.suspend(() =>
      Effect.promise(() => pool.query({ ...bareBatch, values: [Array.from({ length: 32 }, id)] }))
    )
    // Both batches of 64 concurrent reads, each on a connection of its own.
    const batches = Effect.all(
      Array.from({ length: 2 }, () => Effect.forEach(Array.from({ length: 20 }), () => batch, { discard: true })),
      { concurrency: "unbounded", discard: true }
    )
    // What was written just now is still on its way to the disk.
    yield* sql.unsafe("CHECKPOINT")
    const serial = yield* sideBySide(31, serially(ours), serially(theirs))
    const concurrent = yield* sideBySide(31, concurrently(ours), concurrently(prepared))
    const batched = yield* sideBySide(31, concurrently(ours), batches)

    return [
      atMost(
        "serial Postgres read, beside a bare query",
        serial.ours / serial.theirs,
        1.2,
        `${micros(serial.ours / 200)} against ${micros(serial.theirs / 200)}; ours is prepared`
      ),
      atLeast(
        "throughput of reads at 64 concurrent, beside one prepared query each",
        concurrent.theirs / concurrent.ours,
        4,
        `${Math.round(1280e9 / concurrent.ours)} against ${Math.round(1280e9 / concurrent.theirs)} reads a second`
      ),
      atLeast(
        "throughput of reads at 64 concurrent, beside two bare prepared queries of 32 each",
        batched.theirs / batched.ours,
        0.7,
        `${Math.round(1280e9 / batched.ours)} against ${Math.round(1280e9 / batched.theirs)} reads a second`
      )
    ]
  }).pipe(Effect.provide(Layer.merge(validator, PostgresClient.layer({ url, maxConnections: 10 }))))

const sizes = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const validator = yield* Validator.Validator
    const small = yield* filled("small_", 1000)
    const large = yield* filled("large_", 1_000_000)
    // A server is up for long: what it reads is in its buffers, and its process has touched each of them before.
    yield* sql.unsafe("CHECKPOINT")
    yield* sql.unsafe("SET enable_seqscan = off")
    yield* sql.unsafe("SET enable_sort = off")
    yield* sql.unsafe(
      "SELECT max(document::text) FROM (SELECT document FROM large_documents ORDER BY client_id) AS rows"
    )
    let near = 0
    let far = 0
    const { ours, theirs } = yield* sideBySide(
      31,
      serially(Effect.suspend(() => large.get(idOf((far += 104_729) % 1_000_000), validator))),
      serially(Effect.suspend(() => small.get(idOf((near += 7919) % 1000), validator)))
    )
    const [disk] = yield* sql<{ bytes: number }>`
      SELECT (pg_total_relation_size('large_documents') / 1000000.0)::float8 AS bytes`
    return [
      atMost(
        "read at 1,000,000 rows, beside 1,000 rows",
        ours / theirs,
        1.2,
        `${micros(ours / 200)} against ${micros(theirs / 200)}, all in the server's buffers`
      ),
      unlimited("bytes of disk per row", disk?.bytes ?? Number.NaN, "table and indexes at 1,000,000 rows")
    ]
  }).pipe(
    Effect.provide(
      // To fill the table takes longer than a connection may be silent. One connection, so that one process has touched all.
      Layer.merge(validator, PostgresClient.layer({ url, maxConnections: 1, socketTimeout: "5 minutes" }))
    )
  )

const sweeps = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const sql = yield* PgClient.PgClient
    const validator = yield* Validator.Validator
    // Some readers at a time, each over many of the rows that stay.
    const latencies = (until: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function*() {
        const times: Array<number> = []
        let next = 0
        const reading = Effect.forever(Effect.tap(
          timed(Effect.suspend(() => cache.get(idOf((next += 10) % 1_000_000), validator))),
          (time) => Effect.sync(() => times.push(time))
        ))
        yield* Effect.raceFirst(until, Effect.all([reading, reading, reading, reading], { concurrency: "unbounded" }))
        return percentile(times, 0.99)
      })
    const half = Effect.gen(function*() {
      yield* fill("cimd_", 2_000_000)
      yield* sql`UPDATE cimd_documents SET expires_at = now() - interval '1 second', kept_until = now() - interval '1 second' WHERE substr(reverse(client_id), 6, 1) >= '5'`
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
    for (let round = 0; round < 5; round++) {
      count = yield* half
      yield* beside(sql`DELETE FROM cimd_documents WHERE kept_until < now()`, plain)
      yield* half
      idle.push(yield* latencies(Effect.sleep("3 seconds")))
      busy.push(yield* beside(cache.sweep(), swept))
    }
    return [
      atMost(
        `sweep of ${count} of 2,000,000 rows, beside one plain DELETE`,
        median(swept) / median(plain),
        0.9,
        `${(median(swept) / 1e9).toFixed(2)} s against ${
          (median(plain) / 1e9).toFixed(2)
        } s, both beside the same reads, in a server as it is installed`
      ),
      atMost(
        "p99 of reads during the sweep, beside its idle value",
        median(busy) / median(idle),
        1.5,
        `${micros(median(busy))} against ${micros(median(idle))}, four readers at a time`
      )
    ]
  }).pipe(
    Effect.provide(
      Layer.merge(
        validator,
        Layer.provideMerge(
          PostgresCache.layer({ timeout: "1 minute" }),
          PostgresClient.layer({ url, maxConnections: 10, socketTimeout: "5 minutes" })
        )
      )
    )
  )

const memoryPerEntry = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const count = 20_000
    const now = yield* cache.now
    globalThis.gc?.()
    const before = process.memoryUsage().heapUsed
    yield* Effect.forEach(
      Array.from({ length: count }, (_, i) => i),
      (i) =>
        Effect.flatMap(accepted(idOf(i)), (document) => cache.put(document, { fetchedAt: now, timeToLive: "1 hour" })),
      { concurrency: 8, discard: true }
    )
    globalThis.gc?.()
    const bytes = (process.memoryUsage().heapUsed - before) / count
    return unlimited(
      "bytes of memory per entry of the memory tier",
      bytes,
      `a document of ${documentOf(idOf(0)).length} bytes`
    )
  }).pipe(Effect.provide(Layer.merge(validator, tiered(url))))

/** All rows of the cache. */
export const cache = (): Promise<ReadonlyArray<Row>> =>
  Effect.gen(function*() {
    const server = yield* Postgres.url
    const url = yield* Postgres.database(server)
    yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
    return [
      yield* memoryHit(url),
      yield* memoryPerEntry(url),
      ...(yield* Effect.scoped(reads(url))),
      // So that a read of a large table is measured, and not the machine's way to a page of a file.
      ...(yield* Effect.scoped(Effect.flatMap(Postgres.embedded({ settings: { shared_buffers: "1GB" } }), sizes))),
      ...(yield* sweeps(url))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await cache())
