/**
 * The cache of a cluster, in Postgres: what one node fetched, every node serves.
 *
 * It needs a `PgClient`, and does not build without a server that answers and tables of its version. The tables are made
 * by `Migrations`, or by the command `cimd migrate`.
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
import * as Lifetime from "./internal/lifetime.js"
import * as OptionReader from "./internal/optionReader.js"
import * as PostgresStore from "./internal/postgres/documents.js"
import * as Elections from "./internal/postgres/elections.js"
import * as PostgresLeases from "./internal/postgres/leases.js"
import * as MemoryTier from "./internal/postgres/memoryTier.js"
import * as Announcements from "./internal/postgres/notifications.js"
import * as CacheSettings from "./internal/postgres/options.js"
import * as PostgresPool from "./internal/postgres/pool.js"
import * as DirectQuery from "./internal/postgres/preparedQuery.js"
import * as PostgresReads from "./internal/postgres/reads.js"
import * as Releases from "./internal/postgres/releaseNotifications.js"
import * as SilentSocket from "./internal/postgres/socketTimeout.js"
import { sqlState } from "./internal/postgres/sqlErrors.js"
import * as PostgresStatements from "./internal/postgres/statements.js"
import * as PostgresSweep from "./internal/postgres/sweep.js"
import * as tables from "./internal/postgres/tableNames.js"
import * as Bounded from "./internal/postgres/timeout.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The cache cannot start: the server does not answer, the tables are missing, or they are of another version (CAC-08).
 * The message names the command that mends it.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheUnavailable
  extends Schema.TaggedError<CacheUnavailable>("effect-cimd/PostgresCache/CacheUnavailable")(
    "CacheUnavailable",
    {
      reason: Schema.Literal("Unreachable", "MissingTables", "OlderTables", "NewerTables", "Refused"),
      cause: Schema.optional(Schema.Defect)
    }
  )
{
  override get message(): string {
    switch (this.reason) {
      case "Unreachable":
        return "The client metadata cache cannot connect to its Postgres server; see the cause. " +
          "Check the server and the URL with: psql \"$DATABASE_URL\" -c 'SELECT 1'"
      case "MissingTables":
        return "The client metadata cache has no tables in this database. " +
          "Create them with: npx effect-cimd migrate (with DATABASE_URL in the environment)"
      case "OlderTables":
        return "The tables of the client metadata cache are of an older version of effect-cimd. " +
          "Bring them up to date with: npx effect-cimd migrate (with DATABASE_URL in the environment)"
      case "NewerTables":
        return "The tables of the client metadata cache are of a newer version of effect-cimd. " +
          "Bring this program up to date with: npm install effect-cimd@latest"
      case "Refused":
        return "Postgres refuses to let the client metadata cache use its tables; see the cause. " +
          "Check the rights of its user with: psql \"$DATABASE_URL\" -c '\\dp'"
    }
  }
}

/**
 * What the cache in Postgres may be told; every option has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends CacheSettings.PostgresOptions {}

/**
 * What the cache may be told whose documents are also kept in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface TieredOptions extends Options, CacheSettings.TieredOptions {}

const verify = (
  version: PostgresStore.PostgresStore["version"],
  timeout: Duration.DurationInput
): Effect.Effect<void, CacheUnavailable> =>
  version.pipe(
    Effect.disconnect,
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () => new CacheUnavailable({ reason: "Unreachable", cause: new Error("no answer in time") })
    }),
    Effect.mapError((error) => error._tag === "SqlError" ? unavailable(error) : error),
    Effect.flatMap(([row]) => {
      if (row === undefined) return new CacheUnavailable({ reason: "MissingTables" })
      if (row.version < tables.tablesVersion) return new CacheUnavailable({ reason: "OlderTables" })
      if (row.version > tables.tablesVersion) return new CacheUnavailable({ reason: "NewerTables" })
      if (row.lacking !== null) {
        return new CacheUnavailable({ reason: "Refused", cause: new Error(`its user lacks: ${row.lacking}`) })
      }
      return Effect.void
    })
  )

// 3F000 and 42P01: no such schema, no such table. 42703: a table of that name, with other columns.
const missing = new Set(["3F000", "42P01", "42703"])

// No connection (08), no such user or a wrong password (28), no such database (3D), too many connections or no memory for
// one more (53), or a server that is starting or stopping (57P).
const noConnection = /^(08|28|3D|53|57P)/

const unavailable = (cause: SqlError): CacheUnavailable => {
  const state = sqlState(cause)
  if (state === undefined || noConnection.test(state)) {
    return new CacheUnavailable({ reason: "Unreachable", cause })
  }
  return new CacheUnavailable({ reason: missing.has(state) ? "MissingTables" : "Refused", cause })
}

/** A node's access to the tables. */
interface Access {
  readonly store: PostgresStore.PostgresStore
  readonly leases: PostgresLeases.PostgresLeases
  readonly settings: CacheSettings.Settings
  readonly nodeId: string
}

/** Access to the tables, once they and their server have been seen. */
const open = (
  options: TieredOptions
): Effect.Effect<Access, CacheUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const settings = yield* CacheSettings.settle(options)
    const nodeId = (yield* Effect.replicateEffect(Random.nextIntBetween(0, 36), 12)).map((n) => n.toString(36)).join("")
    const bounded = yield* Bounded.make(settings.timeoutMillis)
    const sweeping = yield* Bounded.make(settings.sweepTimeoutMillis)
    const statements = PostgresStatements.make(client, settings, nodeId)
    const store = PostgresStore.make(statements, settings, bounded, sweeping)
    // Connecting can take longer than a statement does.
    yield* verify(store.version, Duration.max(settings.timeoutMillis, "5 seconds"))
    return { store, leases: PostgresLeases.make(statements, bounded), settings, nodeId }
  })

const cacheOver = ({ leases, store }: Access, find: PostgresReads.Find, wait?: Elections.WaitForRelease) =>
  Cache.of({
    now: store.now,
    peek: () => undefined,
    get: (clientId, ruleset) => Effect.map(find(clientId), PostgresReads.entryUnder(ruleset)),
    elect: Elections.make(leases, find, wait),
    stale: (clientId, ruleset) => Effect.map(store.stale(clientId), PostgresReads.entryUnder(ruleset)),
    supersede: store.supersede,
    withdraw: store.withdraw,
    put: store.put,
    evict: store.evict,
    evictAll: store.evictAll,
    sweep: PostgresSweep.make(store)
  })

const make = (
  options: Options = {}
): Effect.Effect<Cache["Type"], CacheUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const access = yield* open(options)
    return cacheOver(access, PostgresReads.make(access.store))
  })

/**
 * The cache in Postgres, without a memory tier: every read asks the database.
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
    const client = yield* PgClient.PgClient
    const clock = yield* Effect.clock
    const access = yield* open(options)
    const { nodeId, settings } = access
    const find = PostgresReads.make(access.store)
    const releases = Releases.make()

    let heardUntil = () => 0n
    const tier = MemoryTier.make(cacheOver(access, find, releases.wait), find, {
      maxEntries: settings.maxEntries,
      unheardNanos: Lifetime.toNanos(settings.unheardMillis),
      nanos: () => clock.unsafeCurrentTimeNanos(),
      heardUntil: () => heardUntil()
    })
    if (settings.notifications) {
      const announcements = yield* Announcements.make(client, {
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
      heardUntil = announcements.heardUntil
    }
    return tier.cache
  })

/**
 * The cache in Postgres with a bounded memory tier in front of it. The tier is coherent: what another node puts or evicts
 * is seen here within a second. It needs two connections of its own, to listen and to prove that it still hears.
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
 * The connection settings of Effect's `PgClient`, and what the cache needs beside them.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientConfig extends PgClient.PgClientConfig {
  /**
   * Whether the reads of the cache are prepared once on each connection; on unless told. Turn it off behind a pooler that
   * gives each transaction another connection and knows nothing of prepared statements.
   */
  readonly prepare?: boolean | undefined
  /**
   * How long a connection may be silent, whether it is idle or waits for an answer, before it is closed; 10 seconds
   * unless told, and `Duration.infinity` for any time. So a connection that was cut without notice is not used for
   * longer, and no statement may take longer: the server gives it up then too, by `statement_timeout`, which is left
   * alone where it is set already and where `prepare` is off. Where `stream` is given, its sockets are left alone.
   */
  readonly socketTimeout?: Duration.DurationInput | undefined
}

/**
 * A `PgClient` that prepares the statements of the cache, which halves the time of a read; that finds out when a
 * connection has been cut, also when nobody says so; and whose failure to connect is a `CacheUnavailable`, so that a
 * server that is away at the start is reported by the same error as missing tables.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  config: ClientConfig
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, CacheUnavailable | InvalidOptions> =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const { connectTimeout, prepare = true } = config
    const silence = yield* OptionReader.read(
      "PostgresCache",
      ({ millis }) => millis("socketTimeout", config.socketTimeout, "10 seconds", { most: Number.POSITIVE_INFINITY })
    )
    const stream = config.stream ?? SilentSocket.make(silence)
    // A pooler may hand a connection on to others, with what is set on it.
    const statementMillis = prepare ? silence : Number.POSITIVE_INFINITY
    const pool = yield* Effect.mapError(PostgresPool.make({ ...config, stream }, statementMillis), unavailable)
    return PgClient.layerFromPool({
      acquire: Effect.succeed(pool),
      spanAttributes: config.spanAttributes,
      transformResultNames: config.transformResultNames,
      transformQueryNames: config.transformQueryNames,
      transformJson: config.transformJson
    }).pipe(
      Layer.tap((context) =>
        Effect.sync(() => {
          const client = Context.get(context, PgClient.PgClient)
          DirectQuery.register(client, { pool, prepare })
          // A pool does not tell these, and who listens connects as the pool does.
          Object.assign(client.config, { connectTimeout, stream: config.stream })
        })
      ),
      Layer.mapError(unavailable)
    )
  }))

/**
 * The same from `Config`. What no environment can hold, such as `stream`, is given with `Config.succeed`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClientConfig = (
  config: Config.Config.Wrap<ClientConfig>
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, CacheUnavailable | InvalidOptions | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(config), layerClient))
