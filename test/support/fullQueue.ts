import * as PgClient from "@effect/sql-pg/PgClient"
import { Migrations } from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import pg from "pg"

/** A server of its own whose NOTIFY queue is as small as the setting permits, and a database in it that holds the tables. */
export const server = Effect.gen(function*() {
  const url = yield* Postgres.embedded({ settings: { max_notify_queue_pages: "64" } })
  const database = yield* Postgres.database(url)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url: database, maxConnections: 1 }))
  return { url, database }
})

const connected = (url: Redacted.Redacted) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new pg.Client({ connectionString: Redacted.value(url) })
      client.on("error", () => {})
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end())
  )

const code = (cause: unknown) => typeof cause === "object" && cause !== null && "code" in cause ? cause.code : cause

/** Fills the queue of a server from another database than that of the nodes. Returns an effect that lets it drain. */
export const fill = (url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const [stuck, filler] = [yield* connected(url), yield* connected(url)]
    const drain = Effect.promise(() => stuck.query("COMMIT"))
    yield* Effect.promise(() => stuck.query("LISTEN stuck"))
    yield* Effect.promise(() => stuck.query("BEGIN; SELECT 1"))
    const fillOne = Effect.tryPromise({
      try: () => filler.query("SELECT pg_notify('filler', repeat('x', 7900))"),
      catch: code
    })
    // It may begin with pages that every session has read. This function frees them, as it would after the queue is full.
    yield* Effect.promise(() => filler.query("SELECT pg_notification_queue_usage()"))
    const full = yield* Effect.flip(Effect.forever(fillOne))
    if (full !== "54000") return yield* Effect.dieMessage(`The queue was not filled: ${full}`)
    return { drain, isFull: Effect.map(Effect.either(fillOne), ({ _tag }) => _tag === "Left") }
  })
