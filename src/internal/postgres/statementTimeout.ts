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

/** The error of a service, which names the operation that failed. */
interface OperationError {
  readonly operation: string
}

/** Runs a statement for an operation of a service, and fails when it takes longer than the timeout. */
export interface Run<E extends OperationError> {
  (operation: E["operation"]): <A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, E>
}

/** Starts a statement and returns a function that stops it. */
export type Start<A> = (done: (exit: Exit.Exit<A, SqlError>) => void) => () => void

/** {@link Run}, and what the reads need of it without a fiber for each. */
export interface Timeout<E extends OperationError> extends Run<E> {
  readonly timeoutMillis: number
  /** The error of a call that timed out. */
  readonly onTimeout: (operation: E["operation"]) => E
  /** Callback form: starts the statement and returns a function that abandons it. */
  readonly start: <A>(
    operation: E["operation"],
    statement: Start<A>,
    done: (exit: Exit.Exit<A, E>) => void
  ) => () => void
  /** A statement in callback form that runs in a fiber of its own. */
  readonly forked: <A>(statement: Effect.Effect<A, SqlError>) => Start<A>
}

/**
 * What happens to a statement that timed out. Behind a pooler a cancellation reaches nothing, and an interruption would
 * return the connection to the pool while its statement runs. There the statement is abandoned, and keeps its connection.
 */
export type OnTimeout = "cancel" | "abandon"

/**
 * Limits the duration of statements, also where the caller cannot be interrupted. Cancelling a query can take seconds
 * when no connection is free. So the query runs in a fiber of its own, and the caller does not wait for its end.
 *
 * An interrupted caller cancels nothing. `PgClient` cancels whatever runs on the connection when the cancellation
 * arrives, and by then that may be the statement of another caller. Only a statement that timed out is cancelled.
 *
 * The statement does not join a caller's transaction. Its `now()` would decide expiry checks, and its rollback would
 * undo what was stored.
 */
export const make = <E extends OperationError>(
  Failure: new(failed: { readonly operation: E["operation"]; readonly cause: unknown }) => E,
  timeout: Duration.DurationInput,
  timedOut: OnTimeout = "cancel"
): Effect.Effect<Timeout<E>, never, Scope.Scope> =>
  Effect.map(FiberSet.makeRuntime<never>(), (fork) => {
    const timeoutMillis = Duration.toMillis(timeout)
    const message = `timed out after ${Duration.format(Duration.decode(timeout))}`

    const onTimeout: Timeout<E>["onTimeout"] = (operation) => new Failure({ operation, cause: new Error(message) })

    const forked: Timeout<E>["forked"] = (statement) => (done) => {
      const fiber = fork(statement)
      fiber.addObserver(done)
      return () => {
        if (timedOut === "cancel") fiber.unsafeInterruptAsFork(FiberId.none)
      }
    }

    const start: Timeout<E>["start"] = (operation, statement, done) => {
      let over = false
      const end: typeof done = (exit) => {
        if (over) return
        over = true
        done(exit)
      }
      const timer = setTimeout(() => {
        end(Exit.fail(onTimeout(operation)))
        stop()
      }, timeoutMillis)
      const stop = statement((exit) => {
        clearTimeout(timer)
        end(
          Exit.mapErrorCause(exit, (cause) =>
            Cause.isFailType(cause)
              ? Cause.fail(new Failure({ operation, cause: cause.error }))
              : cause as Cause.Cause<never>)
        )
      })
      return () => {
        over = true
      }
    }

    const run: Run<E> = (operation) => (statement) =>
      Effect.flatMap(Effect.context<never>(), (context) =>
        Effect.async((resume) => {
          const outside = Context.omit(SqlClient.TransactionConnection)(
            context as Context.Context<SqlClient.TransactionConnection>
          )
          return Effect.sync(start(operation, forked(Effect.provide(statement, outside)), resume))
        }))
    return Object.assign(run, { timeoutMillis, onTimeout, start, forked })
  })
