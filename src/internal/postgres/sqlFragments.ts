import type * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Instant } from "../../Cache.js"
import * as metrics from "../metrics.js"
import type { Seal } from "./notificationSeal.js"
import type { Settings } from "./options.js"
import { sqlState } from "./sqlErrors.js"

/**
 * How many bytes a row takes beside its document and its judgement: its client id in the table and in an index, its other
 * columns, and its entries in the indexes.
 */
const ofRow = (clientId: string) => `(2 * octet_length(${clientId}) + 250)`

/** A confirmed client that was used within this time counts before strangers. It is what `forgetAfter` defaults to. */
const confirmedFor = "90 days"

/** A document as it was found. Its row has changed if it has another start of its fetch. */
export interface FoundRow {
  readonly clientId: string
  /** In seconds of the epoch, as Postgres prints them, because they may be infinite. */
  readonly fetchedAt: string
}

/** What a write adds to its statement, whose first part is named `written` and returns the changed rows. */
export interface Announcement {
  /** Is selected from `written`. */
  readonly notify: Fragment
  /** Follows `written`. */
  readonly raise: Fragment
}

/**
 * The parts of which every concept builds its statements. `nodeId` names this node to the others, on leases and in
 * notifications.
 */
export const make = (
  client: PgClient.PgClient,
  { notifications, tables }: Settings,
  { nodeId, seal }: { readonly nodeId: string; readonly seal: Seal }
) => {
  const sql = client.withoutTransforms()
  const state = sql(tables.state)
  const nothing = sql.literal("")

  const notify = (kind: "changed" | "released", clientId: string): Announcement => ({
    notify: sql`pg_notify(${tables.channel}, ${seal.close(tables.channel, `${kind} ${nodeId} ${clientId}`)})`,
    raise: nothing
  })
  const silent: Announcement = { notify: sql`1`, raise: nothing }
  const raise: Announcement = {
    notify: sql`1`,
    raise: sql`, raised AS (UPDATE ${state} SET generation = generation + 1 FROM written)`
  }

  /**
   * Runs a write that the other nodes must learn of. The change and its notification are one statement, so they are
   * committed together. A listener anywhere on the server that hangs fills the one queue of all databases, and then no
   * statement with a notification commits. The write is run again without one, and raises the generation if it must be
   * noticed: each heartbeat of the other nodes reads it.
   */
  const announcing = (kind: "changed" | "released", withoutNotification: Announcement) =>
  <A>(
    clientId: string,
    write: (announcement: Announcement) => Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> =>
    notifications
      ? Effect.catchIf(Effect.suspend(() => write(notify(kind, clientId))), isQueueFull, () => {
        metrics.unsentNotifications.unsafeUpdate(1, [])
        return write(withoutNotification)
      })
      : write(silent)

  return {
    sql,
    nodeId,
    documents: sql(tables.documents),
    leases: sql(tables.leases),
    clients: sql(tables.clients),
    usage: sql(tables.usage),
    nodes: sql(tables.nodes),
    state,
    /** Announces a change of a client's document. */
    changing: announcing("changed", raise),
    /** Announces that the lease on a client is released. The nodes that wait for it also ask again by themselves. */
    releasing: announcing("released", silent),
    /** The instant of a column, as text. */
    instant: (column: string): Fragment => sql.literal(`(extract(epoch FROM ${column}) * 1000000)::bigint::text`),
    /** An instant as a parameter. It is exact, because a microsecond of this century fits a double's 53 bits. */
    timestamp: (at: Instant): Fragment => sql`to_timestamp(${String(at)}::float8 / 1000000)`,
    later: (millis: number): Fragment => sql`clock_timestamp() + ${millis}::float8 * interval '1 millisecond'`,
    /**
     * How many bytes a new document takes: its text, or its form in the database if that is larger. Postgres may compress it.
     */
    bytesOfTexts: (document: string, judgement: string, clientId: string): Fragment =>
      sql.literal(
        `greatest(octet_length(${document}), pg_column_size(${document}::jsonb)) + octet_length(${judgement}) + ${
          ofRow(clientId)
        }`
      ),
    /** How many bytes the document of a row takes. A row of a node of version 2 is estimated without reading its document. */
    bytesOfRow: (row: string): Fragment =>
      sql.literal(`CASE WHEN ${row}.document IS NULL THEN 0 ELSE coalesce(${row}.bytes,
        pg_column_size(${row}.document) + pg_column_size(${row}.judgement) + ${ofRow(`${row}.client_id`)}) END`),
    /** Whether the row of a client says that it is confirmed. */
    isConfirmed: (client: string): Fragment =>
      sql.literal(`(${client}.consented_at IS NOT NULL AND ${client}.used_at > now() - interval '${confirmedFor}')`),
    /** The start of a row's fetch, for {@link FoundRow}. */
    fetchedAtOf: (row: string): Fragment => sql.literal(`date_part('epoch', ${row}.fetched_at)::text`),
    /**
     * Deletes the rows that match and that no other session has locked, up to a limit. The database counts them, because
     * returning the rows would be more work for this process than counting is for the database.
     */
    deleteUnlocked: (
      table: Identifier,
      order: "expires_at" | "kept_until",
      condition: Fragment,
      limit: number
    ): Effect.Effect<number, SqlError> =>
      Effect.map(
        sql<{ count: number }>`WITH deleted AS (
          DELETE FROM ${table} WHERE client_id = ANY(ARRAY(
            SELECT client_id FROM ${table} WHERE ${condition} ORDER BY ${sql(order)} LIMIT ${limit}
            FOR UPDATE SKIP LOCKED
          )) RETURNING 1
        ) SELECT count(*)::integer AS count FROM deleted`,
        (rows) => Arr.unsafeGet(rows, 0).count
      )
  }
}

/**
 * Deletes documents unless they were fetched again since they were found, or another session has locked them. Returns their
 * number, and how many bytes they took.
 */
export const deleteFound = (
  { bytesOfRow, documents, sql }: Statements,
  found: ReadonlyArray<FoundRow>
): Effect.Effect<{ readonly count: number; readonly bytes: number }, SqlError> =>
  Effect.map(
    sql<{ count: number; bytes: number }>`WITH deleted AS (
      DELETE FROM ${documents} AS gone WHERE client_id = ANY(ARRAY(
        SELECT stored.client_id FROM unnest(${found.map(({ clientId }) => clientId)}::text[], ${
      found.map(({ fetchedAt }) => fetchedAt)
    }::float8[]) AS found (client_id, fetched_at)
        JOIN ${documents} AS stored ON stored.client_id = found.client_id AND stored.document IS NOT NULL
          AND date_part('epoch', stored.fetched_at) = found.fetched_at
        FOR UPDATE OF stored SKIP LOCKED
      )) RETURNING ${bytesOfRow("gone")} AS bytes
    ) SELECT count(*)::integer AS count, coalesce(sum(bytes), 0)::float8 AS bytes FROM deleted`,
    (rows) => Arr.unsafeGet(rows, 0)
  )

/** 54000: the queue is full. Another limit that has this code is exceeded again without the notification. */
export const isQueueFull = (error: SqlError): boolean => sqlState(error) === "54000"

export type Statements = ReturnType<typeof make>
