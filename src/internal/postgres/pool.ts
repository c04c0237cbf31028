/**
 * The pool of `PostgresClient.layer`. It counts the callers that wait for a connection, drops connections that are of
 * no use any more, and lets the server end long statements.
 */
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
import { lostBy, PooledClient, PrimaryClient } from "./connection.js"

/** A pooler that assigns a connection to each transaction, so that no session belongs to one program. */
export type Pooler = "transaction"

/**
 * What `PostgresClient.layer` provides beside the `PgClient`, which hides its pool. A program can replace the `PgClient` alone, so
 * the value names its client, and serves no other one. Without it the cache works, with slower reads.
 */
export class OwnPool extends Context.Tag("effect-cimd/PostgresCache/OwnPool")<OwnPool, {
  readonly client: PgClient
  readonly pool: pg.Pool
  /** What is between this program and the server. */
  readonly pooler: Pooler | undefined
  /** The connection settings as the host gave them. */
  readonly config: PgClientConfig
}>() {}

/** The pool under a client, if `PostgresClient.layer` made the client. */
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

/** How a pool is made. */
export interface Options {
  readonly pooler: Pooler | undefined
  readonly statementTimeoutMillis: number
}

/** The pool, once its server has answered. It ends with the scope. */
export const make = (
  config: PgClientConfig,
  options: Options
): Effect.Effect<pg.Pool, SqlError, Scope.Scope> => {
  const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to connect" })
  return Effect.acquireRelease(
    Effect.sync(() => open(config, options)),
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

const open = (config: PgClientConfig, { pooler, statementTimeoutMillis }: Options): pg.Pool => {
  const connection = connectionConfig(config)
  const pool = new Pool({
    ...connection,
    Client: pooler === undefined ? PrimaryClient : PooledClient,
    max: config.maxConnections,
    min: config.minConnections,
    idleTimeoutMillis: millis(config.idleTimeout),
    maxLifetimeSeconds: seconds(config.connectionTTL),
    ...(pooler === undefined ? statementTimeout(connection, statementTimeoutMillis) : {})
  })
  // A lost idle connection is replaced when one is needed. Without a listener its error would end the process.
  pool.on("error", () => {})
  return pool
}

/**
 * A cancellation by this process waits for a free connection, and a backend that waits for a lock does not notice that its
 * client is gone. So the server ends statements itself. The connection asks for that as it starts, because a statement
 * would set it on a session that a pooler may give to other programs. A pooler refuses such a start.
 */
const statementTimeout = (
  { connectionString = "" }: pg.ClientConfig,
  timeoutMillis: number
): pg.ClientConfig => {
  // node-postgres prefers a `statement_timeout` of the URL by itself, but Postgres prefers this one to that of `options`.
  const options = /[?&]options=([^&#]+)/.exec(connectionString)?.[1] ?? process.env["PGOPTIONS"] ?? pg.defaults.options
  const isSet = /statement[_-]timeout/i.test(options ?? "") || typeof pg.defaults.statement_timeout === "number"
  return isSet || !Number.isFinite(timeoutMillis) ? {} : { statement_timeout: Math.ceil(timeoutMillis) }
}

type Method = (...args: ReadonlyArray<unknown>) => unknown
type Release = (error?: Error | boolean) => void
type Connected = (cause: Error | undefined, client: pg.PoolClient | undefined, release: Release) => void

class Pool extends pg.Pool {
  constructor(config: pg.PoolConfig) {
    super(config)
    const connect = this.connect.bind(this) as Method
    const count = () => metrics.poolWaiting.unsafeUpdate(this.waitingCount, [])
    const connecting: Method = (callback, ...rest) => {
      // A caller whose wait timed out does not wait either.
      const connection = connect(
        typeof callback === "function"
          ? (...result: Parameters<Connected>) => (count(), judged(callback as Connected)(...result))
          : callback,
        ...rest
      )
      count()
      return connection
    }
    // It returns what `connect` returns, whose overloads only a cast can follow.
    this.connect = connecting as typeof this.connect
  }
}

/** Passes on no connection that is lost from its start, and drops one that is lost by the time of its release. */
const judged = (callback: Connected): Connected => (cause, client, release) => {
  if (client === undefined) return callback(cause, client, release)
  const lost = lostBy(client)
  if (lost !== undefined) {
    release(lost)
    return callback(lost, undefined, () => {})
  }
  client.release = (error) => release(error || lostBy(client))
  callback(cause, client, client.release)
}
