import * as Migrator from "@effect/sql/Migrator"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

/**
 * Turns the defects that @effect/sql raises for ordinary faults back into failures: `sql.withTransaction` dies when a
 * commit or a rollback fails (a lost connection is enough), and the migrator dies when a migration fails.
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

// The system's own, such as EPIPE, look the same but for the digit.
const state = /^(?=.*[0-9])[0-9A-Z]{5}$/

/** The SQLSTATE of what Postgres answered; absent when it did not answer. */
export const sqlState = (error: SqlError): string | undefined => {
  const cause = error.cause
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" &&
      state.test(cause.code)
    ? cause.code
    : undefined
}
