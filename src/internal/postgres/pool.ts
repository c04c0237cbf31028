/** A pool of node-postgres that counts who waits for a connection, and whose statements all end. */
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import pg from "pg"
import * as metrics from "../metrics.js"

type Method = (...args: ReadonlyArray<unknown>) => unknown

class CountingPool extends pg.Pool {
  constructor(config: pg.PoolConfig) {
    super(config)
    const connect = this.connect.bind(this) as Method
    const count = () => metrics.poolWaiting.unsafeUpdate(this.waitingCount, [])
    const counting: Method = (callback, ...rest) => {
      const connection = connect(
        // Also who waited in vain waits no more.
        typeof callback === "function"
          ? (...answer: ReadonlyArray<unknown>) => (count(), callback(...answer))
          : callback,
        ...rest
      )
      count()
      return connection
    }
    // It answers as `connect` does, whose overloads nothing but a cast can follow.
    this.connect = counting as typeof this.connect
  }
}

const millis = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(duration)

const seconds = (duration: Duration.DurationInput | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toSeconds(duration)

const secret = (value: Redacted.Redacted | undefined): string | undefined =>
  value === undefined ? undefined : Redacted.value(value)

// What is cancelled from here waits for a free connection, and a backend that waits for a lock does not see that its
// client has gone. So the server gives them up itself, in the time that the host has set or else in this one.
const bounding = (millis: number) => (client: pg.PoolClient) => {
  client.query(
    "SELECT set_config('statement_timeout', $1, false) WHERE current_setting('statement_timeout') = '0'",
    [String(millis)],
    // Without it the client of the pool still bounds its own patience.
    () => {}
  )
}

const open = (config: PgClientConfig, statementMillis: number): pg.Pool => {
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
  if (Number.isFinite(statementMillis)) pool.on("connect", bounding(Math.ceil(statementMillis)))
  return pool
}

/** The pool, once its server has answered; it ends with the scope. No statement takes longer than so many milliseconds. */
export const make = (
  config: PgClientConfig,
  statementMillis: number
): Effect.Effect<pg.Pool, SqlError, Scope.Scope> => {
  const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to connect" })
  return Effect.acquireRelease(
    Effect.sync(() => open(config, statementMillis)),
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
