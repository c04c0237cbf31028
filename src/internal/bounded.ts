import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { CacheError } from "../Cache.js"

/** Runs a statement for an operation of the cache. */
export type Bounded = (
  operation: CacheError["operation"]
) => <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, CacheError>

/**
 * Bounds statements in time, also where the caller cannot be interrupted: cancelling a query can take seconds when no
 * connection is free, so the query is left behind, in a fiber of its own, and nobody waits for its end.
 *
 * A caller's transaction is not joined: it must not lend its clock to an expiry check, nor roll back what was stored.
 */
export const make = (timeout: Duration.DurationInput): Effect.Effect<Bounded, never, Scope.Scope> =>
  Effect.map(FiberSet.makeRuntime<never>(), (fork) => {
    const millis = Duration.toMillis(timeout)
    const overdue = `no answer within ${Duration.format(Duration.decode(timeout))}`

    return (operation) => <A>(statement: Effect.Effect<A, SqlError>) =>
      Effect.flatMap(Effect.context<never>(), (context) =>
        Effect.async<A, CacheError>((resume) => {
          const outside = Context.omit(SqlClient.TransactionConnection)(
            context as Context.Context<SqlClient.TransactionConnection>
          )
          const failed = (cause: unknown) => Effect.fail(new CacheError({ operation, cause }))
          const fiber = fork(Effect.provide(statement, outside))
          const abandon = () => fiber.unsafeInterruptAsFork(FiberId.none)
          const timer = setTimeout(() => {
            resume(failed(new Error(overdue)))
            abandon()
          }, millis)
          fiber.addObserver((exit) => {
            clearTimeout(timer)
            resume(
              Exit.isFailure(exit) && Cause.isFailType(exit.cause)
                ? failed(exit.cause.error)
                : exit as Exit.Exit<A>
            )
          })
          return Effect.sync(() => {
            clearTimeout(timer)
            abandon()
          })
        }))
  })
