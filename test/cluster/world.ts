/** What the tests of a cluster share: an origin, a database, nodes, and a look into the database. */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Origin } from "effect-cimd/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Client from "./client.js"

/** Whether `npm run verify` runs the test, which has more time. */
export const isThorough = process.env["VERIFY"] !== undefined

/** What a call that needs the database fails with while there is none. */
export const typedErrors = ["CacheError", "RegistryError"]

/** Nodes `a`, `b`, … over one database, started together. */
export const nodes = (
  count: number,
  options: Omit<Client.Options, "name">
): Effect.Effect<ReadonlyArray<Client.Node>, Client.NodeNotStarted, Scope.Scope> =>
  Effect.forEach(
    Array.from({ length: count }, (_, index) => String.fromCharCode(97 + index)),
    (name) => Client.spawn({ ...options, name }),
    { concurrency: "unbounded" }
  )

/** What a client's origin serves. The version is its name, so that an answer shows how old it is. */
export const document = (clientId: string, version: string) => ({
  client_id: clientId,
  client_name: version,
  redirect_uris: ["https://app.example/cb"]
})

/** The node that made a request at the origin. */
export const askedBy = (request: Origin.Request): string | undefined =>
  /;node=(\w+)/.exec(request.headers.find(([name]) => name === "Accept")?.[1] ?? "")?.[1]

/** Ends the LISTEN connections of the nodes, and returns their number. */
export const terminateListeners: Effect.Effect<number, never, PgClient.PgClient> = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const ended = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT pg_notify)'`
  return ended.length
}).pipe(Effect.orDie)

/** A client of the database for the test itself. */
export const observer = (url: Redacted.Redacted) => PgClient.layer({ url, maxConnections: 3, applicationName: "test" })

/** Waits until every node receives the notifications of the others. Behind a pooler none does. */
export const untilAllHear = (nodes: ReadonlyArray<Client.Node>) =>
  Effect.forEach(
    process.env["POOLER"] === undefined ? nodes : [],
    (node) =>
      node.ask("status", {}).pipe(
        Effect.delay(20),
        Effect.repeat({ until: ({ listening }) => listening }),
        Effect.timeoutFailCause({
          duration: "15 seconds",
          onTimeout: () => Cause.die(new Error(`Node ${node.name} receives no notifications`))
        })
      ),
    { concurrency: "unbounded", discard: true }
  )

/** Until no node has a client in its memory. */
export const untilForgotten = (nodes: ReadonlyArray<Client.Node>, clientId: string) =>
  Effect.forEach(
    nodes,
    (node) =>
      node.ask("peek", { clientId }).pipe(
        Effect.delay(5),
        Effect.repeat({ until: ({ version }) => version === null }),
        Effect.timeout("5 seconds")
      ),
    { concurrency: "unbounded", discard: true }
  )
