import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
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
    Options.withDescription(
      `${description}, such as "90 days". Give the value of your servers; by default none is deleted`
    ),
    Options.filterMap(
      (text) => Duration.decodeUnknown(text),
      "a duration is a number and a unit, such as \"90 days\""
    ),
    Options.optional
  )

// The options of the servers are not known here, and what another server still counts must not be deleted.
const never = "3650 days"

/** Sweeps both, also if one of them fails. */
const sweepBoth = Effect.gen(function*() {
  const cache = yield* Cache
  const registry = yield* ClientRegistry
  return yield* Effect.validateWith(cache.sweep(), registry.sweep, (rows, others) => ({ ...rows, ...others }))
})

export const sweep = Command.make(
  "sweep",
  {
    forgetAfter: age("forget-after", "Also delete the clients that were not used for this long"),
    auditFor: age("audit-for", "Also delete the entries of the audit that are older than this"),
    ...Database.options,
    json: Output.json
  },
  ({ auditFor, forgetAfter, json, ...choice }) =>
    sweepBoth.pipe(
      Effect.provide(
        Layer.merge(
          // Its warning that nobody has swept would come too late.
          Layer.provide(PostgresCache.layer(Database.tableNames(choice)), Logger.minimumLogLevel(LogLevel.Error)),
          PostgresRegistry.layer({
            ...Database.tableNames(choice),
            forgetAfter: Option.getOrElse(forgetAfter, () => never),
            auditFor: Option.getOrElse(auditFor, () => never)
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
