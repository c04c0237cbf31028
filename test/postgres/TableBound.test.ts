import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, ClientRegistry, PostgresCache, PostgresClient, PostgresRegistry } from "effect-cimd"
import type { ClientId } from "effect-cimd"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { accepted, reader, ruleset } from "../support/documents.js"
import * as Postgres from "../support/postgres.js"

const bound = 2 ** 20

const nodes = (count: number, options: PostgresCache.Options = {}) =>
  Effect.replicateEffect(
    Effect.map(
      Layer.build(Layer.fresh(PostgresCache.layer({ maxTableBytes: bound, timeout: "20 seconds", ...options }))),
      Context.get(Cache.Cache)
    ),
    count
  )

const document = (clientId: string, note = "x".repeat(1000)) => accepted(clientId, { note })

const put = (cache: Cache.Cache["Type"], clientId: string, timeToLive: number | "1 day" = "1 day", note?: string) =>
  Effect.gen(function*() {
    const fetchedAt = yield* cache.now
    return yield* cache.put(document(clientId, note), { fetchedAt, timeToLive })
  })

/** The live bytes by what the columns really hold, and by what the nodes have reported. */
const table = Effect.flatMap(PgClient.PgClient, (sql) =>
  Effect.map(
    sql<{ texts: number; bytes: number; reported: number; rows: number }>`SELECT
      coalesce(sum(octet_length(document::text) + octet_length(judgement::text) + octet_length(client_id)), 0)::float8
        AS texts,
      coalesce(sum(bytes), 0)::float8 AS bytes, count(*)::integer AS rows,
      (SELECT bytes::float8 FROM cimd_usage) AS reported
      FROM cimd_documents WHERE document IS NOT NULL`,
    ([row]) => row!
  ))

const until = (holds: (found: Effect.Effect.Success<typeof table>) => boolean) =>
  Effect.retry(
    Effect.filterOrFail(table, holds, (found) => ({ _tag: "NotYet", found }) as const),
    { schedule: Schedule.spaced("100 millis"), times: 200 }
  )

/** Waits until the nodes have reported exactly what the rows take. */
const settled = until(({ bytes, reported }) => bytes === reported)

const served = (cache: Cache.Cache["Type"], clientIds: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(clientIds, (clientId) => cache.get(clientId as ClientId.ClientId, reader)),
    (entries) => entries.filter(Option.isSome).length
  )

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

describe("the bytes of the table", () => {
  it.scopedLive("CAC-25: are reported exactly, whatever writes and deletes the rows", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache, other] = yield* nodes(2, { maxPerSite: 5 })
      // A write during the first measurement may count twice.
      yield* Effect.repeat(
        sql`SELECT 1 FROM cimd_usage WHERE measured_at > '-infinity' AND claimed_until = '-infinity'`,
        {
          until: (rows) => rows.length === 1
        }
      )
      const url = (i: number) => `https://app.example/${i}`
      const clientId = (i: number) => url(i) as ClientId.ClientId
      // More of a site than it may have, twice, with documents of other sizes, by two nodes.
      yield* Effect.forEach(
        range(30),
        (i) => put(i % 2 === 0 ? cache! : other!, url(i % 7), "1 day", "y".repeat(i * 20))
      )
      yield* put(cache!, "https://other.example/1")
      yield* put(cache!, "https://other.example/2", 1)
      yield* put(cache!, "https://other.example/3")
      const { bytes, rows, texts } = yield* settled
      expect(rows).toBe(8)
      expect(bytes).toBeGreaterThan(texts)
      expect(bytes).toBeLessThan(texts + 500 * rows)

      yield* cache!.evict("https://other.example/1" as ClientId.ClientId)
      yield* cache!.evict("https://other.example/1" as ClientId.ClientId)
      yield* other!.supersede("https://other.example/3" as ClientId.ClientId, yield* other!.now)
      yield* other!.evict(clientId(1000))
      yield* put(other!, "https://other.example/1")
      const after = yield* settled
      expect(after.rows).toBe(7)
      expect(after.bytes).toBeLessThan(bytes)

      // A write that is refused changes nothing.
      const earlier = yield* cache!.now
      yield* put(cache!, "https://other.example/1")
      expect(yield* cache!.put(document("https://other.example/1", ""), { fetchedAt: earlier, timeToLive: 1 })).toBe(
        false
      )
      yield* settled

      // A sweep asks for a measurement, which also finds what others have deleted or written.
      yield* sql`DELETE FROM cimd_documents WHERE client_id LIKE 'https://app.example/%'`
      yield* cache!.sweep()
      expect(yield* sql`SELECT outdated FROM cimd_usage`).toEqual([{ outdated: true }])
      yield* put(cache!, "https://other.example/4")
      expect((yield* settled).rows).toBe(2)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-25: are reported when a node stops, and measured after one was lost", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const scope = yield* Scope.make()
      const [leaving] = yield* Scope.extend(nodes(1), scope)
      yield* put(leaving!, "https://app.example/1")
      yield* Scope.close(scope, Exit.void)
      const { bytes, reported } = yield* table
      expect(reported).toBe(bytes)

      // What a crash leaves: rows that nobody reported, and a claim that nobody releases.
      yield* sql`UPDATE cimd_usage SET bytes = 5, measured_at = now() - interval '11 minutes',
        claimed_until = now() + interval '2 seconds'`
      const [next] = yield* nodes(1)
      // Each report tries to measure, and a document of another size is reported.
      let size = 0
      const putOther = Effect.suspend(() => put(next!, "https://app.example/2", "1 day", "x".repeat(size++)))
      const reporting = yield* Effect.forkScoped(Effect.forever(Effect.zipRight(putOther, Effect.sleep("500 millis"))))
      yield* until(({ bytes, reported, rows }) => rows === 2 && bytes === reported)
      yield* Fiber.interrupt(reporting)
      // A row of usage that is gone is written again.
      yield* sql`DELETE FROM cimd_usage`
      yield* put(next!, "https://app.example/2", "1 day", "")
      expect((yield* settled).rows).toBe(2)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive(
    "CAC-25: never exceed the bound by more than a tenth while nodes write at once, without a sweeper",
    () =>
      Effect.gen(function*() {
        const caches = yield* nodes(4, { maxPerSite: 10_000 })
        let worst = 0
        const watching = yield* Effect.forkScoped(Effect.forever(Effect.tap(table, ({ bytes, texts }) =>
          Effect.sync(() => {
            worst = Math.max(worst, bytes, texts)
          }))))
        // Twice the bound: new clients, and clients whose documents grow and shrink.
        yield* Effect.forEach(range(1600), (i) => {
          const clientId = i % 3 === 0
            ? `https://site${i % 50}.example/${i % 200}`
            : `https://site${i % 97}.example/c/${i}`
          return put(caches[i % 4]!, clientId, "1 day", "z".repeat(i % 5 === 0 ? 3000 : 200))
        }, { concurrency: 40 })
        const { rows } = yield* table
        yield* Fiber.interrupt(watching)
        expect(worst / bound).toBeGreaterThan(0.9)
        expect(worst / bound).toBeLessThan(1.1)
        expect(rows).toBeGreaterThan(300)
      }).pipe(
        Effect.provide(Layer.unwrapScoped(Effect.map(Postgres.migratedUrl, (url) =>
          PostgresClient.layer({ url, pooler: Postgres.pooler, maxConnections: 10 }))))
      ),
    120_000
  )

  it.scopedLive("CAC-25: are brought below a bound that was lowered, when a node starts", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO cimd_documents
          (client_id, origin, site, domain, bytes, ruleset, document, judgement, fetched_at, expires_at, kept_until)
        SELECT 'https://s' || i % 40 || '.example/' || i, '', 's' || i % 40 || '.example', 's' || i % 40 || '.example', 2000,
          ${ruleset}, '{}', '{}', now() - i * interval '1 second', until, until
        FROM generate_series(1, 5000) i, LATERAL (SELECT now() + interval '1 hour' AS until) AS later`
      yield* nodes(2)
      const { rows } = yield* until(({ bytes }) => bytes <= 0.951 * bound)
      expect(rows).toBe(Math.floor((0.95 * bound) / 2000))
      yield* settled
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-25: a write waits while the table is too full, and fails if nothing can be evicted", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { timeout: "500 millis" })
      yield* put(cache!, "https://app.example/1")
      yield* sql`UPDATE cimd_documents SET bytes = ${2 * bound}`
      yield* sql`UPDATE cimd_usage SET outdated = true`
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT 1 FROM cimd_documents FOR UPDATE`
        // The node learns that the table is full by one of its reports.
        const error = yield* Effect.retry(Effect.flip(put(cache!, "https://app.example/2")), {
          schedule: Schedule.spaced("100 millis"),
          times: 100
        })
        expect(error).toMatchObject({ _tag: "CacheError", operation: "put" })
      }))
      expect(yield* put(cache!, "https://app.example/2")).toBe(true)
      expect((yield* table).rows).toBe(1)
    }).pipe(Effect.provide(Postgres.migrated)))
})

describe("the order of eviction", () => {
  const honest = range(20).map((i) => `https://honest${i}.example/client.json`)

  for (
    const [name, urlOf] of [
      ["one site", (i: number) => `https://attacker.example/${i}`],
      ["a thousand sites", (i: number) => `https://attacker${i % 1000}.example/${i}`]
    ] as const
  ) {
    it.scopedLive(`CAC-26: documents of ${name} with a long lifetime displace no honest ones with a short lifetime`, () =>
      Effect.gen(function*() {
        const [cache] = yield* nodes(1, { maxTableBytes: 8 * bound, maxPerSite: 100_000 })
        const sql = yield* PgClient.PgClient
        yield* Effect.forEach(honest, (clientId) => put(cache!, clientId, 300_000))
        // As puts leave it, in less time: 24 MiB of 3,000 bytes each.
        yield* sql`INSERT INTO cimd_documents
            (client_id, origin, site, domain, bytes, ruleset, document, judgement, fetched_at, expires_at, kept_until)
          SELECT url, '', host, host, 3000, ${ruleset}, '{}', '{}', now() + i * interval '1 microsecond', until, until
          FROM unnest(${range(8000).map(urlOf)}::text[]) WITH ORDINALITY AS given (url, i),
            LATERAL (SELECT substring(url FROM '//([^/]*)/') AS host) AS hosts,
            LATERAL (SELECT now() + interval '1 day' AS until) AS later`
        yield* sql`UPDATE cimd_usage SET outdated = true`
        yield* put(cache!, "https://attacker.example/last")
        const { bytes } = yield* until(({ bytes }) => bytes <= 8 * bound)
        expect(bytes).toBeGreaterThan(7.5 * bound)
        expect(yield* served(cache!, honest)).toBe(20)
      }).pipe(Effect.provide(Postgres.migrated)))
  }

  it.scopedLive("CAC-26: what has expired goes first, then strangers, then confirmed clients by their last use", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const scope = yield* Scope.make()
      const [cache] = yield* Scope.extend(nodes(1), scope)
      const registry = yield* Effect.map(
        Layer.build(PostgresRegistry.layer()),
        Context.get(ClientRegistry.ClientRegistry)
      )
      const clientIds = ["expired", "stranger", "lapsed", "used-before", "used-later"].map((name) =>
        `https://${name}.example/`
      )
      const [expired, stranger, lapsed, before, later] = clientIds as [string, string, string, string, string]
      for (const clientId of [before, later, lapsed]) {
        yield* registry.confirm({ document: document(clientId), fetchedAt: yield* cache!.now })
      }
      // The newest fetch, and the longest lifetime, are those of the strangers.
      for (const clientId of [later, before, lapsed, stranger]) yield* put(cache!, clientId)
      yield* put(cache!, expired, 1)
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '91 days' WHERE client_id = ${lapsed}`
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '1 day' WHERE client_id = ${before}`
      yield* Scope.close(scope, Exit.void)
      const left = Effect.map(
        sql<{ client_id: string }>`SELECT client_id FROM cimd_documents ORDER BY fetched_at`,
        (rows) => rows.map(({ client_id }) => client_id)
      )
      // Each document takes as much as is evicted.
      for (
        const [bytes, rest] of [
          [0.21, [later, before, lapsed, stranger]],
          [0.26, [later, before, stranger]],
          [0.34, [later, before]],
          [0.51, [later]]
        ] as const
      ) {
        yield* sql`UPDATE cimd_documents SET bytes = ${Math.ceil(bytes * bound)}`
        yield* sql`UPDATE cimd_usage SET outdated = true`
        yield* Effect.scoped(Effect.gen(function*() {
          const [cache] = yield* nodes(1)
          yield* cache!.sweep({ batchSize: 1 })
          yield* until(({ bytes }) => bytes <= bound)
        }))
        expect(yield* left).toEqual(rest)
      }
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-26: a domain that gives sites away has the share of sixteen sites", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO cimd_documents
          (client_id, origin, site, domain, bytes, ruleset, document, judgement, fetched_at, expires_at, kept_until)
        SELECT 'https://' || site || '/', 'https://' || site, site, domain, 2000, ${ruleset}, '{}', '{}',
          now() + age * interval '1 second', until, until
        FROM (
          SELECT 'tenant' || i || '.pages.dev' AS site, 'pages.dev' AS domain, i AS age FROM generate_series(1, 600) AS i
          UNION ALL SELECT 'own' || i || '.example', 'own' || i || '.example', -i FROM generate_series(1, 100) AS i
        ) AS sites, LATERAL (SELECT now() + interval '1 hour' AS until) AS later`
      yield* nodes(1)
      yield* until(({ bytes }) => bytes <= 0.951 * bound)
      expect(
        yield* sql`SELECT domain = 'pages.dev' AS pages, count(*)::integer FROM cimd_documents GROUP BY 1 ORDER BY 1`
      )
        .toEqual([{ pages: false, count: 100 }, { pages: true, count: Math.floor((0.95 * bound) / 2000) - 100 }])
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: a site that is full loses strangers before confirmed clients, and its ports are not sites", () =>
    Effect.gen(function*() {
      const [cache] = yield* nodes(1, { maxPerSite: 3 })
      const registry = yield* Effect.map(
        Layer.build(PostgresRegistry.layer()),
        Context.get(ClientRegistry.ClientRegistry)
      )
      const confirmed = ["https://app.example/a", "https://app.example/b"]
      for (const clientId of confirmed) {
        yield* registry.confirm({ document: document(clientId), fetchedAt: yield* cache!.now })
        yield* put(cache!, clientId, 1000)
      }
      const strangers = range(6).map((i) => `https://app.example:${8000 + i}/`)
      for (const clientId of strangers) yield* put(cache!, clientId)
      expect(yield* served(cache!, confirmed)).toBe(2)
      expect(yield* served(cache!, strangers)).toBe(1)
      expect(yield* served(cache!, strangers.slice(-1))).toBe(1)
    }).pipe(Effect.provide(Postgres.migrated)))
})
