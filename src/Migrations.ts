/**
 * The tables of `PostgresCache`, as migrations for Effect's `Migrator`.
 *
 * @since 0.1.0
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import migration0001 from "../migrations/0001_client_metadata_documents.js"
import migration0002 from "../migrations/0002_client_registry.js"
import migration0003 from "../migrations/0003_limits.js"
import * as OptionReader from "./internal/optionReader.js"
import { defectsToFailures, lockTimeoutState, sqlState } from "./internal/postgres/sqlErrors.js"
import * as Tables from "./internal/postgres/tableNames.js"
import { quote, visible } from "./internal/rules/text.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The names of the tables. The migrations and the cache need the same ones.
 *
 * @since 0.1.0
 * @category models
 */
export type TableNames = Tables.TableNames

/**
 * The version of the tables, and the migrations that would bring them to the version of this package.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** The version of the tables: the id of the last migration that ran. `0` if there are no tables. */
  readonly version: number
  /**
   * The first version of this package's tables whose programs can use these tables. If it is greater than `required`, this
   * program cannot. `0` if there are no tables.
   */
  readonly usableFrom: number
  /** The version that this package needs. */
  readonly required: number
  /** The migrations that `run` would run. Empty too if the tables belong to a newer version of this package. */
  readonly pending: ReadonlyArray<readonly [id: number, name: string]>
}

interface Migration {
  readonly id: number
  readonly name: string
  readonly statements: ReadonlyArray<string>
}

const migrationsOf = (tables: Tables.Tables): ReadonlyArray<Migration> => [
  { id: 1, name: "client_metadata_documents", statements: migration0001(tables) },
  { id: 2, name: "client_registry", statements: migration0002(tables) },
  { id: 3, name: "limits", statements: migration0003(tables) }
]

const settle = (names: TableNames | undefined) => Tables.settle("Migrations", names)

const execute = (statements: ReadonlyArray<string>): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  )

/** The statements before the migrations. They change nothing the second time. */
const preparation = ({ migrations, schema }: Tables.Tables): ReadonlyArray<string> => [
  // `CREATE SCHEMA IF NOT EXISTS` needs a privilege on the database even if the schema exists.
  ...(schema === undefined ? [] : [`DO $$ BEGIN
  IF to_regnamespace('${schema}') IS NULL THEN CREATE SCHEMA ${Tables.quoted(schema)}; END IF;
END $$`]),
  // The migrator checks for its table by a statement that may fail, and a failure aborts the transaction.
  `CREATE TABLE IF NOT EXISTS ${Tables.quoted(migrations)} (
    migration_id integer PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    name text NOT NULL
)`
]

/**
 * The migrations, for a host that runs them with its own `Migrator`. Their ids are this package's own, so they need a
 * migrations table of their own. Invalid names fail with `MigrationError`, the only error of a loader.
 *
 * @since 0.1.0
 * @category loaders
 */
export const loader = (names?: TableNames): Migrator.Loader =>
  Effect.map(
    Effect.mapError(settle(names), ({ message }) => new Migrator.MigrationError({ reason: "failed", message })),
    (tables) => migrationsOf(tables).map(({ id, name, statements }) => [id, name, Effect.succeed(execute(statements))])
  )

/**
 * The names of the tables, and which migrations to return.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqlOptions extends TableNames {
  /**
   * The version that the tables have, as `status` returns it. Only later migrations are returned, and none for the version
   * of this package. Defaults to `0`, which is an empty database.
   */
  readonly from?: number | undefined
}

/**
 * Returns the migrations as SQL statements, for a host that runs them with another tool. They create the tables in an
 * empty database, or update those of the version `from`. They record each migration as `run` does, so a later `run` finds
 * nothing to do. Run them in one transaction, and try again if it fails with a lock timeout (`55P03`).
 *
 * @example
 * ```ts
 * import { Migrations } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 *
 * const file = Effect.map(
 *   Effect.all([Migrations.sql({ schema: "identity" }), Migrations.grants("app", { schema: "identity" })]),
 *   (statements) => statements.flat().map((statement) => `${statement};\n`).join("")
 * )
 * ```
 *
 * @since 0.1.0
 * @category statements
 */
export const sql = (options: SqlOptions = {}): Effect.Effect<ReadonlyArray<string>, InvalidOptions> =>
  OptionReader.read("Migrations", (reader) => {
    const tables = Tables.read(reader, options)
    const { from = 0 } = options
    if (!Number.isInteger(from) || from < 0 || from > Tables.tablesVersion) {
      reader.report(`\`from\` must be an integer between 0 and ${Tables.tablesVersion}, but is ${from}`)
    }
    const later = migrationsOf(tables).filter(({ id }) => id > from)
    return later.length === 0 ? [] : [
      ...preparation(tables),
      ...later.flatMap(({ id, name, statements }) => [
        ...statements,
        `INSERT INTO ${Tables.quoted(tables.migrations)} (migration_id, name) VALUES (${id}, '${name}')`
      ])
    ]
  })

// PostgreSQL reads PUBLIC as every role, and NONE as no role, even in quotes.
const isRole = (role: string): boolean =>
  role !== "" && new TextEncoder().encode(role).length <= 63 && !["public", "none"].includes(role) &&
  visible(role) === role

/**
 * Returns the statements that grant a role what the cache needs at run time: nothing on the table of the migrations, and
 * no right to create anything. The name of the role is case-sensitive.
 *
 * @since 0.1.0
 * @category statements
 */
export const grants = (role: string, names?: TableNames): Effect.Effect<ReadonlyArray<string>, InvalidOptions> =>
  OptionReader.read("Migrations", (reader) => {
    const tables = Tables.read(reader, names ?? {})
    if (!isRole(role)) {
      reader.report(
        `\`role\` must be the name of one role, in at most 63 bytes of visible characters, but is ${quote(role)}`
      )
    }
    const to = `TO "${role.replaceAll("\"", "\"\"")}"`
    return [
      ...(tables.schema === undefined ? [] : [`GRANT USAGE ON SCHEMA ${Tables.quoted(tables.schema)} ${to}`]),
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${
        [tables.documents, tables.leases, tables.nodes, tables.clients, tables.decisions, tables.requests]
          .map(Tables.quoted).join(", ")
      } ${to}`,
      // The audit is only appended to, and swept.
      `GRANT SELECT, INSERT, DELETE ON ${Tables.quoted(tables.audit)} ${to}`,
      `GRANT SELECT, INSERT, UPDATE ON ${Tables.quoted(tables.usage)} ${to}`,
      `GRANT SELECT, UPDATE ON ${Tables.quoted(tables.state)} ${to}`
    ]
  })

/**
 * Returns the version of the tables and the pending migrations. It changes nothing, and needs no more rights than the
 * cache does at run time.
 *
 * @since 0.1.0
 * @category running
 */
export const status = (
  names?: TableNames
): Effect.Effect<Status, InvalidOptions | SqlError, SqlClient.SqlClient> => Effect.flatMap(settle(names), statusOf)

const statusOf = (tables: Tables.Tables): Effect.Effect<Status, SqlError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    // A statement that fails would abort a transaction of the caller.
    const columns = yield* sql`
      SELECT FROM pg_attribute WHERE attrelid = to_regclass(${tables.state}) AND attname = 'version'`
    // Tables of version 1 have no column `latest`, which an expression on the whole row permits.
    const [state] = columns.length === 0
      ? []
      : yield* sql<{ version: number; usableFrom: number }>`SELECT version AS "usableFrom",
          coalesce((to_jsonb(state) ->> 'latest')::integer, version) AS version
          FROM ${sql(tables.state)} AS state`
    const { usableFrom, version } = state ?? { usableFrom: 0, version: 0 }
    return {
      version,
      usableFrom,
      required: Tables.tablesVersion,
      pending: migrationsOf(tables).flatMap(({ id, name }) => id > version ? [[id, name] as const] : [])
    }
  })

// A table that is altered is locked against readers, and so is one that waits for the lock. The migrations wait for a
// second, and then the readers have time before the next attempt. In all that is half a minute.
const lockTimeout = "1s"
const lockPause = Duration.seconds(2)
const lockRetries = 9

const isLockTimeout = (error: unknown): boolean =>
  error instanceof Migrator.MigrationError
    ? isLockTimeout(error.cause)
    : error instanceof SqlError && sqlState(error) === lockTimeoutState

const locked = ({ documents, leases, migrations, state }: Tables.Tables, cause: unknown) =>
  new Migrator.MigrationError({
    reason: "locked",
    cause,
    message: "Another session, such as a backup, uses the tables of effect-cimd, so they could not be changed. " +
      "Nothing was changed. Run the migrations again after that session has ended. It is listed by: " +
      `SELECT pid, application_name, query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks ` +
      `WHERE relation IN (${
        [state, migrations, documents, leases].map((table) => `to_regclass('${table}')`).join(", ")
      }))`
  })

/**
 * Brings the tables to the version that this package needs, and returns the migrations that ran. Processes that call it
 * at the same time wait for each other, and each migration runs once. If nothing is pending, it needs no more rights than
 * the cache does at run time.
 *
 * Nodes of the version before can serve while it runs (CAC-08). It never queues their reads for more than a second behind
 * another session that uses the tables. If such a session stays for half a minute, it fails with the reason `"locked"`.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (
  names?: TableNames
): Effect.Effect<
  ReadonlyArray<readonly [id: number, name: string]>,
  InvalidOptions | Migrator.MigrationError | SqlError,
  SqlClient.SqlClient
> =>
  Effect.gen(function*() {
    const tables = yield* settle(names)
    const { pending } = yield* statusOf(tables)
    if (pending.length === 0) return []
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    return yield* sql.withTransaction(Effect.gen(function*() {
      // Two migrators on a new database race to create its tables, so one waits for the other to commit.
      yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${tables.migrations}, 0))`
      yield* sql.unsafe(`SET LOCAL lock_timeout = '${lockTimeout}'`)
      yield* execute(preparation(tables))
      return yield* Migrator.make({})({ loader: loader(names), table: tables.migrations })
    })).pipe(
      defectsToFailures,
      Effect.tapError((error) =>
        isLockTimeout(error) ? Effect.logInfo("Another session uses the tables of effect-cimd") : Effect.void
      ),
      Effect.retry({ schedule: Schedule.spaced(lockPause), times: lockRetries, while: isLockTimeout }),
      Effect.mapError((error) => isLockTimeout(error) ? locked(tables, error) : error)
    )
  })

/**
 * Runs the migrations before the layers above it are built.
 *
 * @example
 * ```ts
 * import { Migrations, PostgresCache, PostgresClient } from "effect-cimd"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 *
 * const Live = PostgresCache.layer().pipe(
 *   Layer.provide(Migrations.layer()),
 *   Layer.provide(PostgresClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  names?: TableNames
): Layer.Layer<never, InvalidOptions | Migrator.MigrationError | SqlError, SqlClient.SqlClient> =>
  Layer.effectDiscard(run(names))
