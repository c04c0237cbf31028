import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Cache } from "../Cache.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"

export const sweep = Command.make(
  "sweep",
  { ...Database.options, json: Output.json },
  ({ json, ...choice }) =>
    Effect.flatMap(Cache, (cache) => cache.sweep()).pipe(
      Effect.provide(Layer.provide(PostgresCache.layer(Database.tableNames(choice)), Database.layer(choice))),
      Effect.map((swept): Output.Result => ({
        verdict: "yes",
        json: { swept },
        lines: Object.entries(swept).map(([table, rows]) => `removed ${rows} expired ${table}`)
      })),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Delete the expired rows of the cache, once"))
