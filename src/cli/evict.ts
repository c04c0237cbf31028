import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Cache } from "../Cache.js"
import { ClientRegistry } from "../ClientRegistry.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

export const evict = Command.make(
  "evict",
  {
    clientId: Registry.clientIdArgument,
    decision: Registry.decisionOptions,
    ...Database.options,
    json: Output.json
  },
  ({ clientId: text, decision, json, ...database }) =>
    Effect.gen(function*() {
      const options = Registry.decisionOf(decision)
      const clientId = yield* Registry.decidedClientId(text, options)
      // In the other order, a fetch between the two would put a document into the cache that the registry does not know.
      yield* Effect.flatMap(ClientRegistry, (registry) => registry.evict(clientId, options))
      yield* Effect.flatMap(Cache, (cache) => cache.evict(clientId))
      return {
        verdict: "yes" as const,
        json: { decision: "evict", subject: clientId },
        lines: [`evicted: ${clientId}`]
      }
    }).pipe(
      Effect.provide(
        Layer.merge(
          Registry.layerOn(database),
          PostgresCache.layer(Database.tableNames(database))
        ).pipe(Layer.provide(Database.layer(database)))
      ),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Forget a client's document on every node, so that it is fetched again"))
