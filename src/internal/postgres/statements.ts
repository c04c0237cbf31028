import type * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Instant } from "../../Cache.js"
import type { Settings } from "./options.js"

/**
 * The parts of which every concept builds its statements. `nodeId` names this node to the others, on leases and in
 * notifications.
 */
export const make = (client: PgClient.PgClient, { notifications, tables }: Settings, nodeId: string) => {
  const sql = client.withoutTransforms()
  return {
    sql,
    nodeId,
    documents: sql(tables.documents),
    leases: sql(tables.leases),
    state: sql(tables.state),
    /** The instant of a column, as text. */
    instant: (column: string): Fragment => sql.literal(`(extract(epoch FROM ${column}) * 1000000)::bigint::text`),
    /** An instant as a parameter. It is exact, because a microsecond of this century fits a double's 53 bits. */
    timestamp: (at: Instant): Fragment => sql`to_timestamp(${String(at)}::float8 / 1000000)`,
    later: (millis: number): Fragment => sql`clock_timestamp() + ${millis}::float8 * interval '1 millisecond'`,
    /** Selected in the writing statement, so that a change and its notification are committed together. */
    notification: (kind: "changed" | "released" | "all", clientId = ""): Fragment =>
      notifications ? sql`pg_notify(${tables.channel}, ${`${kind} ${nodeId} ${clientId}`})` : sql`1`,
    /**
     * Deletes the rows that match and that no other session has locked, up to a limit. The database counts them, because
     * returning the rows would be more work for this process than counting is for the database.
     */
    deleteUnlocked: (table: Identifier, condition: Fragment, limit: number): Effect.Effect<number, SqlError> =>
      Effect.map(
        sql<{ count: number }>`WITH deleted AS (
          DELETE FROM ${table} WHERE client_id = ANY(ARRAY(
            SELECT client_id FROM ${table} WHERE ${condition} ORDER BY expires_at LIMIT ${limit}
            FOR UPDATE SKIP LOCKED
          )) RETURNING 1
        ) SELECT count(*)::integer AS count FROM deleted`,
        (rows) => Arr.unsafeGet(rows, 0).count
      )
  }
}

export type Statements = ReturnType<typeof make>
