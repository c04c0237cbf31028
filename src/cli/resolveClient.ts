import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Cache from "../Cache.js"
import * as ClientRegistry from "../ClientRegistry.js"
import * as PostgresCache from "../PostgresCache.js"
import * as PostgresRegistry from "../PostgresRegistry.js"
import * as Resolver from "../Resolver.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import type { UsageError } from "./exitCode.js"
import * as Fetch from "./fetch.js"
import * as Issues from "./issues.js"
import type { Result } from "./output.js"
import * as Profile from "./profile.js"

const sources = {
  memory: "the memory of this process",
  origin: "the client's origin",
  pin: "a pin of the operator",
  postgres: "the cache in Postgres"
} as const

const toResult = ({ document, source, stale }: Resolver.Resolution, millis: number): Result => ({
  verdict: "yes",
  json: {
    clientId: document.clientId,
    source,
    stale,
    millis,
    authMethods: document.authMethods,
    warnings: document.warnings.map(Issues.toJson),
    metadata: document.json
  },
  lines: [
    ...Issues.toLines(document.warnings),
    ...Object.entries(document.json).map(([member, value]) => `  ${member}: ${JSON.stringify(value)}`),
    `accepted: ${document.clientId}`,
    `source: ${sources[source]}, in ${millis} ms${stale ? ", after its lifetime" : ""}`
  ]
})

/** The client to resolve, and how. */
interface Request {
  readonly clientId: string
  readonly fetch: Fetch.Choice
  readonly database: Database.Choice
}

const stores = (
  database: Database.Choice
): Layer.Layer<Cache.Cache | ClientRegistry.ClientRegistry, Database.DatabaseError> =>
  Layer.unwrapEffect(Effect.gen(function*() {
    if (yield* Database.isNamed(database)) {
      const names = Database.tableNames(database)
      return Layer.provide(
        Layer.merge(PostgresCache.layer(names), PostgresRegistry.layer(names)),
        Database.layer(database)
      )
    }
    yield* Console.error("cimd: No database is named, so the document is not kept. --database-url <url> keeps it.")
    return Layer.merge(Cache.layerMemory(), ClientRegistry.layerMemory())
  }))

/** Resolves a client once, with the cache in the chosen database, or in memory if none is chosen. */
export const resolveClient = ({ clientId, database, fetch }: Request): Effect.Effect<Result, UsageError> =>
  Effect.gen(function*() {
    const resolver = yield* Resolver.Resolver
    const start = yield* Clock.currentTimeMillis
    const resolution = yield* resolver.resolve(clientId)
    return toResult(resolution, (yield* Clock.currentTimeMillis) - start)
  }).pipe(
    Effect.provide(
      Layer.provide(
        Resolver.layer(),
        Layer.mergeAll(Fetch.layer(fetch), Profile.layerValidator(fetch.profile), stores(database))
      )
    ),
    ErrorResult.orResult
  )
