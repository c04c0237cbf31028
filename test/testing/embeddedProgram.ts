/**
 * Starts an embedded server with the options of its argument, writes a `Report`, and stops it; or keeps it while
 * `keep` is the next argument.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import { embedded } from "../../src/testing/Postgres.js"
import type { Report } from "./embeddedReport.js"

const [, , options, keep] = process.argv

const report = (report: Report) => Effect.sync(() => console.log(JSON.stringify(report)))

const program = Effect.gen(function*() {
  const url = yield* embedded(JSON.parse(options ?? "{}"))
  const [row] = yield* Effect.provide(
    Effect.flatMap(PgClient.PgClient, (sql) =>
      sql<{ data: string; programs: string }>`
        SELECT current_setting('data_directory') AS data, setting AS programs FROM pg_config WHERE name = 'BINDIR'`),
    PgClient.layer({ url, maxConnections: 1 })
  )
  yield* report({ data: row?.data, programs: row?.programs })
  if (keep !== undefined) yield* Effect.never
})

await Effect.runPromise(
  Effect.scoped(program).pipe(Effect.catchAll(({ _tag, message }) => report({ error: `${_tag}: ${message}` })))
)
