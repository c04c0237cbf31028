import * as Migrator from "@effect/sql/Migrator"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

/**
 * Turns defects of @effect/sql back into failures. `sql.withTransaction` dies when a commit or a rollback fails (a lost
 * connection is enough), and the migrator dies when a migration fails.
 */
export const defectsToFailures = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError | Migrator.MigrationError, R> =>
  Effect.catchAllDefect(
    effect,
    (defect) =>
      defect instanceof SqlError || defect instanceof Migrator.MigrationError
        ? Effect.fail(defect)
        : Effect.die(defect)
  )

/** The same for a transaction, in which no migration runs. */
export const transactionDefectsToFailures = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.catchAllDefect(
    effect,
    (defect) => defect instanceof SqlError ? Effect.fail(defect) : Effect.die(defect)
  )

// A code of the system, such as EPIPE, has no digit.
const statePattern = /^(?=.*[0-9])[0-9A-Z]{5}$/

/** The SQLSTATE of an error that Postgres reported; `undefined` for an error of the connection. */
export const sqlState = (error: SqlError): string | undefined => stateOf(error.cause)

const stateOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" &&
    statePattern.test(cause.code)
    ? cause.code
    : undefined

/** The SQLSTATE of a write on a server that is read-only. */
export const readOnlyState = "25006"

/** The SQLSTATE of a statement that waited for a lock for longer than `lock_timeout`. */
export const lockTimeoutState = "55P03"

// 08: an error of the protocol. 57P: the server ends the connection. 25P03, 25P04: so does a timeout of transactions.
const ending = /^(08|57P|25P03|25P04)/

// The server is read-only, so the primary is elsewhere. 26000, 42P05: the session has not prepared what this connection
// has, or has what it has not, so it was exchanged or reset. 0A000: the type of a column has changed since a statement was
// prepared, and this session can never run it again. Another connection can help in each case.
const unusable = new Set([readOnlyState, "26000", "42P05", "0A000"])

/** Whether an error says that its connection must not be used again. An error without a state is the connection's own. */
export const endsConnection = (cause: unknown): boolean => {
  const state = stateOf(cause)
  return state === undefined || ending.test(state) || unusable.has(state)
}

/** Whether a pooler refused a parameter of the connection, which a server of Postgres accepts. */
export const isRefusedParameter = ({ cause }: SqlError): boolean =>
  stateOf(cause) === "08P01" && cause instanceof Error && cause.message.startsWith("unsupported startup parameter")

// No connection (08), no such user or a wrong password (28), no such database (3D), too many connections or no memory for
// one more (53), a server that is starting or stopping (57P), or one that is not the primary (25006).
const noConnection = /^(08|25006|28|3D|53|57P)/

/** Whether there is no connection to a server that can be written to. */
export const isNoConnection = (error: SqlError): boolean => noConnection.test(sqlState(error) ?? "08")

// 3F000 and 42P01: no such schema, no such table. 42703: a table of that name, with other columns.
const missing = new Set(["3F000", "42P01", "42703"])

/** Whether a table is not there, or is not the one that the statement expects. */
export const isMissingTable = (error: SqlError): boolean => missing.has(sqlState(error) ?? "")
