import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DatabaseUnavailable } from "../../PostgresClient.js"
import { UnreadableDecision } from "./registry/decisionRows.js"
import { isMissingTable, isNoConnection, isRefusedParameter } from "./sqlErrors.js"
import * as TableNames from "./tableNames.js"

/** What a layer does with a table. */
export interface Need {
  readonly table: string
  readonly privileges: ReadonlyArray<"SELECT" | "INSERT" | "UPDATE" | "DELETE">
}

interface Row {
  readonly usableFrom: number
  readonly latest: number
  readonly key: string
  readonly absent: string | null
  readonly refused: string | null
}

// A connection can take longer than a statement does.
const shortestTimeout = Duration.seconds(5)

/**
 * Fails unless the tables can be used by this version, and grant this user what it needs. Returns the key of the
 * notifications.
 */
export const check = (
  client: PgClient.PgClient,
  tables: TableNames.Tables,
  needs: ReadonlyArray<Need>,
  timeout: Duration.DurationInput
): Effect.Effect<string, DatabaseUnavailable> => {
  const sql = client.withoutTransforms()
  const pairs = needs.flatMap(({ privileges, table }) => privileges.map((privilege) => ({ table, privilege })))
  const unavailable = (reason: DatabaseUnavailable["reason"], cause?: unknown) =>
    new DatabaseUnavailable({ reason, cause, migrateCommand: TableNames.migrateCommand(tables) })
  // Tables of version 1 have no column `latest`, which an expression on the whole row permits.
  return sql<Row>`WITH needs AS (
      SELECT * FROM unnest(${pairs.map(({ table }) => table)}::text[], ${
    pairs.map(({ privilege }) => privilege)
  }::text[]) AS need (name, privilege)
    ) SELECT version AS "usableFrom",
    coalesce((to_jsonb(state) ->> 'latest')::integer, version) AS latest,
    encode(notification_key, 'hex') AS key,
    (SELECT string_agg(DISTINCT need.name, ', ') FROM needs AS need WHERE to_regclass(need.name) IS NULL) AS absent,
    (SELECT string_agg(need.privilege || ' ON ' || need.name, ', ' ORDER BY need.name, need.privilege)
      FROM needs AS need WHERE NOT has_table_privilege(to_regclass(need.name), need.privilege)) AS refused
    FROM ${sql(tables.state)} AS state`.pipe(
    Effect.disconnect,
    Effect.timeoutFail({
      duration: Duration.max(timeout, shortestTimeout),
      onTimeout: () => unavailable("Unreachable", new Error("timed out"))
    }),
    Effect.mapError((error) => error._tag === "SqlError" ? unavailable(reasonOf(error), error) : error),
    Effect.flatMap(([row]) => {
      if (row === undefined) return unavailable("MissingTables")
      if (row.latest < TableNames.tablesVersion) return unavailable("OlderTables")
      if (row.usableFrom > TableNames.tablesVersion) return unavailable("NewerTables")
      if (row.absent !== null) return unavailable("MissingTables", new Error(`missing tables: ${row.absent}`))
      if (row.refused !== null) return unavailable("Refused", new Error(`missing privileges: ${row.refused}`))
      return Effect.succeed(row.key)
    })
  )
}

/** Fails unless the rows of the nodes can be read. */
export const readable = (
  tables: TableNames.Tables
): Effect.Effect<void, DatabaseUnavailable, PgClient.PgClient> =>
  Effect.flatMap(
    PgClient.PgClient,
    (client) => Effect.asVoid(check(client, tables, [{ table: tables.nodes, privileges: ["SELECT"] }], shortestTimeout))
  )

/** Returns the error of a layer whose first reads failed, after the check of its tables. */
export const unavailable = (tables: TableNames.Tables, cause: unknown): DatabaseUnavailable =>
  new DatabaseUnavailable({
    reason: cause instanceof SqlError
      ? reasonOf(cause)
      : cause instanceof UnreadableDecision
      ? "NewerTables"
      : "Unreachable",
    cause,
    migrateCommand: TableNames.migrateCommand(tables)
  })

const reasonOf = (error: SqlError): DatabaseUnavailable["reason"] =>
  isRefusedParameter(error)
    ? "Pooler"
    : isNoConnection(error)
    ? "Unreachable"
    : isMissingTable(error)
    ? "MissingTables"
    : "Refused"
