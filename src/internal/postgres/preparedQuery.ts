/**
 * Statements that are passed to node-postgres itself. By way of `PgClient`, a read of one row takes this process half as
 * long again as it takes the server. So the reads of the cache go this way where the pool is known.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Exit from "effect/Exit"
import type pg from "pg"
import { lostBy } from "./connection.js"
import type { OwnPool } from "./pool.js"
import { endsConnection } from "./sqlErrors.js"
import type { Start } from "./statementTimeout.js"

/** A statement, and the name under which a connection prepares it. Different texts need different names. */
export interface Query {
  readonly name: string
  readonly text: string
}

export type Rows = ReadonlyArray<ReadonlyArray<unknown>>

const sqlError = (cause: unknown) => new SqlError({ cause, message: "Failed to execute statement" })

// The type parsers of the host must not change what the cache reads.
const asText = { getTypeParser: () => String }

// Without a listener, an error of a connection would end the process. The running statement fails with it as well.
const ignore = () => {}

/**
 * Starts a statement on a connection of the pool. Stopping it cancels it on the server, unless a pooler is in between. Its
 * connection returns to the pool only after that, because a cancellation stops whatever runs on the connection when it
 * arrives.
 */
export const start = (
  { pool, pooler }: OwnPool["Type"],
  { name, text }: Query,
  values: Array<unknown>
): Start<Rows> =>
(done) => {
  let running: pg.PoolClient | undefined
  let stopped = false
  let lost = false
  let holds = 1
  const release = () => {
    if (--holds > 0) return
    running?.off("error", ignore).release(lost)
    running = undefined
  }
  pool.connect((cause, client) => {
    if (client === undefined) return done(Exit.fail(sqlError(cause)))
    running = client.on("error", ignore)
    if (stopped) return release()
    const query = { ...(pooler === undefined ? { name } : {}), text, values, rowMode: "array" as const, types: asText }
    client.query(query, (cause: Error | null, result: pg.QueryArrayResult) => {
      // A server that has turned read-only returned rows that may be older than those of the new primary.
      const failure = cause ?? lostBy(client)
      lost = failure !== undefined && endsConnection(failure)
      release()
      done(failure === undefined ? Exit.succeed(result.rows) : Exit.fail(sqlError(failure)))
    })
  })
  return () => {
    stopped = true
    if (running === undefined || pooler !== undefined || pool.ending) return
    pool.connect((_, client) => {
      // Without a connection in time, the server's own `statement_timeout` ends the statement.
      if (client === undefined) return
      if (running === undefined) return client.release()
      holds++
      client.on("error", ignore)
      client.query("SELECT pg_cancel_backend($1)", [(running as { processID?: number }).processID], (error) => {
        client.off("error", ignore).release(error ?? undefined)
        release()
      })
    })
  }
}
