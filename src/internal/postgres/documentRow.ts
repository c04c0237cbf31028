/** The row of a client as an operator wants to see it, whether or not a reader would be given its document. */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { Instant } from "../../Cache.js"
import { instantOf, seconds } from "./registry/statements.js"
import type { Tables } from "./tableNames.js"

export interface DocumentRow {
  /**
   * - `fresh`: it is served.
   * - `kept`: it has expired, and may be served while the client's origin fails.
   * - `expired`: it waits for a sweep.
   * - `evicted`: it was evicted, or replaced by a fetch that must not be stored.
   */
  readonly state: "fresh" | "kept" | "expired" | "evicted"
  readonly ruleset: string
  readonly fetchedAt: Instant | undefined
  readonly expiresAt: Instant | undefined
  readonly keptUntil: Instant | undefined
  /** Whether it is not served after its expiry, and for which other rule sets it is not. */
  readonly withdrawn: boolean
  readonly withdrawnFor: ReadonlyArray<string>
  /** The document as JSON. `undefined` if only the mark of an eviction is left. */
  readonly document: string | undefined
}

interface Columns {
  readonly state: DocumentRow["state"]
  readonly ruleset: string
  readonly fetched: unknown
  readonly expires: unknown
  readonly kept: unknown
  readonly withdrawn: boolean
  readonly others: string
  readonly document: string | null
}

/** Reads the row of a client. Writes nothing, and counts as no read of the cache. */
export const read = (
  clientId: string,
  { documents, state }: Tables
): Effect.Effect<DocumentRow | undefined, SqlError, PgClient.PgClient> =>
  Effect.gen(function*() {
    const sql = (yield* PgClient.PgClient).withoutTransforms()
    const [row] = yield* sql<Columns>`SELECT
        CASE WHEN document IS NULL OR fetched_at <= (SELECT evicted_at FROM ${sql(state)}) THEN 'evicted'
          WHEN expires_at > now() THEN 'fresh'
          WHEN kept_until > now() AND NOT withdrawn THEN 'kept'
          ELSE 'expired' END AS state,
        ruleset, ${sql.literal(seconds("fetched_at"))} AS fetched, ${sql.literal(seconds("expires_at"))} AS expires,
        ${sql.literal(seconds("kept_until"))} AS kept, withdrawn, to_json(withdrawn_for)::text AS others,
        document::text AS document
      FROM ${sql(documents)} WHERE client_id = ${clientId}`
    return row === undefined ? undefined : {
      state: row.state,
      ruleset: row.ruleset,
      fetchedAt: instantOf(row.fetched),
      expiresAt: instantOf(row.expires),
      keptUntil: instantOf(row.kept),
      withdrawn: row.withdrawn,
      withdrawnFor: JSON.parse(row.others),
      document: row.document ?? undefined
    }
  })
