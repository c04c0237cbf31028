/**
 * The cache of a cluster, in Postgres: every node serves what one node fetched.
 *
 * It needs a `PgClient`, and does not build without a reachable server and tables of its version. `Migrations` or the
 * command `cimd migrate` creates the tables.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Cache } from "./Cache.js"
import * as OptionReader from "./internal/optionReader.js"
import * as Documents from "./internal/postgres/documentWrites.js"
import * as Leases from "./internal/postgres/leases.js"
import * as MemoryTier from "./internal/postgres/memoryTier.js"
import * as Notifications from "./internal/postgres/notifications.js"
import * as PostgresOptions from "./internal/postgres/options.js"
import * as Pool from "./internal/postgres/pool.js"
import * as Reads from "./internal/postgres/reads.js"
import * as SocketTimeout from "./internal/postgres/socketTimeout.js"
import { isRefusedParameter, sqlState } from "./internal/postgres/sqlErrors.js"
import * as Statements from "./internal/postgres/sqlFragments.js"
import * as Timeout from "./internal/postgres/statementTimeout.js"
import * as Sweep from "./internal/postgres/sweep.js"
import * as TableNames from "./internal/postgres/tableNames.js"
import * as Lifetime from "./internal/storedLifetime.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The cache cannot start: the server is unreachable or read-only, a pooler refuses its connections, or the tables are
 * missing, of another version, or not accessible (CAC-08). The message names the command or the option that helps.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheUnavailable
  extends Schema.TaggedError<CacheUnavailable>("effect-cimd/PostgresCache/CacheUnavailable")(
    "CacheUnavailable",
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
        return "The client metadata cache cannot connect to its Postgres server; see the cause. " +
          "Check the server and the URL with: psql \"$DATABASE_URL\" -c 'SELECT 1'"
      case "Pooler":
        return "A pooler refuses what the client metadata cache asks of its connection; see the cause. If it gives each " +
          "transaction another connection, as PgBouncer does with pool_mode = transaction, set the option " +
          "pooler: \"transaction\" of PostgresCache.layerClient"
      case "MissingTables":
        return "The tables of the client metadata cache are missing in this database. " +
          `Create them with: ${migrateCommand} (with DATABASE_URL in the environment, or --database-url)`
      case "OlderTables":
        return "The tables of the client metadata cache belong to an older version of effect-cimd. " +
          `Update them with: ${migrateCommand} (with DATABASE_URL in the environment, or --database-url)`
      case "NewerTables":
        return "The tables of the client metadata cache belong to a newer version of effect-cimd. " +
          "Update this program with: npm install effect-cimd@latest"
      case "Refused":
        return "The client metadata cache cannot access its tables; see the cause. " +
          "Check the privileges of its user with: psql \"$DATABASE_URL\" -c '\\dp'"
    }
  }
}

/**
 * Options of the cache in Postgres. Each of them has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends PostgresOptions.PostgresOptions {}

/**
 * Options of the cache in Postgres with a memory tier.
 *
 * @since 0.1.0
 * @category models
 */
export interface TieredOptions extends Options, PostgresOptions.TieredOptions {}

/** Fails unless the tables are there, are of this version, and grant this user every privilege that the cache needs. */
const verify = (
  { sql, state }: Statements.Statements,
  { tables }: PostgresOptions.Settings,
  timeout: Duration.DurationInput
): Effect.Effect<void, CacheUnavailable> =>
  sql<{ version: number; missing: string | null }>`SELECT version, (
      SELECT string_agg(privilege || ' ON ' || name, ', ' ORDER BY name, privilege)
      FROM unnest(ARRAY[${tables.state}, ${tables.documents}, ${tables.leases}]::text[]) AS name,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
      WHERE NOT has_table_privilege(name, privilege) AND (name <> ${tables.state} OR privilege = 'UPDATE')
    ) AS missing FROM ${state}`.pipe(
    Effect.disconnect,
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () => new CacheUnavailable({ reason: "Unreachable", cause: new Error("timed out") })
    }),
    Effect.mapError((error) => error._tag === "SqlError" ? unavailable(error) : error),
    Effect.flatMap(([row]) => {
      if (row === undefined) return new CacheUnavailable({ reason: "MissingTables" })
      if (row.version < TableNames.tablesVersion) return new CacheUnavailable({ reason: "OlderTables" })
      if (row.version > TableNames.tablesVersion) return new CacheUnavailable({ reason: "NewerTables" })
      if (row.missing !== null) {
        return new CacheUnavailable({ reason: "Refused", cause: new Error(`missing privileges: ${row.missing}`) })
      }
      return Effect.void
    }),
    Effect.mapError(({ cause, reason }) =>
      new CacheUnavailable({ reason, cause, migrateCommand: TableNames.migrateCommand(tables) })
    )
  )

// 3F000 and 42P01: no such schema, no such table. 42703: a table of that name, with other columns.
const missing = new Set(["3F000", "42P01", "42703"])

// No connection (08), no such user or a wrong password (28), no such database (3D), too many connections or no memory for
// one more (53), a server that is starting or stopping (57P), or one that is not the primary (25006).
const noConnection = /^(08|25006|28|3D|53|57P)/

const unavailable = (cause: SqlError): CacheUnavailable => {
  if (isRefusedParameter(cause)) return new CacheUnavailable({ reason: "Pooler", cause })
  const state = sqlState(cause)
  if (state === undefined || noConnection.test(state)) {
    return new CacheUnavailable({ reason: "Unreachable", cause })
  }
  return new CacheUnavailable({ reason: missing.has(state) ? "MissingTables" : "Refused", cause })
}

/** A cache without a memory tier, and what a memory tier needs of it. */
interface Untiered {
  readonly cache: Cache["Type"]
  readonly find: Reads.Find
  readonly settings: PostgresOptions.Settings
  readonly nodeId: string
  /** The settings of a connection that can LISTEN; `undefined` if a pooler shares the sessions. */
  readonly listen: PgClient.PgClientConfig | undefined
}

/** The cache, after its tables have been verified. */
const makeUntiered = (
  options: TieredOptions,
  wait?: Leases.WaitForRelease
): Effect.Effect<Untiered, CacheUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const pool = yield* Pool.ofClient(client)
    const settings = yield* PostgresOptions.settle(options)
    const nodeId = (yield* Effect.replicateEffect(Random.nextIntBetween(0, 36), 12)).map((n) => n.toString(36)).join("")
    const timedOut = pool?.pooler === undefined ? "cancel" : "abandon"
    const timeout = yield* Timeout.make(settings.timeoutMillis, timedOut)
    const sweepTimeout = yield* Timeout.make(settings.sweepTimeoutMillis, timedOut)
    const statements = Statements.make(client, settings, nodeId)
    // Connecting can take longer than a statement does.
    yield* verify(statements, settings, Duration.max(settings.timeoutMillis, "5 seconds"))
    const { find, stale } = Reads.make(statements, pool, settings, timeout)
    const cache = Cache.of({
      ...Documents.make(statements, settings, timeout),
      peek: () => undefined,
      get: (clientId, ruleset) => Effect.map(find(clientId), Reads.entryUnder(ruleset)),
      stale: (clientId, ruleset) => Effect.map(stale(clientId), Reads.entryUnder(ruleset)),
      elect: Leases.make(statements, timeout, find, wait),
      sweep: Sweep.make(statements, settings, timeout, sweepTimeout)
    })
    const listen = pool === undefined ? client.config : pool.pooler === undefined ? pool.config : undefined
    return { cache, find, settings, nodeId, listen }
  })

const make = (
  options: Options = {}
): Effect.Effect<Cache["Type"], CacheUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.map(makeUntiered(options), ({ cache }) => cache)

/**
 * The cache in Postgres, without a memory tier: every read is a query.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Cache, CacheUnavailable | InvalidOptions, PgClient.PgClient> =>
  Layer.scoped(Cache, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Cache, CacheUnavailable | InvalidOptions | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(Cache, Effect.flatMap(Config.unwrap(options), make))

const makeTiered = (
  options: TieredOptions = {}
): Effect.Effect<Cache["Type"], CacheUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const releases = Leases.makeReleaseNotifications()
    const { cache, find, listen, nodeId, settings } = yield* makeUntiered(options, releases.wait)

    let connectedUntil = () => 0n
    const tier = MemoryTier.make(cache, find, {
      maxEntries: settings.maxEntries,
      disconnectedTtlNanos: Lifetime.toNanos(settings.disconnectedTtlMillis),
      nanos: () => clock.unsafeCurrentTimeNanos(),
      connectedUntil: () => connectedUntil()
    })
    if (settings.notifications && listen !== undefined) {
      const notifications = yield* Notifications.make(listen, {
        channel: settings.tables.channel,
        nodeId,
        handlers: {
          ...tier.handlers,
          changed: (clientId) => {
            tier.handlers.changed(clientId)
            releases.released(clientId)
          },
          released: releases.released
        }
      })
      connectedUntil = notifications.connectedUntil
    }
    return tier.cache
  })

/**
 * The cache in Postgres with a bounded memory tier in front of it. The tier is coherent: within a second it reflects what
 * another node puts or evicts. It opens one connection beside the client's, to LISTEN. Over a client with a `pooler` it
 * opens none, so its memory serves a document for `disconnectedTtl` after each read.
 *
 * @example
 * ```ts
 * import { PostgresCache } from "effect-cimd"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 *
 * const Live = Layer.provide(
 *   PostgresCache.layerTiered({ staleIfError: "1 day" }),
 *   PostgresCache.layerClientConfig({ url: Config.redacted("DATABASE_URL") })
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTiered = (
  options?: TieredOptions
): Layer.Layer<Cache, CacheUnavailable | InvalidOptions, PgClient.PgClient> => Layer.scoped(Cache, makeTiered(options))

/**
 * {@link layerTiered} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTieredConfig = (
  options: Config.Config.Wrap<TieredOptions>
): Layer.Layer<Cache, CacheUnavailable | InvalidOptions | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(Cache, Effect.flatMap(Config.unwrap(options), makeTiered))

/**
 * The connection settings of Effect's `PgClient`, and those of the cache.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientConfig extends PgClient.PgClientConfig {
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

/**
 * A `PgClient` for the cache. It prepares the reads, which halves their time. It closes connections that were cut without
 * notice, and those to a server that became read-only, so it follows the primary. If it cannot connect it fails with
 * `CacheUnavailable`, so a server that is down at the start is reported by the same error as missing tables.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  config: ClientConfig
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, CacheUnavailable | InvalidOptions> =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const { pooler } = config
    const socketTimeout = yield* OptionReader.read("PostgresCache", ({ millis, report }) => {
      // A value from JavaScript or from the environment.
      if (pooler !== undefined && pooler !== "transaction") report(`\`pooler\` must be "transaction", but is ${pooler}`)
      return millis("socketTimeout", config.socketTimeout, "10 seconds", { most: Number.POSITIVE_INFINITY })
    })
    const stream = config.stream ?? SocketTimeout.make(socketTimeout)
    const pool = yield* Effect.mapError(
      Pool.make({ ...config, stream }, { pooler, statementTimeoutMillis: socketTimeout }),
      unavailable
    )
    return PgClient.layerFromPool({
      acquire: Effect.succeed(pool),
      spanAttributes: config.spanAttributes,
      transformResultNames: config.transformResultNames,
      transformQueryNames: config.transformQueryNames,
      transformJson: config.transformJson
    }).pipe(
      Layer.map((context) =>
        Context.add(context, Pool.OwnPool, { client: Context.get(context, PgClient.PgClient), pool, pooler, config })
      ),
      Layer.mapError(unavailable)
    )
  }))

/**
 * {@link layerClient} with its options read from `Config`. `Config.succeed` passes those that no environment can hold,
 * such as `stream`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClientConfig = (
  config: Config.Config.Wrap<ClientConfig>
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, CacheUnavailable | InvalidOptions | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(config), layerClient))
