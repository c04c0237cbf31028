import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it, layer } from "@effect/vitest"
import { Cache, Migrations, PostgresCache } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { mkdtemp, rm } from "node:fs/promises"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Bounded from "../src/internal/bounded.js"
import * as metrics from "../src/internal/metrics.js"
import * as PostgresStore from "../src/internal/postgresStore.js"
import * as Tables from "../src/internal/tables.js"
import { cacheSuite } from "./support/cacheSuite.js"
import { accepted, ruleset } from "./support/documents.js"
import * as Postgres from "./support/postgres.js"

cacheSuite("PostgresCache.layer", Layer.provide(PostgresCache.layer(), Postgres.migrated))

cacheSuite("PostgresCache.layerTiered", Layer.provide(PostgresCache.layerTiered(), Postgres.migrated))

cacheSuite(
  "PostgresCache.layerTiered without notifications",
  Layer.provide(PostgresCache.layerTiered({ notifications: false }), Postgres.migrated)
)

cacheSuite(
  "PostgresCache.layer with names of its own",
  PostgresCache.layer({ schema: "identity", prefix: "oauth_" }).pipe(
    Layer.provide(Migrations.layer({ schema: "identity", prefix: "oauth_" })),
    Layer.provide(Postgres.empty)
  )
)

cacheSuite(
  "PostgresCache.layer over a client that renames columns",
  Layer.provide(
    PostgresCache.layer(),
    Layer.unwrapScoped(Effect.map(Postgres.migratedUrl, (url) =>
      PgClient.layer({
        url,
        transformResultNames: (name) => name.toUpperCase(),
        transformQueryNames: (name) => name.toLowerCase(),
        transformJson: true
      })))
  )
)

const ownClient = Layer.unwrapScoped(
  Effect.map(Postgres.migratedUrl, (url) => PostgresCache.layerClient({ url, maxConnections: 5 }))
)

cacheSuite("PostgresCache.layer over layerClient", Layer.provide(PostgresCache.layer(), ownClient))

cacheSuite("PostgresCache.layerTiered over layerClient", Layer.provide(PostgresCache.layerTiered(), ownClient))

const startFailure = <R, E>(cache: Layer.Layer<Cache.Cache, PostgresCache.CacheUnavailable | E, R>) =>
  Effect.flip(Effect.scoped(Layer.build(cache)))

describe("CAC-08: a cache that cannot work does not start", () => {
  it.live("a server that is away", () =>
    Effect.gen(function*() {
      const away = { url: Redacted.make("postgresql://nobody@127.0.0.1:1/none"), connectTimeout: "1 second" } as const
      const error = yield* startFailure(Layer.provide(PostgresCache.layer(), PostgresCache.layerClient(away)))
      expect(error).toMatchObject({ _tag: "CacheUnavailable", reason: "Unreachable" })
      expect(error.message).toContain("psql \"$DATABASE_URL\"")
    }))

  it.live("a server that goes away between the client and the cache", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const url = yield* Scope.extend(PostgresServer.embedded(), scope)
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* Layer.build(PgClient.layer({ url }))
        yield* Scope.close(scope, Exit.void)
        return yield* Effect.provide(startFailure(PostgresCache.layer()), client)
      }))
      expect(error).toMatchObject({ _tag: "CacheUnavailable", reason: "Unreachable" })
    }))

  it.live("a database without the tables", () =>
    Effect.gen(function*() {
      const error = yield* Effect.provide(startFailure(PostgresCache.layer()), Postgres.empty)
      expect(error).toMatchObject({ _tag: "CacheUnavailable", reason: "MissingTables" })
      expect(error.message).toContain("npx cimd migrate")
    }))

  it.live("a schema that is not there", () =>
    Effect.gen(function*() {
      const error = yield* Effect.provide(startFailure(PostgresCache.layer({ schema: "nowhere" })), Postgres.migrated)
      expect(error).toMatchObject({ _tag: "CacheUnavailable", reason: "MissingTables" })
    }))

  for (
    const [version, reason, command] of [
      [0, "OlderTables", "npx cimd migrate"],
      [1000, "NewerTables", "npm install effect-cimd@latest"]
    ] as const
  ) {
    it.live(`tables of version ${version}`, () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`UPDATE cimd_state SET version = ${version}`
        const error = yield* startFailure(PostgresCache.layer())
        expect(error).toMatchObject({ _tag: "CacheUnavailable", reason })
        expect(error.message).toContain(command)
      }).pipe(Effect.provide(Postgres.migrated)))
  }

  it.live("a user without the right to read", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const role = `cimd_reader_${process.pid}`
      const asOwner = (statement: string) =>
        Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(Effect.provide(PgClient.layer({ url })))
      yield* Effect.acquireRelease(
        asOwner(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`),
        () => Effect.orDie(asOwner(`DROP ROLE ${role}`))
      )
      const asReader = new URL(Redacted.value(url))
      asReader.username = role
      asReader.password = "reader"
      const error = yield* startFailure(
        Layer.provide(PostgresCache.layer(), PgClient.layer({ url: Redacted.make(asReader.href) }))
      )
      expect(error).toMatchObject({ _tag: "CacheUnavailable", reason: "Refused" })
    }).pipe(Effect.scoped))

  it.live("table names that are none", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(startFailure(PostgresCache.layer({ prefix: "x\"; DROP TABLE y; --" })))
      expect(String(exit)).toContain("a table prefix or schema name")
    }).pipe(Effect.provide(Postgres.migrated)))
})

layer(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated), { excludeTestServices: true })(
  "PostgresCache rows",
  (it) => {
    const damages: Record<string, string> = {
      "no object": `document = '[]'`,
      "a member of another type": `document = jsonb_set(document, '{redirect_uris}', '5')`,
      "another client": `document = jsonb_set(document, '{client_id}', '"https://other.example/"')`,
      "a judgement of another form": `judgement = '{}'`
    }
    for (const [damage, assignment] of Object.entries(damages)) {
      it.effect(`CAC-11: a damaged row is a miss, is counted, and is replaced: ${damage}`, () =>
        Effect.gen(function*() {
          const cache = yield* Cache.Cache
          const sql = yield* PgClient.PgClient
          const document = accepted(`https://app.example/${encodeURIComponent(damage)}`)
          const put = Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" }))
          const damaged = Effect.map(Metric.value(metrics.damagedRows), ({ count }) => count)
          yield* put
          yield* sql.unsafe(`UPDATE cimd_documents SET ${assignment} WHERE client_id = $1`, [document.clientId])
          const before = yield* damaged
          expect(yield* cache.get(document.clientId, ruleset)).toEqual(Option.none())
          expect(yield* damaged).toBe(before + 1)
          yield* put
          expect(Option.isSome(yield* cache.get(document.clientId, ruleset))).toBe(true)
        }))
    }

    it.effect("CAC-07: the database's clock decides, not the node's", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const document = accepted("https://app.example/clock")
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        const [row] = yield* sql<{ left: number; age: number }>`SELECT
          extract(epoch FROM expires_at - now())::float8 AS left, extract(epoch FROM now() - fetched_at)::float8 AS age
          FROM cimd_documents WHERE client_id = ${document.clientId}`
        expect(row!.left).toBeGreaterThan(3590)
        expect(row!.left).toBeLessThanOrEqual(3600)
        expect(row!.age).toBeGreaterThanOrEqual(0)
        yield* sql`UPDATE cimd_documents SET expires_at = now() WHERE client_id = ${document.clientId}`
        expect(yield* cache.get(document.clientId, ruleset)).toEqual(Option.none())
      }))

    it.effect("a caller's transaction neither lends its clock nor takes what was put back with it", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const document = accepted("https://app.example/transaction")
        yield* Effect.ignore(sql.withTransaction(Effect.gen(function*() {
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
          return yield* Effect.fail("roll back")
        })))
        expect(Option.isSome(yield* cache.get(document.clientId, ruleset))).toBe(true)
      }))

    it.scoped("SWP-01: a row that expires exactly at the boundary stays", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const store = PostgresStore.make(sql, Tables.resolve(), yield* Bounded.make("2 seconds"), {
          staleFor: 0,
          maxPerOrigin: 10,
          maxDocuments: 10,
          nodeId: "test",
          announce: false
        })
        yield* (yield* Cache.Cache).sweep()
        const boundary = yield* store.boundary
        yield* sql`INSERT INTO cimd_documents (client_id, origin, ruleset, fetched_at, expires_at) VALUES
          ('https://app.example/before', '', '', now(), ${boundary}::timestamptz - interval '1 microsecond'),
          ('https://app.example/exactly', '', '', now(), ${boundary}::timestamptz)`
        yield* store.sweepDocuments(boundary, 10)
        const left = yield* sql`SELECT client_id FROM cimd_documents WHERE expires_at <= ${boundary}::timestamptz`
        expect(left).toEqual([{ client_id: "https://app.example/exactly" }])
        yield* sql`DELETE FROM cimd_documents`
      }))

    it.effect("SWP-04: a sweep does not wait for a row that someone is writing", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        yield* cache.sweep()
        yield* sql`INSERT INTO cimd_documents (client_id, origin, ruleset, fetched_at, expires_at)
          SELECT 'https://app.example/locked-' || i, '', '', now(), now() - interval '1 second' FROM generate_series(1, 5) i`
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT 1 FROM cimd_documents WHERE client_id = 'https://app.example/locked-3' FOR UPDATE`
          expect(yield* cache.sweep()).toMatchObject({ documents: 4 })
        }))
        expect(yield* cache.sweep()).toMatchObject({ documents: 1 })
      }))

    it.effect("a client identifier of the greatest length fits the index", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const noise = Array.from({ length: 2000 }, (_, i) => ((i * 7919 + (i >> 3) * 104729) % 36).toString(36)).join(
          ""
        )
        const document = accepted(`https://app.example/${noise}`.padEnd(2048, "z"))
        expect(yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })).toBe(true)
        expect(Option.isSome(yield* cache.get(document.clientId, ruleset))).toBe(true)
      }))
  }
)

describe("PostgresCache.layerClient", () => {
  it.scopedLive("connects through the sockets of the host, also to listen", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value(yield* Postgres.migratedUrl))
      const server = { host: url.hostname, port: Number(url.port) }
      // As where a connector makes the sockets: the address in the URL leads nowhere.
      url.port = "1"
      const client = PostgresCache.layerClient({
        url: Redacted.make(url.href),
        stream: () =>
          new (class extends Socket {
            override connect() {
              return super.connect(server)
            }
          })()
      })
      const listening = Effect.map(Metric.value(metrics.listening), ({ value }) => value)
      yield* Layer.build(Layer.provide(PostgresCache.layerTiered(), client))
      yield* Effect.repeat(Effect.delay(listening, "10 millis"), { until: (heard) => heard === 1 }).pipe(
        Effect.timeout("5 seconds")
      )
    }))

  it.scopedLive("prepares the reads once on each connection, unless told not to", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const prepared = (prepare: boolean | undefined) =>
        Effect.gen(function*() {
          const cache = yield* Cache.Cache
          const sql = yield* PgClient.PgClient
          const document = accepted("https://app.example/prepared")
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
          for (let i = 0; i < 3; i++) {
            expect(Option.isSome(yield* cache.get(document.clientId, ruleset))).toBe(true)
          }
          const [row] = yield* sql<{ count: number }>`SELECT count(*)::integer AS count FROM pg_prepared_statements`
          return row!.count
        }).pipe(Effect.provide(
          Layer.provideMerge(PostgresCache.layer(), PostgresCache.layerClient({ url, prepare, maxConnections: 1 }))
        ))
      expect(yield* prepared(undefined)).toBe(1)
      expect(yield* prepared(false)).toBe(0)
    }))
})

describe("Migrations", () => {
  it.live("run once, however many processes begin at the same moment", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      const migrator = Effect.provide(Migrations.run(), Layer.fresh(PgClient.layer({ url, maxConnections: 1 })))
      const runs = yield* Effect.all(Array.from({ length: 6 }, () => migrator), { concurrency: "unbounded" })
      expect(runs.flat()).toEqual([[1, "client_metadata_documents"]])
    }).pipe(Effect.scoped))

  it.live("a migration that fails is a typed error and leaves nothing behind", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE cimd_state (unrelated integer)`
      const error = yield* Effect.flip(Migrations.run())
      expect(error).toMatchObject({ _tag: "MigrationError", reason: "failed" })
      const [tables] = yield* sql<{ count: string }>`SELECT count(*) FROM pg_tables WHERE tablename LIKE 'cimd_%'`
      expect(tables!.count).toBe("1")
    }).pipe(Effect.provide(Postgres.empty)))
})

describe("CAC-09: a database that goes away at run time", () => {
  const clients = {
    "PgClient": (url: Redacted.Redacted) => Layer.orDie(PgClient.layer({ url })),
    "PostgresCache.layerClient": (url: Redacted.Redacted) => Layer.orDie(PostgresCache.layerClient({ url }))
  }
  it.live.each(Record.toEntries(clients))(
    "gives typed errors within the deadline, and is used again when it is back (%s)",
    ([, client]) =>
      Effect.gen(function*() {
        const dataDirectory = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "effect-cimd-restart-"))),
          (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
        )
        const start = (port?: number) =>
          Effect.gen(function*() {
            const scope = yield* Scope.make()
            const url = yield* Scope.extend(PostgresServer.embedded({ dataDirectory, port }), scope)
            return { url, stop: Scope.close(scope, Exit.void) }
          })
        const first = yield* start()
        const context = yield* Layer.build(
          PostgresCache.layer({ timeout: "1 second" }).pipe(
            Layer.provide(Migrations.layer()),
            Layer.provide(client(first.url))
          )
        )
        const cache = yield* Effect.provide(Cache.Cache, context)
        const document = accepted("https://app.example/restart")
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        yield* first.stop

        const began = Date.now()
        const failures = yield* Effect.all([
          Effect.flip(cache.get(document.clientId, ruleset)),
          Effect.flip(cache.put(document, { fetchedAt: 0n, timeToLive: "1 hour" })),
          Effect.flip(cache.evict(document.clientId)),
          Effect.flip(cache.evictAll),
          Effect.flip(cache.sweep()),
          Effect.flip(cache.now)
        ])
        expect(failures.map(({ _tag, operation }) => [_tag, operation])).toEqual(
          ["get", "put", "evict", "evictAll", "sweep", "now"].map((operation) => ["CacheError", operation])
        )
        expect(Date.now() - began).toBeLessThan(6 * 1000 + 500)

        yield* Effect.acquireRelease(start(Number(new URL(Redacted.value(first.url)).port)), ({ stop }) => stop)
        expect(Option.isSome(yield* cache.get(document.clientId, ruleset))).toBe(true)
      }).pipe(Effect.scoped)
  )
})
