import type * as PgClient from "@effect/sql-pg/PgClient"
import type { Fragment } from "@effect/sql/Statement"
import type { Instant } from "../../Cache.js"
import type { Settings } from "./options.js"
import * as DirectQuery from "./preparedQuery.js"

/**
 * What the statements of the Postgres cache are put together from. `nodeId` names this node to the others, on leases and
 * in announcements.
 */
export const make = (client: PgClient.PgClient, { notifications, tables }: Settings, nodeId: string) => {
  const sql = client.withoutTransforms()
  return {
    sql,
    /** The connections themselves, where they are known: for statements on the hot path. */
    pool: DirectQuery.poolOf(client),
    nodeId,
    documents: sql(tables.documents),
    leases: sql(tables.leases),
    state: sql(tables.state),
    /** A column's instant, as text. */
    instant: (column: string): Fragment => sql.literal(`(extract(epoch FROM ${column}) * 1000000)::bigint::text`),
    /** Exact: a microsecond of this century is far inside a double's 53 bits. */
    timestamp: (at: Instant): Fragment => sql`to_timestamp(${String(at)}::float8 / 1000000)`,
    later: (millis: number): Fragment => sql`clock_timestamp() + ${millis}::float8 * interval '1 millisecond'`,
    /** Selected in the writing statement, so that a change and its announcement are committed together. */
    announcement: (kind: "changed" | "released" | "all", clientId = ""): Fragment =>
      notifications ? sql`pg_notify(${tables.channel}, ${`${kind} ${nodeId} ${clientId}`})` : sql`1`
  }
}

export type Statements = ReturnType<typeof make>
