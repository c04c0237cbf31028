import * as Effect from "effect/Effect"
import type { ClientRegistry, RegistryError } from "../../../ClientRegistry.js"
import type { Run } from "../statementTimeout.js"
import * as DecisionRows from "./decisionRows.js"
import type { Statements } from "./statements.js"

/** The largest `LIMIT` that a driver passes as an integer. */
const maxLimit = 2 ** 31 - 1

/** Reads the audit. */
export const make =
  ({ audit, sql }: Statements, timeout: Run<RegistryError>): ClientRegistry["Type"]["audit"] =>
  ({ limit = 100, subject } = {}) =>
    Effect.map(
      timeout("audit")(
        sql`SELECT ${sql.literal(DecisionRows.entryColumns)} FROM ${audit} AS audit
        ${subject === undefined ? sql.literal("") : sql`WHERE audit.subject = ${subject}`}
        ORDER BY audit.generation DESC LIMIT ${Math.min(Math.max(1, Math.trunc(limit) || 1), maxLimit)}`.values
      ),
      // The query selects the columns of an `EntryRow`.
      (rows) =>
        (rows as unknown as ReadonlyArray<DecisionRows.EntryRow>).flatMap((row) => DecisionRows.readEntry(row) ?? [])
    )
