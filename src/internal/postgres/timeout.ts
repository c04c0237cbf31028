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
import { CacheError } from "../../Cache.js"

/** Starts a statement, and answers how to stop it. */
export type Start<A> = (done: (exit: Exit.Exit<A, SqlError>) => void) => () => void

/** Runs a statement for an operation of the cache. */
export interface Bounded {
  (operation: CacheError["operation"]): <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, CacheError>
  /** The same for who is no fiber: starts the statement, and answers how to leave it. */
  readonly start: <A>(
    operation: CacheError["operation"],
    statement: Start<A>,
    done: (exit: Exit.Exit<A, CacheError>) => void
  ) => () => void
  /** How long a statement may take, and what who waits for one is told then. */
  readonly patience: (
    operation: CacheError["operation"]
  ) => { readonly millis: number; readonly late: () => CacheError }
  /** A statement as something to start, in a fiber of its own. */
  readonly forked: <A>(statement: Effect.Effect<A, SqlError>) => Start<A>
}

/**
 * Bounds statements in time, also where the caller cannot be interrupted: cancelling a query can take seconds when no
 * connection is free, so the query is left behind, in a fiber of its own, and nobody waits for its end.
 *
 * A caller that leaves cancels nothing. `PgClient` cancels whatever runs on the connection when the request arrives, and
 * by then that may be the statement of another caller. Only what is overdue is worth that.
 *
 * A caller's transaction is not joined: it must not lend its clock to an expiry check, nor roll back what was stored.
 */
export const make = (timeout: Duration.DurationInput): Effect.Effect<Bounded, never, Scope.Scope> =>
  Effect.map(FiberSet.makeRuntime<never>(), (fork) => {
    const millis = Duration.toMillis(timeout)
    const overdue = `no answer within ${Duration.format(Duration.decode(timeout))}`

    const patience: Bounded["patience"] = (operation) => ({
      millis,
      late: () => new CacheError({ operation, cause: new Error(overdue) })
    })

    const forked: Bounded["forked"] = (statement) => (done) => {
      const fiber = fork(statement)
      fiber.addObserver(done)
      return () => fiber.unsafeInterruptAsFork(FiberId.none)
    }

    const start: Bounded["start"] = (operation, statement, done) => {
      const { late } = patience(operation)
      let over = false
      const end: typeof done = (exit) => {
        if (over) return
        over = true
        done(exit)
      }
      const timer = setTimeout(() => {
        end(Exit.fail(late()))
        stop()
      }, millis)
      const stop = statement((exit) => {
        clearTimeout(timer)
        end(
          Exit.mapErrorCause(exit, (cause) =>
            Cause.isFailType(cause)
              ? Cause.fail(new CacheError({ operation, cause: cause.error }))
              : cause as Cause.Cause<never>)
        )
      })
      return () => {
        over = true
      }
    }

    const bounded = (operation: CacheError["operation"]) => <A>(statement: Effect.Effect<A, SqlError>) =>
      Effect.flatMap(Effect.context<never>(), (context) =>
        Effect.async<A, CacheError>((resume) => {
          const outside = Context.omit(SqlClient.TransactionConnection)(
            context as Context.Context<SqlClient.TransactionConnection>
          )
          return Effect.sync(start(operation, forked(Effect.provide(statement, outside)), resume))
        }))
    return Object.assign(bounded, { start, forked, patience })
  })
