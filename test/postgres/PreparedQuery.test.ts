import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import { describe, expect, it } from "@effect/vitest"
import { PostgresClient } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import pg from "pg"
import * as Pool from "../../src/internal/postgres/pool.js"
import * as PreparedQuery from "../../src/internal/postgres/preparedQuery.js"
import * as SqlErrors from "../../src/internal/postgres/sqlErrors.js"
import * as Proxy from "../cluster/proxy.js"
import * as Postgres from "../support/postgres.js"

const withPool = <A, E>(
  use: (pool: Pool.OwnPool["Type"], admin: pg.Client) => Effect.Effect<A, E>,
  options?: PostgresClient.Options
) =>
  Effect.gen(function*() {
    const url = yield* Postgres.emptyUrl
    return yield* Effect.gen(function*() {
      const own = (yield* Pool.ofClient(yield* PgClient.PgClient))!
      // A connection outside the pool, so that it does not wait for one of the pool.
      const admin = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new pg.Client(Redacted.value(url))
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.end())
      )
      return yield* use(own, admin)
    }).pipe(
      Effect.provide(PostgresClient.layer({ url, maxConnections: 2, applicationName: "direct", ...options }))
    )
  }).pipe(Effect.scoped)

const sleep = { name: "sleep", text: "SELECT pg_backend_pid(), pg_sleep($1)" }
const pid = { name: "pid", text: "SELECT pg_backend_pid()" }

/** Starts a statement, and returns its end and a function that stops it. */
const started = (pool: Pool.OwnPool["Type"], query: PreparedQuery.Query, values: Array<unknown> = []) => {
  let stop = () => {}
  const end = new Promise<Exit.Exit<PreparedQuery.Rows, SqlError>>((resolve) => {
    stop = PreparedQuery.start(pool, query, values)(resolve)
  })
  return { end: Effect.promise(() => end), stop }
}

/** Returns the uncaught exceptions during an effect, which would end a process. */
const uncaught = <A>(effect: Effect.Effect<A>) =>
  Effect.gen(function*() {
    const thrown: Array<Error> = []
    const listeners = process.listeners("uncaughtException")
    yield* Effect.acquireUseRelease(
      Effect.sync(() => {
        process.removeAllListeners("uncaughtException")
        process.on("uncaughtException", (error) => thrown.push(error))
      }),
      () => Effect.zipRight(effect, Effect.sleep("50 millis")),
      () =>
        Effect.sync(() => {
          process.removeAllListeners("uncaughtException")
          for (const listener of listeners) process.on("uncaughtException", listener)
        })
    )
    return thrown
  })

const until = (check: () => Promise<boolean>) =>
  Effect.promise(check).pipe(
    Effect.filterOrFail((holds) => holds),
    Effect.retry(Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(200))),
    Effect.orDieWith(() => new Error("the condition never held"))
  )

const running = (admin: pg.Client, count: number) =>
  until(async () => {
    const { rows } = await admin.query(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'direct' AND state = 'active' AND query LIKE '%pg_sleep%'"
    )
    return rows.length === count
  })

describe("a statement on a connection of the pool", () => {
  it.live("returns rows as text, and prepares the statement once", () =>
    withPool((pool) =>
      Effect.gen(function*() {
        const query = {
          name: "typed",
          text: "SELECT $1::int, now()::date = now()::date, NULL, count(*) FROM pg_prepared_statements"
        }
        for (const _ of [1, 2, 3]) {
          const exit = yield* started(pool, query, [7]).end
          expect(exit).toEqual(Exit.succeed([["7", "t", null, expect.any(String)]]))
        }
        const prepared = yield* Effect.promise(() => pool.pool.query("SELECT name FROM pg_prepared_statements"))
        expect(prepared.rows).toEqual([{ name: "typed" }])
      })
    ))

  it.live("CAC-09: is cancelled on the server when it is stopped, and its connection is used again", () =>
    withPool((pool, admin) =>
      Effect.gen(function*() {
        const before = yield* started(pool, pid).end
        const { end, stop } = started(pool, sleep, [60])
        yield* running(admin, 1)
        stop()
        const exit = yield* end
        expect(exit).toMatchObject({ _tag: "Failure", cause: { error: { cause: { code: "57014" } } } })
        yield* running(admin, 0)
        const after = yield* Effect.all(Array.from({ length: 8 }, () => started(pool, pid).end), {
          concurrency: "unbounded"
        })
        expect(after).toContainEqual(before)
        expect(after.every(Exit.isSuccess)).toBe(true)
        expect(pool.pool.totalCount).toBeLessThanOrEqual(2)
      })
    ))

  const lostSessions: Record<string, readonly [state: string, before: string, after: string]> = {
    "a column of another type since it was prepared": [
      "0A000",
      "CREATE TABLE things (thing integer)",
      "ALTER TABLE things ALTER thing TYPE bigint"
    ],
    "a session that has not prepared it any more": ["26000", "CREATE TABLE things (thing integer)", "DEALLOCATE ALL"]
  }
  for (const [what, [code, before, after]] of Object.entries(lostSessions)) {
    it.live(`CAC-09: fails once over ${what}, and the next one uses another connection`, () =>
      withPool((pool) =>
        Effect.gen(function*() {
          const query = { name: "things", text: "SELECT thing FROM things" }
          yield* Effect.promise(() => pool.pool.query(before))
          expect(yield* started(pool, query).end).toEqual(Exit.succeed([]))
          const session = yield* started(pool, pid).end
          yield* Effect.promise(() => pool.pool.query(after))
          const failure = { _tag: "Failure", cause: { error: { cause: { code } } } }
          expect(yield* started(pool, query).end).toMatchObject(failure)
          expect(yield* started(pool, query).end).toEqual(Exit.succeed([]))
          expect(yield* started(pool, pid).end).not.toEqual(session)
        }), { maxConnections: 1 }))
  }

  it.live("CAC-09: fails once over a session that another program prepared, and the next one uses another connection", () =>
    withPool((pool) =>
      Effect.gen(function*() {
        yield* Effect.promise(() => pool.pool.query("PREPARE pid AS SELECT 1"))
        expect(yield* started(pool, pid).end).toMatchObject({
          _tag: "Failure",
          cause: { error: { cause: { code: "42P05" } } }
        })
        expect(Exit.isSuccess(yield* started(pool, pid).end)).toBe(true)
      }), { maxConnections: 1 }))

  it.live("CAC-09: keeps its connection after an error that another connection would return as well", () =>
    withPool((pool) =>
      Effect.gen(function*() {
        const session = yield* started(pool, pid).end
        const failed = yield* started(pool, { name: "absent", text: "SELECT 1 FROM absent" }).end
        expect(failed).toMatchObject({ _tag: "Failure", cause: { error: { cause: { code: "42P01" } } } })
        expect(yield* started(pool, pid).end).toEqual(session)
      }), { maxConnections: 1 }))

  it.live("CAC-09: behind a pooler it is neither prepared nor cancelled, and keeps its connection until it ends", () =>
    withPool((pool, admin) =>
      Effect.gen(function*() {
        const { end, stop } = started(pool, sleep, [0.5])
        yield* running(admin, 1)
        stop()
        const others = yield* Effect.all(Array.from({ length: 8 }, () => started(pool, pid).end), {
          concurrency: "unbounded"
        })
        expect(others.every(Exit.isSuccess)).toBe(true)
        yield* running(admin, 1)
        expect(Exit.isSuccess(yield* end)).toBe(true)
        const prepared = yield* Effect.promise(() => pool.pool.query("SELECT name FROM pg_prepared_statements"))
        expect(prepared.rows).toEqual([])
      }), { pooler: "transaction" }))

  it.live("CAC-09: is not sent when it was stopped while it waited for a connection", () =>
    withPool((pool, admin) =>
      Effect.gen(function*() {
        const holding = [started(pool, sleep, [0.3]), started(pool, sleep, [0.3])]
        yield* running(admin, 2)
        const late = started(pool, sleep, [60])
        late.stop()
        yield* Effect.all(holding.map(({ end }) => end))
        expect(Exit.isSuccess(yield* started(pool, pid).end)).toBe(true)
        yield* running(admin, 0)
        expect(pool.pool.idleCount).toBe(pool.pool.totalCount)
      })
    ))

  it.live("CAC-09: fails when its connection is lost, and the next one uses a working connection", () =>
    withPool((pool, admin) =>
      Effect.gen(function*() {
        const { end } = started(pool, sleep, [60])
        yield* running(admin, 1)
        yield* Effect.promise(() =>
          admin.query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'direct'`
          )
        )
        expect(yield* end).toMatchObject({ _tag: "Failure", cause: { error: { _tag: "SqlError" } } })
        expect(Exit.isSuccess(yield* started(pool, pid).end)).toBe(true)
      })
    ))

  it.live("CAC-09: throws nothing when no connection is free in time to cancel it", () =>
    withPool(
      (pool, admin) =>
        Effect.gen(function*() {
          const { end, stop } = started(pool, sleep, [0.6])
          yield* running(admin, 1)
          stop()
          const thrown = yield* uncaught(Effect.sleep("300 millis"))
          expect(thrown).toEqual([])
          expect(Exit.isSuccess(yield* end)).toBe(true)
          expect(Exit.isSuccess(yield* started(pool, pid).end)).toBe(true)
        }),
      { maxConnections: 1, connectTimeout: "100 millis" }
    ))

  it.live("CAC-09: throws nothing when the connection that cancels it is lost", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value(yield* Postgres.emptyUrl))
      const proxy = yield* Proxy.make(Number(url.port))
      url.port = String(proxy.port)
      const throughProxy = { url: Redacted.make(url.href) }
      yield* withPool((pool, admin) =>
        Effect.gen(function*() {
          // Both connections are open before the proxy stops forwarding.
          yield* Effect.all([started(pool, sleep, [0.1]).end, started(pool, sleep, [0.1]).end], {
            concurrency: "unbounded"
          })
          expect(pool.pool.idleCount).toBe(2)
          const { end, stop } = started(pool, sleep, [2])
          yield* running(admin, 1)
          yield* proxy.swallow
          stop()
          yield* Effect.sleep("50 millis")
          const thrown = yield* uncaught(Effect.zipRight(proxy.reset, end))
          expect(thrown).toEqual([])
          expect(Exit.isFailure(yield* end)).toBe(true)
          yield* proxy.heal
          expect(Exit.isSuccess(yield* started(pool, pid).end)).toBe(true)
        }), throughProxy)
    }).pipe(Effect.scoped))

  it.live("fails, and does not throw, after the pool has ended", () =>
    Effect.gen(function*() {
      const pool = yield* withPool(Effect.succeed)
      const { end, stop } = started(pool, pid)
      expect(Exit.isFailure(yield* end)).toBe(true)
      stop()
    }))

  it.each([
    ["EPIPE", undefined],
    ["EPERM", undefined],
    ["ECONNRESET", undefined],
    ["57P01", "57P01"],
    ["42P01", "42P01"],
    ["XX000", "XX000"]
  ])("CAC-09: an error of the system has no SQLSTATE: %s", (code, state) => {
    const cause = Object.assign(new Error("write"), { code })
    expect(SqlErrors.sqlState(new SqlError({ cause, message: "" }))).toBe(state)
  })

  it.each([
    ["EPIPE", true],
    ["08006", true],
    ["08P01", true],
    ["25006", true],
    ["25P03", true],
    ["25P04", true],
    ["57P01", true],
    ["57P02", true],
    ["57P03", true],
    ["57P05", true],
    ["0A000", true],
    ["26000", true],
    ["42P05", true],
    ["25P02", false],
    ["40001", false],
    ["42P01", false],
    ["53100", false],
    ["55P03", false],
    ["57014", false],
    ["XX000", false]
  ])("CAC-09: whether an error ends the use of its connection: %s", (code, ends) => {
    expect(SqlErrors.endsConnection(Object.assign(new Error("failed"), { code }))).toBe(ends)
  })
})
