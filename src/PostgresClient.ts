/**
 * The connections to Postgres that `PostgresCache` and `PostgresRegistry` share.
 *
 * Both work over any `PgClient`. The one of this module prepares its reads, and drops connections that are of no use.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as OptionReader from "./internal/optionReader.js"
import * as Pool from "./internal/postgres/pool.js"
import * as SocketTimeout from "./internal/postgres/socketTimeout.js"
import { isNoConnection, isRefusedParameter } from "./internal/postgres/sqlErrors.js"
import * as TableNames from "./internal/postgres/tableNames.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * A layer over Postgres cannot start: the server is unreachable or read-only, a pooler refuses its connections, or the
 * tables are missing, of another version, or not accessible (CAC-08, REG-14). The message names the command or the option
 * that helps.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseUnavailable
  extends Schema.TaggedError<DatabaseUnavailable>("effect-cimd/PostgresClient/DatabaseUnavailable")(
    "DatabaseUnavailable",
    {
      reason: Schema.Literal("Unreachable", "Pooler", "MissingTables", "OlderTables", "NewerTables", "Refused"),
      cause: Schema.optional(Schema.Defect),
      /** The command that creates or updates the tables. Defaults to the command for tables of the default names. */
      migrateCommand: Schema.optional(Schema.String)
    }
  )
{
  override get message(): string {
    const { migrateCommand = TableNames.migrateCommand(TableNames.defaults) } = this
    switch (this.reason) {
      case "Unreachable":
        return "effect-cimd cannot connect to its Postgres server; see the cause. " +
          "Check the server and the URL with: psql \"$DATABASE_URL\" -c 'SELECT 1'"
      case "Pooler":
        return "A pooler refuses what effect-cimd asks of its connection; see the cause. If it gives each " +
          "transaction another connection, as PgBouncer does with pool_mode = transaction, set the option " +
          "pooler: \"transaction\" of PostgresClient.layer"
      case "MissingTables":
        return "The tables of effect-cimd are missing in this database. " +
          `Create them with: ${migrateCommand} (with DATABASE_URL in the environment, or --database-url)`
      case "OlderTables":
        return "The tables of effect-cimd belong to an older version of it. " +
          `Update them with: ${migrateCommand} (with DATABASE_URL in the environment, or --database-url)`
      case "NewerTables":
        return "The tables of effect-cimd belong to a newer version of it, which this version cannot use. " +
          "Update this program with: npm install effect-cimd@latest"
      case "Refused":
        return "effect-cimd cannot access its tables; see the cause. " +
          "Check the privileges of its user with: psql \"$DATABASE_URL\" -c '\\dp'"
    }
  }
}

/**
 * The connection settings of Effect's `PgClient`, and those of this package.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends PgClient.PgClientConfig {
  /**
   * What is between this program and Postgres. `"transaction"` is a pooler that gives each transaction another connection,
   * as PgBouncer does with `pool_mode = transaction`. Then nothing is set, prepared or listened to on a connection, because
   * other programs share it, and no statement is cancelled. By default the connections belong to this program alone.
   */
  readonly pooler?: Pool.Pooler | undefined
  /**
   * How long a connection may be without traffic before it is closed, whether it is idle or waits for a result. So a
   * connection that was cut without notice is not used for longer. The server ends statements after this time too, by the
   * `statement_timeout` of the connection. It replaces that of `ALTER ROLE`, but not one in the URL or in `PGOPTIONS`, and
   * is not sent to a `pooler`. Sockets of the host's own `stream` are not closed. `Duration.infinity` turns both off.
   * Defaults to `"10 seconds"`.
   */
  readonly socketTimeout?: Duration.DurationInput | undefined
}

const unreachable = (cause: SqlError): DatabaseUnavailable =>
  new DatabaseUnavailable({
    reason: isRefusedParameter(cause) ? "Pooler" : isNoConnection(cause) ? "Unreachable" : "Refused",
    cause
  })

/**
 * A `PgClient` for the cache and the registry. It prepares the reads, which halves their time. It closes connections that
 * were cut without notice, and those to a server that became read-only, so it follows the primary. If it cannot connect it
 * fails with `DatabaseUnavailable`, so a server that is down at the start is reported by the same error as missing tables.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseUnavailable | InvalidOptions> =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const { pooler } = options
    const socketTimeout = yield* OptionReader.read("PostgresClient", ({ millis, report }) => {
      // A value from JavaScript or from the environment.
      if (pooler !== undefined && pooler !== "transaction") report(`\`pooler\` must be "transaction", but is ${pooler}`)
      return millis("socketTimeout", options.socketTimeout, "10 seconds", { most: Number.POSITIVE_INFINITY })
    })
    const stream = options.stream ?? SocketTimeout.make(socketTimeout)
    const pool = yield* Effect.mapError(
      Pool.make({ ...options, stream }, { pooler, statementTimeoutMillis: socketTimeout }),
      unreachable
    )
    return PgClient.layerFromPool({
      acquire: Effect.succeed(pool),
      spanAttributes: options.spanAttributes,
      transformResultNames: options.transformResultNames,
      transformQueryNames: options.transformQueryNames,
      transformJson: options.transformJson
    }).pipe(
      Layer.map((context) =>
        Context.add(context, Pool.OwnPool, {
          client: Context.get(context, PgClient.PgClient),
          pool,
          pooler,
          config: options
        })
      ),
      Layer.mapError(unreachable)
    )
  }))

/**
 * {@link layer} with its options read from `Config`. `Config.succeed` passes those that no environment can hold,
 * such as `stream`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  DatabaseUnavailable | InvalidOptions | ConfigError.ConfigError
> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
