/** A pool of node-postgres that counts who waits for a connection. */
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import pg from "pg"
import * as metrics from "./metrics.js"

type Method = (...args: ReadonlyArray<unknown>) => unknown

class CountingPool extends pg.Pool {
  constructor(config: pg.PoolConfig) {
    super(config)
    const count = () => metrics.poolWaiting.unsafeUpdate(this.waitingCount, [])
    const connect = this.connect.bind(this) as Method
    const counting: Method = (...args) => {
      const connection = connect(...args)
      count()
      return connection
    }
    // It answers as `connect` does, whose overloads nothing but a cast can follow.
    this.connect = counting as typeof this.connect
    this.on("acquire", count)
  }
}

const millis = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const seconds = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toSeconds(duration)

const secret = (value: Redacted.Redacted | undefined): string | undefined =>
  value === undefined ? undefined : Redacted.value(value)

const open = (config: PgClientConfig): pg.Pool => {
  const pool = new CountingPool({
    connectionString: secret(config.url),
    host: config.host,
    port: config.port,
    database: config.database,
    user: config.username,
    password: secret(config.password),
    ssl: config.ssl,
    ...(config.stream === undefined ? {} : { stream: config.stream }),
    types: config.types,
    max: config.maxConnections,
    min: config.minConnections,
    connectionTimeoutMillis: millis(config.connectTimeout),
    idleTimeoutMillis: millis(config.idleTimeout),
    maxLifetimeSeconds: seconds(config.connectionTTL),
    application_name: config.applicationName ?? "effect-cimd"
  })
  // An idle connection that is lost is made anew when it is needed; without a listener it would end the process.
  pool.on("error", () => {})
  return pool
}

/** The pool, once its server has answered; it ends with the scope. */
export const make = (config: PgClientConfig): Effect.Effect<pg.Pool, SqlError, Scope.Scope> => {
  const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to connect" })
  return Effect.acquireRelease(
    Effect.sync(() => open(config)),
    // A connection whose query never ends must not hold up the end of the program.
    (pool) => Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("1 second"))
  ).pipe(
    Effect.tap((pool) =>
      Effect.tryPromise({ try: () => pool.query("SELECT 1"), catch: failed }).pipe(
        Effect.timeoutFail({
          duration: config.connectTimeout ?? "5 seconds",
          onTimeout: () => failed(new Error("no answer in time"))
        })
      )
    )
  )
}
