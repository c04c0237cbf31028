/**
 * The cache of a cluster, in Postgres: every node serves what one node fetched.
 *
 * It needs a `PgClient`, and does not build without a reachable server and tables of its version. `Migrations` or the
 * command `cimd migrate` creates the tables.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Cache, CacheError } from "./Cache.js"
import * as Documents from "./internal/postgres/documentWrites.js"
import * as Eviction from "./internal/postgres/eviction.js"
import * as Knows from "./internal/postgres/knows.js"
import * as Leases from "./internal/postgres/leases.js"
import * as MemoryTier from "./internal/postgres/memoryTier.js"
import * as NodeRows from "./internal/postgres/nodeRows.js"
import * as Notifications from "./internal/postgres/notifications.js"
import * as Seal from "./internal/postgres/notificationSeal.js"
import * as PostgresOptions from "./internal/postgres/options.js"
import * as Pool from "./internal/postgres/pool.js"
import * as Reads from "./internal/postgres/reads.js"
import * as Statements from "./internal/postgres/sqlFragments.js"
import * as Timeout from "./internal/postgres/statementTimeout.js"
import * as Sweep from "./internal/postgres/sweep.js"
import * as TableBound from "./internal/postgres/tableBound.js"
import * as TablesCheck from "./internal/postgres/tablesCheck.js"
import * as TableUsage from "./internal/postgres/tableUsage.js"
import * as Upkeep from "./internal/postgres/upkeep.js"
import * as Lifetime from "./internal/storedLifetime.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { DatabaseUnavailable } from "./PostgresClient.js"

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

/** A cache without a memory tier, and what a memory tier needs of it. */
interface Untiered {
  readonly cache: Cache["Type"]
  readonly find: Reads.Find
  readonly settings: PostgresOptions.Settings
  readonly statements: Statements.Statements
  readonly seal: Seal.Seal
  /** The settings of a connection that can LISTEN; `undefined` if a pooler shares the sessions. */
  readonly listen: PgClient.PgClientConfig | undefined
  /** Starts what the node does by itself, and returns the cache that it serves. */
  readonly start: (
    cache: Cache["Type"],
    node: { readonly isTiered: boolean; readonly isListening: () => boolean }
  ) => Effect.Effect<Cache["Type"], never, Scope.Scope>
}

const needs = ({ tables }: PostgresOptions.Settings): ReadonlyArray<TablesCheck.Need> => [
  { table: tables.documents, privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"] },
  { table: tables.leases, privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"] },
  { table: tables.nodes, privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"] },
  { table: tables.usage, privileges: ["SELECT", "INSERT", "UPDATE"] },
  { table: tables.clients, privileges: ["SELECT"] },
  { table: tables.state, privileges: ["SELECT", "UPDATE"] }
]

/** The cache, after its tables have been verified. */
const makeUntiered = (
  options: TieredOptions,
  wait?: Leases.WaitForRelease
): Effect.Effect<Untiered, DatabaseUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const clock = yield* Effect.clock
    const pool = yield* Pool.ofClient(client)
    const settings = yield* PostgresOptions.settle(options)
    const nodeId = (yield* Effect.replicateEffect(Random.nextIntBetween(0, 36), 12)).map((n) => n.toString(36)).join("")
    const timedOut = pool?.pooler === undefined ? "cancel" : "abandon"
    const timeout = yield* Timeout.make(CacheError, settings.timeoutMillis, timedOut)
    const sweepTimeout = yield* Timeout.make(CacheError, settings.sweepTimeoutMillis, timedOut)
    const seal = Seal.make(yield* TablesCheck.check(client, settings.tables, needs(settings), settings.timeoutMillis))
    const statements = Statements.make(client, settings, { nodeId, seal })
    const { find, stale } = Reads.make(statements, pool, settings, timeout)
    const usage = TableUsage.make(statements, timeout)
    const batches = Sweep.makeBatches(statements, settings, timeout, sweepTimeout)
    const { relieve } = Eviction.make(statements, settings, {
      timeout,
      sweepTimeout,
      usage,
      expired: (batchSize) => Effect.flatMap(batches.boundary, (now) => batches.documentsBefore(now)(batchSize))
    })
    const nanos = () => clock.unsafeCurrentTimeNanos()
    const bound = yield* TableBound.make(settings, timeout, usage, relieve, nanos)
    const cache = Cache.of({
      ...Documents.make(statements, settings, timeout, { bound, usage }),
      peek: () => undefined,
      get: (clientId, reader) => Effect.flatMap(find(clientId), Reads.entryFor(reader)),
      stale: (clientId, reader) => Effect.flatMap(stale(clientId, reader.ruleset), Reads.entryFor(reader)),
      elect: Leases.make(statements, pool, settings, timeout, find, wait),
      knows: Knows.make(statements, pool, settings, timeout),
      sweep: Sweep.make(batches, settings, { usage, relieve })
    })
    const listen = pool === undefined ? client.config : pool.pooler === undefined ? pool.config : undefined
    const start: Untiered["start"] = (cache, { isListening, isTiered }) => {
      const rulesets = NodeRows.makeRulesets()
      const rows = NodeRows.make(statements, NodeRows.limitsOf(settings, { isTiered, pooler: pool?.pooler }), timeout)
      const self = () => ({ rulesets: rulesets.all(), listening: isListening() })
      return Effect.as(Upkeep.start({ statements, settings, timeout, usage, bound, rows, self, nanos }), {
        ...cache,
        get: (clientId, reader) => {
          rulesets.add(reader.ruleset)
          return cache.get(clientId, reader)
        }
      })
    }
    return { cache, find, settings, statements, seal, listen, start }
  })

const make = (
  options: Options = {}
): Effect.Effect<Cache["Type"], DatabaseUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.flatMap(
    makeUntiered(options),
    ({ cache, start }) => start(cache, { isTiered: false, isListening: () => false })
  )

/**
 * The cache in Postgres, without a memory tier: every read is a query.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Cache, DatabaseUnavailable | InvalidOptions, PgClient.PgClient> =>
  Layer.scoped(Cache, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Cache, DatabaseUnavailable | InvalidOptions | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(Cache, Effect.flatMap(Config.unwrap(options), make))

const makeTiered = (
  options: TieredOptions = {}
): Effect.Effect<Cache["Type"], DatabaseUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const releases = Leases.makeReleaseNotifications()
    const { cache, find, listen, seal, settings, start, statements } = yield* makeUntiered(options, releases.wait)

    let connectedUntil = () => 0n
    const tier = MemoryTier.make(cache, find, {
      maxBytes: settings.maxBytes,
      disconnectedTtlNanos: Lifetime.toNanos(settings.disconnectedTtlMillis),
      nanos: () => clock.unsafeCurrentTimeNanos(),
      connectedUntil: () => connectedUntil()
    })
    if (settings.notifications && listen !== undefined) {
      const notifications = yield* Notifications.make(listen, statements, {
        channel: settings.tables.channel,
        nodeId: statements.nodeId,
        seal,
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
    return yield* start(tier.cache, {
      isTiered: true,
      isListening: () => clock.unsafeCurrentTimeNanos() < connectedUntil()
    })
  })

/**
 * The cache in Postgres with a bounded memory tier in front of it. The tier is coherent: within a second it reflects what
 * another node puts or evicts. It opens one connection beside the client's, to LISTEN. Over a client with a `pooler` it
 * opens none, so its memory serves a document for `disconnectedTtl` after each read.
 *
 * @example
 * ```ts
 * import { PostgresCache, PostgresClient } from "effect-cimd"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 *
 * const Live = Layer.provide(
 *   PostgresCache.layerTiered({ staleIfError: "1 day" }),
 *   PostgresClient.layerConfig({ url: Config.redacted("DATABASE_URL") })
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTiered = (
  options?: TieredOptions
): Layer.Layer<Cache, DatabaseUnavailable | InvalidOptions, PgClient.PgClient> =>
  Layer.scoped(Cache, makeTiered(options))

/**
 * {@link layerTiered} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTieredConfig = (
  options: Config.Config.Wrap<TieredOptions>
): Layer.Layer<Cache, DatabaseUnavailable | InvalidOptions | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(Cache, Effect.flatMap(Config.unwrap(options), makeTiered))
