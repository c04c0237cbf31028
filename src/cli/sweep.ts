import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Cache } from "../Cache.js"
import { ClientRegistry } from "../ClientRegistry.js"
import * as PostgresCache from "../PostgresCache.js"
import * as PostgresRegistry from "../PostgresRegistry.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"

const age = (name: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName("duration"),
    Options.withDescription(`${description}, such as "90 days". Give the value of your servers`),
    Options.filterMap(
      (text) => Duration.decodeUnknown(text),
      "a duration is a number and a unit, such as \"90 days\""
    ),
    Options.optional
  )

/** Sweeps both, also if one of them fails. */
const sweepBoth = Effect.gen(function*() {
  const cache = yield* Cache
  const registry = yield* ClientRegistry
  return yield* Effect.validateWith(cache.sweep(), registry.sweep, (rows, others) => ({ ...rows, ...others }))
})

export const sweep = Command.make(
  "sweep",
  {
    forgetAfter: age("forget-after", "After how long without a use a client is forgotten, 90 days by default"),
    auditFor: age("audit-for", "For how long the audit is kept, 365 days by default"),
    ...Database.options,
    json: Output.json
  },
  ({ auditFor, forgetAfter, json, ...choice }) =>
    sweepBoth.pipe(
      Effect.provide(
        Layer.merge(
          PostgresCache.layer(Database.tableNames(choice)),
          PostgresRegistry.layer({
            ...Database.tableNames(choice),
            forgetAfter: Option.getOrUndefined(forgetAfter),
            auditFor: Option.getOrUndefined(auditFor)
          })
        ).pipe(Layer.provide(Database.layer(choice)))
      ),
      Effect.map((swept): Output.Result => ({
        verdict: "yes",
        json: { swept },
        lines: Object.entries(swept).map(([table, rows]) =>
          `removed ${rows} expired ${table === "audit" ? "entries of the audit" : table}`
        )
      })),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Delete the expired rows of the cache and the registry, once"))
