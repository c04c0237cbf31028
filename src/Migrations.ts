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
import * as tables from "./internal/postgres/tableNames.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * Where the tables live. The migrations and the cache must agree on it.
 *
 * @since 0.1.0
 * @category models
 */
export type TableNames = tables.TableNames

const settle = (names: TableNames | undefined) => tables.settle("Migrations", names)

/**
 * The migrations, for a host that runs them with its own `Migrator`. Numbers are this library's own, so give them a
 * migrations table of their own.
 *
 * @since 0.1.0
 * @category loaders
 */
export const loader = (names?: TableNames): Migrator.Loader =>
  Effect.map(
    Effect.mapError(settle(names), ({ message }) => new Migrator.MigrationError({ reason: "failed", message })),
    (current) => {
      const at = <A, E, R>(migration: Effect.Effect<A, E, R>) =>
        Effect.succeed(Effect.provideService(migration, tables.CurrentTables, current))
      return [
        [1, "client_metadata_documents", at(migration0001)]
      ]
    }
  )

/**
 * Brings the tables to the version that this library needs, and answers the migrations that were run. Processes that
 * call it at the same moment wait for one another, and each migration runs once.
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
    const current = yield* settle(names)
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    return yield* sql.withTransaction(Effect.gen(function*() {
      // Two migrators that meet a fresh database race to create its tables, so one waits for the other to commit.
      yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${current.migrations}, 0))`
      if (current.schema !== undefined) {
        // To make sure of a schema that is there takes a right that its owner need not have.
        const schemas = yield* sql`SELECT 1 FROM pg_namespace WHERE nspname = ${current.schema}`
        if (schemas.length === 0) yield* sql`CREATE SCHEMA ${sql(current.schema)}`
      }
      // The migrator would find out by an error whether its table exists, and an error ends the transaction.
      yield* sql`CREATE TABLE IF NOT EXISTS ${sql(current.migrations)} (
        migration_id integer PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(),
        name text NOT NULL
      )`
      return yield* Migrator.make({})({ loader: loader(names), table: current.migrations })
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
