import * as PgClient from "@effect/sql-pg/PgClient"
import { ClientRegistry, PostgresClient, PostgresRegistry } from "effect-cimd"
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postgres from "./postgres.js"

/** One node of a registry, over a pool of its own. */
export const node = (options: PostgresRegistry.Options, client: PostgresClient.Options) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresRegistry.layer(options), PostgresClient.layer(client)))),
    (context) => Context.get(context, ClientRegistry.ClientRegistry)
  )

/** Nodes of one new database, and a client of that database. */
export const cluster = (
  count: number,
  options: PostgresRegistry.Options = {},
  pooler: PostgresClient.Options["pooler"] = Postgres.pooler
) =>
  Effect.gen(function*() {
    const url = yield* Postgres.migratedUrl
    const sql = Context.get(yield* Layer.build(PgClient.layer({ url, maxConnections: 2 })), PgClient.PgClient)
    const start = node(options, { url, pooler, maxConnections: 4 })
    const nodes = Arr.prepend(yield* Effect.replicateEffect(start, count - 1), yield* start)
    return { url, sql, nodes }
  })
