import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, PostgresCache } from "effect-cimd"
import type { ClientId } from "effect-cimd"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import manifest from "../../package.json" with { type: "json" }
import { version } from "../../src/internal/version.js"
import { readerUnder } from "../support/documents.js"
import * as Postgres from "../support/postgres.js"

const build = (options: PostgresCache.TieredOptions = {}) =>
  Effect.map(Layer.build(Layer.fresh(PostgresCache.layerTiered(options))), Context.get(Cache.Cache))

const rows = Effect.flatMap(
  PgClient.PgClient,
  (sql) =>
    sql<{ node_id: string; rulesets: ReadonlyArray<string>; seen: boolean }>`SELECT node_id, rulesets,
      seen_at > now() - interval '1 minute' AS seen FROM cimd_nodes ORDER BY started_at`
)

const until = (holds: (found: Effect.Effect.Success<typeof rows>) => boolean) =>
  Effect.retry(
    Effect.filterOrFail(rows, holds, (found) => ({ _tag: "NotYet", found }) as const),
    { schedule: Schedule.spaced("100 millis"), times: 150 }
  )

describe("the rows of nodes", () => {
  it("have the version of the package", () => {
    expect(version).toBe(manifest.version)
  })

  it.scopedLive("CAC-28: a node writes one row, and deletes it when it stops", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const scope = yield* Scope.make()
      const cache = yield* Scope.extend(build(), scope)
      yield* until((found) => found.length === 1)
      // A caller that makes up rule sets without end, and long ones.
      for (let i = 0; i < 20; i++) {
        yield* cache.get("https://app.example/" as ClientId.ClientId, readerUnder(`${i}`.padEnd(1000, "x")))
      }
      const [row] = yield* until((found) => (found[0]?.rulesets.length ?? 0) > 0)
      expect(row?.rulesets).toHaveLength(8)
      expect(row?.rulesets.every((ruleset) => ruleset.length <= 64)).toBe(true)
      expect(yield* sql`SELECT 1 FROM cimd_nodes`).toHaveLength(1)
      yield* Scope.close(scope, Exit.void)
      expect(yield* rows).toEqual([])
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-28: a node deletes rows that were not seen for a day, and all but the latest thousand", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const insert = (prefix: string, count: number, age: string) =>
        sql`INSERT INTO cimd_nodes (node_id, version, rulesets, limits, listening, started_at, seen_at)
          SELECT ${prefix} || i, '0', '{}', '{}', false, seen_at, seen_at
          FROM generate_series(1, ${count}) AS i, LATERAL (SELECT now() - ${age}::interval AS seen_at) AS seen`
      yield* insert("crashed", 2000, "1 hour")
      yield* insert("old", 3, "25 hours")
      yield* insert("running", 5, "10 seconds")
      yield* build()
      const found = yield* until((found) => found.length === 1000)
      expect(found.filter(({ node_id }) => node_id.startsWith("running"))).toHaveLength(5)
      expect(found.filter(({ node_id }) => node_id.startsWith("old"))).toHaveLength(0)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-28: a sweep deletes rows that were not seen for a day", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const cache = yield* build()
      yield* until((found) => found.length === 1)
      yield* sql`INSERT INTO cimd_nodes SELECT 'old', version, rulesets, limits, listening, started_at,
        now() - interval '25 hours' FROM cimd_nodes`
      yield* cache.sweep()
      expect((yield* rows).map(({ seen }) => seen)).toEqual([true])
    }).pipe(Effect.provide(Postgres.migrated)))
})

describe("tables that nobody sweeps", () => {
  const logged = Effect.gen(function*() {
    const messages: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel.label === "WARN") messages.push(String(message))
    })
    return { messages, layer: Logger.add(logger) }
  })
  const started = (options: PostgresCache.TieredOptions = {}) =>
    Effect.gen(function*() {
      const { layer, messages } = yield* logged
      yield* Effect.scoped(
        Effect.gen(function*() {
          const cache = yield* build(options)
          const sql = yield* PgClient.PgClient
          const table = options.prefix === undefined ? "cimd_nodes" : `${options.prefix}nodes`
          yield* Effect.repeat(sql`SELECT 1 FROM ${sql(table)}`, { until: (found) => found.length === 1 })
          yield* Effect.sleep("1 second")
          yield* cache.sweep()
        }).pipe(Effect.provide(layer))
      )
      return messages.filter((message) => message.includes("swept"))
    })

  it.scopedLive("SWP-09: are logged once by each node, with what to do, until one is swept", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      expect(yield* started()).toEqual([])
      yield* sql`UPDATE cimd_state SET swept_at = now() - interval '25 hours'`
      expect(yield* started()).toEqual([
        "The tables of the client metadata cache were not swept for a day, so what has expired fills them. " +
        "Provide Sweeper.layer in one program, or run each hour: npx effect-cimd sweep"
      ])
      // That node has swept.
      expect(yield* started()).toEqual([])
    }).pipe(Effect.provide(Postgres.migrated)))
})
