import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Cache } from "../Cache.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Answer from "./answer.js"
import * as Database from "./database.js"
import * as Failure from "./failure.js"

export const sweep = Command.make(
  "sweep",
  { ...Database.options, json: Answer.json },
  ({ json, ...choice }) =>
    Effect.flatMap(Cache, (cache) => cache.sweep()).pipe(
      Effect.provide(Layer.provide(PostgresCache.layer(Database.tableNames(choice)), Database.layer(choice))),
      Effect.map((swept): Answer.Answer => ({
        json: { ok: true, swept },
        lines: Object.entries(swept).map(([table, rows]) => `removed ${rows} expired ${table}`)
      })),
      Failure.orAnswer,
      Effect.flatMap((answer) => Answer.give(answer, { json }))
    )
).pipe(Command.withDescription("Remove what has expired from the cache, once"))
