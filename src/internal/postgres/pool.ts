/** The pool of `PostgresCache.layerClient`: it counts the waiters for a connection, and every statement in it ends. */
import type { PgClient, PgClientConfig } from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import pg from "pg"
import * as metrics from "../metrics.js"
import { endsConnection } from "./sqlErrors.js"

/**
 * What `layerClient` provides beside the `PgClient`, which hides its pool. A program can replace the `PgClient` alone, so
 * the value names its client, and serves no other one. Without it the cache works, with slower reads.
 */
export class OwnPool extends Context.Tag("effect-cimd/PostgresCache/OwnPool")<OwnPool, {
  readonly client: PgClient
  readonly pool: pg.Pool
  /** Whether connections prepare the statements of the cache. */
  readonly prepare: boolean
  /** The connection settings as the host gave them. */
  readonly config: PgClientConfig
}>() {}

/** The pool under a client, if `layerClient` made the client. */
export const ofClient = (client: PgClient): Effect.Effect<OwnPool["Type"] | undefined> =>
  Effect.map(
    Effect.serviceOption(OwnPool),
    (own) => Option.isSome(own) && own.value.client === client ? own.value : undefined
  )

const millis = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const seconds = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toSeconds(duration)

const secret = (value: Redacted.Redacted | undefined): string | undefined =>
  value === undefined ? undefined : Redacted.value(value)

/** The settings of one connection, as node-postgres takes them. */
export const connectionConfig = (config: PgClientConfig): pg.ClientConfig => ({
  connectionString: secret(config.url),
  host: config.host,
  port: config.port,
  database: config.database,
  user: config.username,
  password: secret(config.password),
  ssl: config.ssl,
  ...(config.stream === undefined ? {} : { stream: config.stream }),
  types: config.types,
  connectionTimeoutMillis: millis(config.connectTimeout),
  application_name: config.applicationName ?? "effect-cimd"
})

/** The pool, once its server has answered. It ends with the scope, and no statement takes longer than the timeout. */
export const make = (
  config: PgClientConfig,
  statementTimeoutMillis: number
): Effect.Effect<pg.Pool, SqlError, Scope.Scope> => {
  const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to connect" })
  return Effect.acquireRelease(
    Effect.sync(() => open(config, statementTimeoutMillis)),
    // A connection whose query never ends must not delay the end of the program.
    (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
  ).pipe(
    Effect.tap((pool) =>
      Effect.tryPromise({ try: () => pool.query("SELECT 1"), catch: failed }).pipe(
        Effect.timeoutFail({
          duration: config.connectTimeout ?? "5 seconds",
          onTimeout: () => failed(new Error("timed out"))
        })
      )
    )
  )
}

/** pg-pool runs `verify` on each new connection before it hands it out. Its types do not declare the option. */
interface PoolConfig extends pg.PoolConfig {
  readonly verify?: (client: pg.PoolClient, done: (error?: Error) => void) => void
}

const open = (config: PgClientConfig, statementTimeoutMillis: number): pg.Pool => {
  const poolConfig: PoolConfig = {
    ...connectionConfig(config),
    max: config.maxConnections,
    min: config.minConnections,
    idleTimeoutMillis: millis(config.idleTimeout),
    maxLifetimeSeconds: seconds(config.connectionTTL),
    ...(Number.isFinite(statementTimeoutMillis) ? { verify: limitStatements(Math.ceil(statementTimeoutMillis)) } : {})
  }
  const pool = new CountingPool(poolConfig)
  // A lost idle connection is replaced when one is needed. Without a listener its error would end the process.
  pool.on("error", () => {})
  return pool
}

// A cancellation by this process waits for a free connection, and a backend that waits for a lock does not notice that
// its client is gone. So the server ends statements itself, after the timeout of the host or else after this one.
// node-postgres 9 rejects a statement that is queued behind another, so the connection is handed out after this one.
const limitStatements = (timeoutMillis: number): NonNullable<PoolConfig["verify"]> => (client, done) => {
  // The pool has no listener of its own here, and an error without a listener would end the process.
  const ignore = () => {}
  client.on("error", ignore)
  client.query(
    "SELECT set_config('statement_timeout', $1, false) WHERE current_setting('statement_timeout') = '0'",
    [String(timeoutMillis)],
    (cause: Error | null) => {
      client.off("error", ignore)
      // A server that rejects the statement still serves others, with the timeout of this process. A lost connection
      // serves none.
      done(cause !== null && endsConnection(new SqlError({ cause })) ? cause : undefined)
    }
  )
}

type Method = (...args: ReadonlyArray<unknown>) => unknown

class CountingPool extends pg.Pool {
  constructor(config: pg.PoolConfig) {
    super(config)
    const connect = this.connect.bind(this) as Method
    const count = () => metrics.poolWaiting.unsafeUpdate(this.waitingCount, [])
    const counting: Method = (callback, ...rest) => {
      const connection = connect(
        // A caller whose wait timed out does not wait either.
        typeof callback === "function"
          ? (...result: ReadonlyArray<unknown>) => (count(), callback(...result))
          : callback,
        ...rest
      )
      count()
      return connection
    }
    // It returns what `connect` returns, whose overloads only a cast can follow.
    this.connect = counting as typeof this.connect
  }
}
