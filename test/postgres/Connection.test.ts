import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, Migrations, PostgresCache, PostgresClient } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../cluster/proxy.js"
import { accepted, reader, ruleset } from "../support/documents.js"

const maxConnections = 3

const on = <A, E>(url: Redacted.Redacted, effect: Effect.Effect<A, E, PgClient.PgClient>) =>
  Effect.provide(effect, Layer.fresh(PgClient.layer({ url, maxConnections: 1 })))

/** A server whose URL differs from that of another one in its port alone. */
const server = Effect.gen(function*() {
  const url = new URL(Redacted.value(yield* PostgresServer.embedded()))
  yield* on(
    Redacted.make(url.href),
    Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE ROLE node SUPERUSER LOGIN PASSWORD 'node'`)
  )
  url.username = "node"
  url.password = "node"
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url: Redacted.make(url.href), maxConnections: 1 }))
  return url
})

const urlOf = (server: URL, port = Number(server.port)) => {
  const url = new URL(server)
  url.port = String(port)
  return Redacted.make(url.href)
}

/** Two servers, and an address that leads to the first. */
const world = Effect.gen(function*() {
  const [first, second] = yield* Effect.all([server, server], { concurrency: "unbounded" })
  // A standby has what its primary has, so also the key of the notifications.
  const [state] = yield* on(
    urlOf(first),
    Effect.flatMap(
      PgClient.PgClient,
      (sql) => sql<{ key: string }>`SELECT notification_key::text AS key FROM cimd_state`
    )
  )
  yield* on(
    urlOf(second),
    Effect.flatMap(PgClient.PgClient, (sql) => sql`UPDATE cimd_state SET notification_key = ${state!.key}::text::bytea`)
  )
  const proxy = yield* Proxy.make(Number(first.port))
  return {
    first: urlOf(first),
    second: urlOf(second),
    address: urlOf(first, proxy.port),
    /** The first server turns read-only, its connections stay open, and new ones lead to the second. */
    failover: Effect.zipRight(
      on(
        urlOf(first),
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql`ALTER SYSTEM SET default_transaction_read_only = on`
          yield* sql`SELECT pg_reload_conf()`
          yield* Effect.repeat(
            sql<{ isOn: boolean }>`SELECT current_setting('transaction_read_only') = 'on' AS "isOn"`,
            {
              until: ([row]) => row!.isOn
            }
          )
        })
      ),
      proxy.switchTo(Number(second.port))
    )
  }
})

/** How many sessions of nodes a server has. */
const sessions = (url: Redacted.Redacted) =>
  on(
    url,
    Effect.flatMap(PgClient.PgClient, (sql) =>
      Effect.map(sql`SELECT 1 FROM pg_stat_activity WHERE application_name = 'node'`, (rows) => rows.length))
  )

const build = (
  cache: Layer.Layer<Cache.Cache, PostgresClient.DatabaseUnavailable | unknown, PgClient.PgClient>,
  url: Redacted.Redacted
) =>
  Effect.map(
    Layer.build(Layer.fresh(
      Layer.provide(cache, PostgresClient.layer({ url, maxConnections, applicationName: "node" }))
    )),
    (context) => Context.get(context, Cache.Cache)
  )

const put = (cache: Cache.Cache["Type"], name: string) =>
  Effect.flatMap(
    cache.now,
    (fetchedAt) => cache.put(accepted(`https://app.example/${name}.json`), { fetchedAt, timeToLive: "1 hour" })
  )

const get = (cache: Cache.Cache["Type"], name: string) =>
  cache.get(accepted(`https://app.example/${name}.json`).clientId, reader)

const stateOf = (error: Cache.CacheError) => (error.cause as { cause?: { code?: unknown } }).cause?.code

describe("a server that turns read-only while connections to it are open", () => {
  it.live("CAC-09: writes give up each of their connections once, and go on at the new primary", () =>
    Effect.gen(function*() {
      const { address, failover, first, second } = yield* world
      const cache = yield* build(PostgresCache.layer(), address)
      yield* Effect.all(Array.from({ length: 6 }, (_, i) => put(cache, `warm-${i}`)), { concurrency: "unbounded" })
      expect(yield* sessions(first)).toBe(maxConnections)
      yield* failover
      const failed: Array<unknown> = []
      // Without a pause, so that no connection is closed because it is idle.
      for (let call = 0; call < 20; call++) {
        const stored = yield* Effect.either(cache.evict(accepted(`https://app.example/${call}.json`).clientId))
        if (Either.isLeft(stored)) failed.push(stateOf(stored.left))
      }
      expect(failed.length).toBeGreaterThan(0)
      expect(failed.length).toBeLessThanOrEqual(maxConnections)
      expect(new Set(failed)).toEqual(new Set(["25006"]))
      expect(yield* put(cache, "after")).toBe(true)
      expect(
        yield* on(
          second,
          Effect.flatMap(
            PgClient.PgClient,
            (sql) => sql`SELECT 1 FROM cimd_documents WHERE client_id = 'https://app.example/after.json'`
          )
        )
      ).toHaveLength(1)
    }).pipe(Effect.scoped))

  it.live("CAC-09, CAC-10: reads return nothing that the old server has, and go on at the new primary", () =>
    Effect.gen(function*() {
      const { address, failover, first } = yield* world
      const cache = yield* build(PostgresCache.layer(), address)
      yield* put(cache, "evicted-elsewhere")
      yield* Effect.all(Array.from({ length: 6 }, (_, i) => put(cache, `warm-${i}`)), { concurrency: "unbounded" })
      expect(yield* sessions(first)).toBe(maxConnections)
      expect(Option.isSome(yield* get(cache, "evicted-elsewhere"))).toBe(true)
      yield* failover
      const failed: Array<unknown> = []
      for (let call = 0; call < 20; call++) {
        const found = yield* Effect.either(get(cache, "evicted-elsewhere"))
        if (Either.isLeft(found)) failed.push(stateOf(found.left))
        else expect(found.right).toEqual(Option.none())
      }
      expect(failed.length).toBeGreaterThan(0)
      expect(failed.length).toBeLessThanOrEqual(maxConnections)
      expect(new Set(failed)).toEqual(new Set(["25006"]))
      expect(yield* sessions(first)).toBe(0)
    }).pipe(Effect.scoped))

  it.live(
    "CAC-12: the connection that listens is given up, and hears of the new primary",
    () =>
      Effect.gen(function*() {
        const { address, failover, first, second } = yield* world
        const node = yield* build(PostgresCache.layerTiered(), address)
        const other = yield* build(PostgresCache.layer(), second)
        const peek = (name: string) => Effect.sync(() => node.peek(`https://app.example/${name}.json`, ruleset))
        /** Whether memory serves for longer than it may without notifications. */
        const hears = Effect.gen(function*() {
          yield* put(other, "heard")
          // The notification of this write would also drop what is read before it arrives.
          yield* Effect.sleep("300 millis")
          const found = yield* Effect.option(get(node, "heard"))
          yield* Effect.sleep("1200 millis")
          return Option.isSome(Option.flatten(found)) && (yield* peek("heard")) !== undefined
        })
        yield* failover
        yield* Effect.repeat(hears, { until: (hears) => hears }).pipe(Effect.timeout("30 seconds"))
        const start = performance.now()
        yield* other.evict(accepted("https://app.example/heard.json").clientId)
        yield* Effect.repeat(Effect.delay(peek("heard"), "1 millis"), { until: (entry) => entry === undefined })
        expect(performance.now() - start).toBeLessThan(1000)
        expect(yield* sessions(first)).toBe(0)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("CAC-09: an explicit read-only transaction of the host fails, and its connection is replaced", () =>
    Effect.gen(function*() {
      const url = urlOf(yield* server)
      const sql = Context.get(
        yield* Layer.build(PostgresClient.layer({ url, maxConnections: 1 })),
        PgClient.PgClient
      )
      const pid = Effect.map(sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`, ([row]) => row!.pid)
      const before = yield* pid
      const error = yield* Effect.flip(sql.withTransaction(
        Effect.zipRight(sql`SET TRANSACTION READ ONLY`, sql`UPDATE cimd_state SET version = version`)
      ))
      expect(error.cause).toMatchObject({ code: "25006" })
      expect(yield* pid).not.toBe(before)
    }).pipe(Effect.scoped))
})

describe("a server that is read-only from the start", () => {
  it.live("CAC-08, CAC-09: is not connected to, and is reported as such", () =>
    Effect.gen(function*() {
      const url = urlOf(yield* server)
      yield* on(
        url,
        Effect.flatMap(PgClient.PgClient, (sql) => sql`ALTER ROLE node SET default_transaction_read_only = on`)
      )
      const error = yield* Effect.flip(Layer.build(PostgresClient.layer({ url })))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Unreachable" })
      expect(String((error as PostgresClient.DatabaseUnavailable).cause)).toContain("SqlError")
      expect(error).toMatchObject({ cause: { cause: { code: "25006" } } })
      expect(yield* sessions(url)).toBe(0)
    }).pipe(Effect.scoped))
})
