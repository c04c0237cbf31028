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

// A code of the system, such as EPIPE, has no digit.
const statePattern = /^(?=.*[0-9])[0-9A-Z]{5}$/

/** The SQLSTATE of an error that Postgres reported; `undefined` for an error of the connection. */
export const sqlState = (error: SqlError): string | undefined => {
  const cause = error.cause
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" &&
      statePattern.test(cause.code)
    ? cause.code
    : undefined
}

// 57P01 to 57P03: the server ends the connection. An error without a state comes from the connection itself.
export const endsConnection = (error: SqlError): boolean => sqlState(error)?.startsWith("57P") ?? true
