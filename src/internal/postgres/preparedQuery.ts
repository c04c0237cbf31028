/**
 * Statements that are handed to node-postgres itself. By way of `PgClient` a read of one row takes this process half as
 * long again as the server takes, so the reads of the cache go this way where the pool is its own.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Exit from "effect/Exit"
import type pg from "pg"
import { sqlState } from "./sqlErrors.js"
import type { Start } from "./timeout.js"

/** A statement, and the name under which a connection prepares it. Texts that differ need names that differ. */
export interface Query {
  readonly name: string
  readonly text: string
}

export type Rows = ReadonlyArray<ReadonlyArray<unknown>>

export interface OwnPool {
  readonly pool: pg.Pool
  /** Whether connections prepare the statements. */
  readonly prepare: boolean
}

const pools = new WeakMap<PgClient, OwnPool>()

/** Tells whose connections these are. */
export const register = (client: PgClient, pool: OwnPool): void => {
  pools.set(client, pool)
}

/** The pool under a client, if it was registered. */
export const poolOf = (client: PgClient): OwnPool | undefined => pools.get(client)

const sqlError = (cause: unknown) => new SqlError({ cause, message: "Failed to execute statement" })

// 57P01 to 57P03: the server ends the connection. An error without a state is the connection's own.
const endsConnection = (error: SqlError): boolean => sqlState(error)?.startsWith("57P") ?? true

// What the host parses otherwise than as text is no matter of the cache.
const asText = { getTypeParser: () => String }

// Without a listener an error of a connection would end the process. The statement that runs on it is told as well.
const ignore = () => {}

/**
 * Starts a statement on a connection of the pool. Stopping it cancels it on the server, and gives its connection to
 * nobody before that is done: a cancellation reaches whatever runs there when it arrives.
 */
export const start =
  ({ pool, prepare }: OwnPool, { name, text }: Query, values: Array<unknown>): Start<Rows> => (done) => {
    let running: pg.PoolClient | undefined
    let stopped = false
    let lost = false
    let holds = 1
    const letGo = () => {
      if (--holds > 0) return
      running?.off("error", ignore).release(lost)
      running = undefined
    }
    pool.connect((cause, client) => {
      if (client === undefined) return done(Exit.fail(sqlError(cause)))
      running = client.on("error", ignore)
      if (stopped) return letGo()
      const query = { ...(prepare ? { name } : {}), text, values, rowMode: "array" as const, types: asText }
      client.query(query, (cause: Error | null, result: pg.QueryArrayResult) => {
        if (cause === null) {
          letGo()
          return done(Exit.succeed(result.rows))
        }
        const error = sqlError(cause)
        lost = endsConnection(error)
        letGo()
        done(Exit.fail(error))
      })
    })
    return () => {
      stopped = true
      if (running === undefined || pool.ending) return
      pool.connect((_, client) => {
        // Where there is none in time, the server's own bound on statements has to do.
        if (client === undefined) return
        if (running === undefined) return client.release()
        holds++
        client.on("error", ignore)
        client.query("SELECT pg_cancel_backend($1)", [(running as { processID?: number }).processID], (error) => {
          client.off("error", ignore).release(error ?? undefined)
          letGo()
        })
      })
    }
  }
