import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type { OwnPool } from "./pool.js"
import * as PreparedQuery from "./preparedQuery.js"
import * as ReadBatcher from "./readBatcher.js"
import type { Timeout } from "./statementTimeout.js"

/** A query for many clients. Its first column is the client. */
export interface Query<A> extends PreparedQuery.Query {
  readonly values: (clientIds: ReadonlyArray<string>) => Array<unknown>
  readonly decode: (row: ReadonlyArray<unknown>) => A
}

/**
 * Returns a read of one client by a query for many. Strangers cause these reads, also by calls that the limits refuse, so
 * concurrent ones share a query.
 */
export const make = <A, E extends { readonly operation: string }>(
  sql: PgClient.PgClient,
  pool: OwnPool["Type"] | undefined,
  timeout: Timeout<E>,
  operation: E["operation"],
  query: Query<A>
): (clientId: string) => Effect.Effect<Option.Option<A>, E> =>
  ReadBatcher.make<A, E>(
    (clientIds, done) => {
      const values = query.values(clientIds)
      const found = pool === undefined
        // A span for a batch has more than one caller.
        ? timeout.forked(Effect.withTracerEnabled(sql.unsafe(query.text, values).values, false))
        : PreparedQuery.start(pool, query, values)
      timeout.start(
        operation,
        found,
        (exit) => done(Exit.map(exit, (rows) => new Map(rows.map((row) => [String(row[0]), query.decode(row)]))))
      )
    },
    {
      concurrency: 2,
      minKeys: 8,
      maxKeys: 500,
      timeoutMillis: timeout.timeoutMillis,
      onTimeout: () => timeout.onTimeout(operation)
    }
  )
