/**
 * The tables of `PostgresCache`, as migrations for Effect's `Migrator`.
 *
 * @since 0.1.0
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import migration0001 from "../migrations/0001_client_metadata_documents.js"
import { defectsToFailures } from "./internal/postgres/sqlErrors.js"
import * as Tables from "./internal/postgres/tableNames.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The names of the tables. The migrations and the cache need the same ones.
 *
 * @since 0.1.0
 * @category models
 */
export type TableNames = Tables.TableNames

const settle = (names: TableNames | undefined) => Tables.settle("Migrations", names)

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
    (tables) => [
      [1, "client_metadata_documents", Effect.succeed(migration0001(tables))]
    ]
  )

/**
 * Brings the tables to the version that this package needs, and returns the migrations that ran. Processes that call it
 * at the same time wait for each other, and each migration runs once.
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
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    return yield* sql.withTransaction(Effect.gen(function*() {
      // Two migrators on a new database race to create its tables, so one waits for the other to commit.
      yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${tables.migrations}, 0))`
      if (tables.schema !== undefined) {
        // `CREATE SCHEMA IF NOT EXISTS` needs a privilege on the database even if the schema exists.
        const schemas = yield* sql`SELECT 1 FROM pg_namespace WHERE nspname = ${tables.schema}`
        if (schemas.length === 0) yield* sql`CREATE SCHEMA ${sql(tables.schema)}`
      }
      // The migrator checks for its table by a statement that may fail, and a failure aborts the transaction.
      yield* sql`CREATE TABLE IF NOT EXISTS ${sql(tables.migrations)} (
        migration_id integer PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(),
        name text NOT NULL
      )`
      return yield* Migrator.make({})({ loader: loader(names), table: tables.migrations })
    }))
  }).pipe(defectsToFailures)

/**
 * Runs the migrations before the layers above it are built.
 *
 * @example
 * ```ts
 * import { Migrations, PostgresCache } from "effect-cimd"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 *
 * const Live = PostgresCache.layer().pipe(
 *   Layer.provide(Migrations.layer()),
 *   Layer.provide(PostgresCache.layerClientConfig({ url: Config.redacted("DATABASE_URL") }))
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
