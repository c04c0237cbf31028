import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Timeout from "../../src/internal/postgres/statementTimeout.js"
import * as Postgres from "../support/postgres.js"

describe("a statement whose caller was interrupted", () => {
  it.scopedLive("runs to its end, and is cancelled only when it times out", () =>
    Effect.gen(function*() {
      const timeout = yield* Timeout.make(Cache.CacheError, "1 second")
      const ends: Array<string> = []
      const ended = (count: number) =>
        Effect.repeat(Effect.delay(Effect.sync(() => ends.length), "5 millis"), { until: (ends) => ends >= count })
          .pipe(
            Effect.timeout("10 seconds")
          )
      const statement = (name: string, millis: number) =>
        Effect.sleep(millis).pipe(
          Effect.onExit(({ _tag }) => Effect.sync(() => ends.push(`${name}: ${_tag}`)))
        )
      const callers = yield* Effect.all([
        Effect.fork(timeout("get")(statement("short", 500))),
        Effect.fork(timeout("get")(statement("endless", 60_000)))
      ])
      yield* Effect.sleep("20 millis")
      yield* Fiber.interruptAll(callers)
      expect(ends).toEqual([])
      yield* ended(2)
      expect(ends).toEqual(["short: Success", "endless: Failure"])
    }))

  it.live("CAC-09: does not cancel the statement of another caller that runs on its connection by then", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const timeout = yield* Timeout.make(Cache.CacheError, "2 seconds")
      const causes: Array<unknown> = []
      const staying = timeout("get")(sql`SELECT pg_sleep(0.002)`).pipe(
        Effect.catchAll((error) => Effect.sync(() => causes.push(error.cause)))
      )
      const leaving = Effect.gen(function*() {
        const caller = yield* Effect.fork(timeout("elect")(sql`SELECT pg_sleep(0.0035)`))
        // The interruption comes at about the time its statement ends.
        yield* Effect.sleep(yield* Random.nextRange(3, 5))
        yield* Fiber.interrupt(caller)
      })
      yield* Effect.all(
        [...Array.from({ length: 3 }, () => staying), ...Array.from({ length: 4 }, () => leaving)].map(Effect.forever),
        { concurrency: "unbounded" }
      ).pipe(Effect.timeoutOption("4 seconds"))
      expect(causes).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(Postgres.empty)))
})
