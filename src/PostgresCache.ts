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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Swept } from "./Cache.js"
import { Cache } from "./Cache.js"
import * as metrics from "./internal/metrics.js"
import * as PostgresStore from "./internal/postgresStore.js"
import { sqlState } from "./internal/sqlFaults.js"
import * as tables from "./internal/tables.js"

/**
 * The cache cannot start: the server does not answer, the tables are missing, or they are of another version (CAC-08).
 * The message names the command that mends it.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheUnavailable extends Schema.TaggedError<CacheUnavailable>("effect-cimd/PostgresCache/CacheUnavailable")(
  "CacheUnavailable",
  {
    reason: Schema.Literal("Unreachable", "MissingTables", "OlderTables", "NewerTables", "Refused"),
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    switch (this.reason) {
      case "Unreachable":
        return "The client metadata cache cannot reach its Postgres server. " +
          "Check the server and the URL with: psql \"$DATABASE_URL\" -c 'SELECT 1'"
      case "MissingTables":
        return "The client metadata cache has no tables in this database. " +
          "Create them with: npx cimd migrate --database-url \"$DATABASE_URL\""
      case "OlderTables":
        return "The tables of the client metadata cache are of an older version of effect-cimd. " +
          "Bring them up to date with: npx cimd migrate --database-url \"$DATABASE_URL\""
      case "NewerTables":
        return "The tables of the client metadata cache are of a newer version of effect-cimd. " +
          "Bring this program up to date with: npm install effect-cimd@latest"
      case "Refused":
        return "Postgres refuses to let the client metadata cache read its tables; see the cause. " +
          "Check the rights of its user with: psql \"$DATABASE_URL\" -c '\\dp'"
    }
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends tables.TableNames {
  /** Time for one statement, after which the caller gets a `CacheError`; 2 seconds unless told. */
  readonly timeout?: Duration.DurationInput | undefined
}

const defaultBatchSize = 1000

const verify = (store: ReturnType<typeof PostgresStore.make>, timeout: Duration.DurationInput) =>
  store.version.pipe(
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
      return Effect.void
    })
  )

// 3F000 and 42P01: no such schema, no such table. 42703: a table of that name, with other columns.
const missing = new Set(["3F000", "42P01", "42703"])

const unavailable = (cause: SqlError): CacheUnavailable => {
  const state = sqlState(cause)
  if (state === undefined || state.startsWith("08") || state.startsWith("57P")) {
    return new CacheUnavailable({ reason: "Unreachable", cause })
  }
  return new CacheUnavailable({ reason: missing.has(state) ? "MissingTables" : "Refused", cause })
}

const make = (options: Options = {}): Effect.Effect<Cache["Type"], CacheUnavailable, PgClient.PgClient> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const timeout = options.timeout ?? "2 seconds"
    const store = PostgresStore.make(client, tables.resolve(options), { timeout })
    // Connecting can take longer than a statement does.
    yield* verify(store, Duration.max(timeout, "5 seconds"))

    return Cache.of({
      now: store.now,
      peek: () => undefined,
      get: (clientId, ruleset) =>
        Effect.map(
          store.get(clientId),
          Option.flatMap(({ document, remainingMillis }) => {
            if (document.ruleset === ruleset) return Option.some({ document, tier: "postgres", remainingMillis })
            metrics.otherRulesetRows.unsafeUpdate(1, [])
            return Option.none()
          })
        ),
      put: store.put,
      evict: store.evict,
      evictAll: store.evictAll,
      sweep: (options) =>
        Effect.flatMap(store.boundary, (boundary) => {
          const batchSize = options?.batchSize ?? defaultBatchSize
          const rest = (documents: number): Effect.Effect<Swept, SweepFailure> =>
            Effect.flatMap(
              // A batch is not torn apart; between two of them the sweep can be stopped.
              Effect.uninterruptible(store.sweepBatch(boundary, batchSize)),
              (deleted) =>
                deleted < batchSize ? Effect.succeed({ documents: documents + deleted }) : rest(documents + deleted)
            )
          return rest(0)
        })
    })
  })

type SweepFailure = Effect.Effect.Error<ReturnType<ReturnType<typeof PostgresStore.make>["sweepBatch"]>>

/**
 * The cache in Postgres, without a memory tier: every read asks the database.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Cache, CacheUnavailable, PgClient.PgClient> =>
  Layer.effect(Cache, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Cache, CacheUnavailable | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.effect(Cache, Effect.flatMap(Config.unwrap(options), make))

/**
 * A `PgClient` whose failure to connect is a `CacheUnavailable`, so that a server that is away at the start is reported
 * by the same error as missing tables.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  config: PgClient.PgClientConfig
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, CacheUnavailable> =>
  Layer.catchAll(PgClient.layer(config), (cause) => Layer.fail(unavailable(cause)))
