import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, ClientRegistry, PostgresCache, Sweeper } from "effect-cimd"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as metrics from "../src/internal/metrics.js"
import * as Seal from "../src/internal/postgres/notificationSeal.js"
import * as PostgresOptions from "../src/internal/postgres/options.js"
import * as Statements from "../src/internal/postgres/sqlFragments.js"
import * as Timeout from "../src/internal/postgres/statementTimeout.js"
import * as Sweep from "../src/internal/postgres/sweep.js"
import * as TableNames from "../src/internal/postgres/tableNames.js"
import * as TableUsage from "../src/internal/postgres/tableUsage.js"
import { accepted, reader } from "./support/documents.js"
import * as Postgres from "./support/postgres.js"

const expired = (count: number) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql`INSERT INTO cimd_documents
          (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until)
        SELECT 'https://app.example/' || i, 'https://app.example', 'test-1',
          jsonb_build_object('client_id', 'https://app.example/' || i, 'redirect_uris', '["https://app.example/callback"]'::jsonb),
          '{"authMethods": ["none"], "neverMatched": [], "warnings": []}', now(), until, until
        FROM generate_series(1, ${count}) i, LATERAL (SELECT now() - i * interval '1 second' AS until) AS earlier`
  )

const rows = Effect.flatMap(
  PgClient.PgClient,
  (sql) => sql<{ count: number }>`SELECT count(*)::int FROM cimd_documents`
)
  .pipe(Effect.map(([row]) => row!.count))

/** The sweeper over an empty registry. */
const sweeping = (options: Sweeper.Options) => Layer.provide(Sweeper.layer(options), ClientRegistry.layerMemory())

/** A cache that counts its sweeps, the first of which end with these failures. */
const counting = (failures: ReadonlyArray<Effect.Effect<never, Cache.CacheError>>) =>
  Effect.gen(function*() {
    const cache = yield* Effect.provide(Cache.Cache, Cache.layerMemory())
    const sweeps: Array<number> = []
    return {
      sweeps,
      layer: Layer.succeed(Cache.Cache, {
        ...cache,
        sweep: (options) =>
          Effect.suspend(() => {
            sweeps.push(sweeps.length)
            return failures[sweeps.length - 1] ?? cache.sweep(options)
          })
      })
    }
  })

describe("Sweeper", () => {
  it.live("SWP-07: sweepNow returns how many rows were deleted from each table", () =>
    Effect.gen(function*() {
      const sweeper = yield* Sweeper.Sweeper
      yield* expired(12)
      expect(yield* sweeper.sweepNow).toEqual({ documents: 12, leases: 0, clients: 0, audit: 0 })
      expect(yield* sweeper.sweepNow).toEqual({ documents: 0, leases: 0, clients: 0, audit: 0 })
    }).pipe(
      Effect.provide(sweeping({ interval: "1 hour", batchSize: 5 })),
      Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))
    ))

  it.live("SWP-06: sweeps on its schedule, and stops with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      yield* Scope.extend(Layer.build(sweeping({ interval: "30 millis" })), scope)
      yield* expired(3)
      yield* Effect.repeat(Effect.delay(rows, "10 millis"), { until: (count) => count === 0 }).pipe(
        Effect.timeout("5 seconds")
      )
      yield* Scope.close(scope, Exit.void)
      yield* expired(3)
      yield* Effect.sleep("150 millis")
      expect(yield* rows).toBe(3)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-07, REG-04, REG-13: sweepNow also deletes lapsed clients and the old audit of the registry", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const { sweepNow } = yield* Sweeper.Sweeper
      yield* registry.confirm({ document: accepted("https://app.example/lapsed"), fetchedAt: undefined })
      yield* registry.block("abuse.example", { reason: "a test" })
      yield* Effect.sleep("20 millis")
      expect(yield* sweepNow).toEqual({ documents: 0, leases: 0, clients: 1, audit: 1 })
      expect(yield* sweepNow).toEqual({ documents: 0, leases: 0, clients: 0, audit: 0 })
    }).pipe(
      Effect.provide(Sweeper.layer({ interval: "1 hour" })),
      Effect.provide(Layer.merge(
        Cache.layerMemory(),
        ClientRegistry.layerMemory({ forgetAfter: "10 millis", auditFor: "10 millis" })
      ))
    ))

  const cacheFails = new Cache.CacheError({ operation: "sweep", cause: new Error("away") })
  const registryFails = new ClientRegistry.RegistryError({ operation: "sweep", cause: new Error("away") })

  for (
    const [name, fails] of [
      ["the cache", [cacheFails, undefined]],
      ["the registry", [undefined, registryFails]],
      ["both", [cacheFails, registryFails]]
    ] as const
  ) {
    it.live(`SWP-06: sweeps cache and registry although ${name} fails, and reports and counts the failure`, () =>
      Effect.gen(function*() {
        const [cache, registry] = yield* Effect.provide(
          Effect.all([Cache.Cache, ClientRegistry.ClientRegistry]),
          Layer.merge(Cache.layerMemory(), ClientRegistry.layerMemory())
        )
        const swept: Array<string> = []
        const sweep = <A, E>(store: string, effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            swept.push(store)
            return effect
          })
        const services = Layer.merge(
          Layer.succeed(Cache.Cache, {
            ...cache,
            sweep: () => sweep("cache", fails[0] ?? cache.sweep())
          }),
          Layer.succeed(ClientRegistry.ClientRegistry, {
            ...registry,
            sweep: sweep("registry", fails[1] ?? registry.sweep)
          })
        )
        const failed = Effect.map(Metric.value(metrics.sweepsFailed), ({ count }) => count)
        const before = yield* failed
        const cause = yield* Effect.flatMap(Sweeper.Sweeper, ({ sweepNow }) => Effect.flip(Effect.sandbox(sweepNow)))
          .pipe(Effect.provide(Layer.provide(Sweeper.layer({ interval: "1 hour" }), services)))
        expect(swept).toEqual(["cache", "registry"])
        expect(Chunk.toReadonlyArray(Cause.failures(cause))).toEqual(fails.filter((error) => error !== undefined))
        expect(yield* failed).toBe(before + 1)
      }))
  }

  it.effect("sweeps once per interval, give or take a tenth", () =>
    Effect.gen(function*() {
      const { layer, sweeps } = yield* counting([])
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* TestClock.adjust("8 minutes")
          expect(sweeps.length).toBe(0)
          yield* TestClock.adjust("4 minutes")
          expect(sweeps.length).toBe(1)
          yield* Effect.forEach(Array.from({ length: 880 }), () => TestClock.adjust("1 minute"))
          expect(sweeps.length).toBeGreaterThan(80)
          expect(sweeps.length).toBeLessThan(100)
        }),
        Layer.provide(sweeping({ interval: "10 minutes" }), layer)
      )
    }))

  it.effect("SWP-06: counts a failed sweep, also one with a defect, and tries again in the next turn", () =>
    Effect.gen(function*() {
      const failure = new Cache.CacheError({ operation: "sweep", cause: new Error("away") })
      const { layer, sweeps } = yield* counting([Effect.fail(failure), Effect.die("defect")])
      const failed = Effect.map(Metric.value(metrics.sweepsFailed), ({ count }) => count)
      const before = yield* failed
      yield* Effect.provide(
        Effect.forEach(Array.from({ length: 5 }), () => TestClock.adjust("11 minutes")),
        Layer.provide(sweeping({ interval: "10 minutes" }), layer)
      )
      expect(sweeps.length).toBeGreaterThanOrEqual(4)
      expect(yield* failed).toBe(before + 2)
    }))

  it.live("SWP-06: an interrupted sweep ends between two batches", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      yield* expired(20_000)
      const sweep = yield* Effect.fork(cache.sweep({ batchSize: 10 }))
      yield* Effect.repeat(Effect.delay(rows, "5 millis"), { until: (count) => count < 20_000 })
      yield* Fiber.interrupt(sweep)
      const left = yield* rows
      expect(left).toBeGreaterThan(0)
      expect(left % 10).toBe(0)
      yield* Effect.sleep("50 millis")
      expect(yield* rows).toBe(left)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-04: skips rows that another session is writing, whatever their batch", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* expired(1000)
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT 1 FROM cimd_documents WHERE client_id IN ('https://app.example/1', 'https://app.example/700')
          FOR UPDATE`
        expect(yield* Effect.timeout(cache.sweep({ batchSize: 100 }), "5 seconds")).toMatchObject({ documents: 998 })
      }))
      expect(yield* cache.sweep()).toMatchObject({ documents: 2 })
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-04: a concurrent writer of rows in a batch loses none, and does not end in a deadlock", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* expired(20_000)
      // The writer locks one row, then asks for more that the sweep may have locked while it waits for this one.
      const held = yield* Deferred.make<void>()
      const keep = (path: string) =>
        sql`UPDATE cimd_documents SET kept_until = now() + interval '1 hour'
          WHERE client_id = ${`https://app.example/${path}`} RETURNING 1`
      const writer = sql.withTransaction(Effect.gen(function*() {
        const first = yield* keep("15000")
        yield* Deferred.succeed(held, undefined)
        const others = yield* Effect.forEach(["100", "9000", "3"], (path) => Effect.delay(keep(path), "3 millis"))
        return [first, ...others]
      }))
      const sweep = Effect.zipRight(Deferred.await(held), cache.sweep({ batchSize: 20_000 }))
      const [written, swept] = yield* Effect.all([writer, sweep], { concurrency: "unbounded" })
      // Rows that the sweep deleted first are gone, and those that the writer updated first are kept.
      const kept = written.flat().length
      expect(kept).toBeGreaterThan(0)
      expect([yield* rows, swept.documents]).toEqual([kept, 20_000 - kept])
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  /** Runs a body on each deletion, to delay it or to fail it. */
  const onDelete = (body: string) =>
    Effect.flatMap(PgClient.PgClient, (sql) =>
      Effect.zipRight(
        sql.unsafe(`CREATE FUNCTION on_delete() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ${body} RETURN OLD; END$$`),
        sql`CREATE TRIGGER on_delete BEFORE DELETE ON cimd_documents FOR EACH ROW EXECUTE FUNCTION on_delete()`
      ))

  it.scopedLive("SWP-04: a batch that times out is tried again at half its size", () =>
    Effect.gen(function*() {
      const settings = yield* PostgresOptions.settle({})
      const [timeout, sweepTimeout] = [
        yield* Timeout.make(Cache.CacheError, "2 seconds"),
        yield* Timeout.make(Cache.CacheError, "1500 millis")
      ]
      const statements = Statements.make(yield* PgClient.PgClient, settings, { nodeId: "test", seal: Seal.make("") })
      const sweep = Sweep.make(Sweep.makeBatches(statements, settings, timeout, sweepTimeout), settings, {
        usage: TableUsage.make(statements, timeout),
        relieve: Effect.succeed(0)
      })
      yield* onDelete("PERFORM pg_sleep(0.005);")
      yield* expired(400)
      expect(yield* sweep({ batchSize: 400 })).toEqual({ documents: 400, leases: 0 })
    }).pipe(Effect.provide(Postgres.migrated)))

  it.live("SWP-06: counts what a sweep deleted before it failed", () =>
    Effect.gen(function*() {
      const { sweepNow } = yield* Sweeper.Sweeper
      const counted = Effect.map(
        Effect.all([Metric.value(metrics.sweptRows), Metric.value(metrics.sweepsFailed)]),
        ([rows, sweeps]) => [rows.count, sweeps.count] as const
      )
      yield* onDelete("IF OLD.client_id = 'https://app.example/5' THEN RAISE 'no'; END IF;")
      yield* expired(25)
      const [rowsBefore, sweepsBefore] = yield* counted
      expect(yield* Effect.flip(sweepNow)).toMatchObject({ _tag: "CacheError", operation: "sweep" })
      expect(yield* counted).toEqual([rowsBefore + 20, sweepsBefore + 1])
      expect(yield* rows).toBe(5)
    }).pipe(
      Effect.provide(sweeping({ interval: "1 hour", batchSize: 10 })),
      Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))
    ))

  it.live("SWP-07: sweeps expired leases in batches, and keeps the others", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO cimd_leases (client_id, holder, began_at, expires_at)
        SELECT 'https://app.example/' || i, 'node', now() - interval '1 minute',
          now() + (i - 25.5) * interval '1 minute' FROM generate_series(1, 30) i`
      expect(yield* cache.sweep({ batchSize: 10 })).toEqual({ documents: 0, leases: 25 })
      expect(yield* cache.sweep({ batchSize: 10 })).toEqual({ documents: 0, leases: 0 })
      expect(yield* sql`SELECT 1 FROM cimd_leases`).toHaveLength(5)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-05: a sweep deletes nothing while another sweeper runs", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* expired(10)
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT pg_advisory_xact_lock(hashtext(${`${TableNames.defaults.channel} sweep`}))`
        expect(yield* cache.sweep()).toMatchObject({ documents: 0 })
      }))
      expect(yield* cache.sweep()).toMatchObject({ documents: 10 })
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-04, SWP-07: goes through the pages of a large table, in batches of at most so many rows, and keeps the rest", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE transactions (id xid8 DEFAULT pg_current_xact_id(), rows bigint)`
      yield* sql.unsafe(`CREATE FUNCTION count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        INSERT INTO transactions (rows) SELECT count(*) FROM deleted; RETURN NULL; END$$`)
      yield* sql`CREATE TRIGGER count_deleted AFTER DELETE ON cimd_documents REFERENCING OLD TABLE AS deleted
        FOR EACH STATEMENT EXECUTE FUNCTION count_deleted()`
      yield* expired(60_000)
      yield* sql`UPDATE cimd_documents SET kept_until = now() + interval '1 hour' WHERE client_id LIKE '%7'`
      const kept = 6000
      expect(yield* cache.sweep({ batchSize: 3200 })).toMatchObject({ documents: 60_000 - kept })
      expect(yield* rows).toBe(kept)
      const [batches] = yield* sql<{ most: number; count: number }>`
        SELECT max(rows)::integer AS most, count(DISTINCT id)::integer AS count FROM transactions`
      // A batch by the index would have exactly so many.
      expect(batches!.most).toBeLessThan(3200)
      expect(batches!.count).toBeGreaterThan(54_000 / 3200)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("SWP-05: a sweep that finds rows which another is deleting continues with the rest", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      // A sweep waits only briefly, so it may end before this query sees it.
      const metBy = (sweep: Fiber.Fiber<unknown, unknown>) =>
        Effect.all([
          sql`SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))`,
          Fiber.poll(sweep)
        ]).pipe(
          Effect.repeat({ until: ([waiting, ended]) => waiting.length > 0 || Option.isSome(ended) }),
          Effect.map(([waiting]) => waiting.length > 0)
        )
      let met = 0
      for (let round = 0; round < 3; round++) {
        // Enough pages for a sweep that goes through them.
        yield* expired(60_000)
        const sweep = yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`DELETE FROM cimd_documents WHERE expires_at < now() - interval '30 seconds'`
          const sweep = yield* Effect.fork(cache.sweep())
          if (yield* metBy(sweep)) met++
          return sweep
        }))
        yield* Fiber.join(sweep)
        expect(yield* rows).toBe(0)
      }
      expect(met).toBeGreaterThan(0)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.live("sweeps tables whose rows have no ctid, as in some databases that speak Postgres' protocol", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const sql = yield* PgClient.PgClient
      yield* expired(25)
      yield* sql`ALTER TABLE cimd_documents RENAME TO documents_elsewhere`
      yield* sql`CREATE VIEW cimd_documents AS SELECT * FROM documents_elsewhere`
      expect(yield* cache.sweep({ batchSize: 10 })).toMatchObject({ documents: 25 })
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  for (const interval of [0, -1, Number.NaN, Infinity, "0 seconds", "23 days", "30 days", undefined]) {
    it.effect(`SWP-03: fails with InvalidOptions for an interval of ${interval}`, () =>
      Effect.gen(function*() {
        const options = { interval: interval as Duration.DurationInput }
        const error = yield* Effect.flip(Effect.scoped(Layer.build(
          Layer.provide(sweeping(options), Cache.layerMemory())
        )))
        expect(error).toMatchObject({ _tag: "InvalidOptions" })
        expect(error.message).toContain("`interval` must be a duration between 1 ms and 22 days")
      }))
  }

  it.effect("SWP-03: fails if Config has no interval", () =>
    Effect.gen(function*() {
      const configured = Sweeper.layerConfig({ interval: Config.duration("SWEEP_INTERVAL") })
      const build = (entries: ReadonlyArray<readonly [string, string]>) =>
        Effect.scoped(Layer.build(
          Layer.provide(configured, Layer.merge(Cache.layerMemory(), ClientRegistry.layerMemory()))
        )).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(entries)))
        )
      expect(Exit.isFailure(yield* Effect.exit(build([])))).toBe(true)
      const context = yield* build([["SWEEP_INTERVAL", "10 minutes"]])
      expect(Context.getOption(context, Sweeper.Sweeper)._tag).toBe("Some")
    }))

  it.live("SWP-02: an expired document is a miss without a sweeper", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const document = accepted("https://app.example/unswept")
      yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: 1 })
      yield* Effect.sleep("10 millis")
      expect((yield* cache.get(document.clientId, reader))._tag).toBe("None")
      expect(yield* rows).toBe(1)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))
})
