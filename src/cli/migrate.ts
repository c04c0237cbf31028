import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Migrations from "../Migrations.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"

export const migrate = Command.make(
  "migrate",
  { ...Database.options, json: Output.json },
  ({ json, ...choice }) =>
    Migrations.run(Database.tableNames(choice)).pipe(
      Effect.provide(Database.layerClient(choice)),
      Effect.map((migrations): Output.Result => ({
        json: { ok: true, migrations: migrations.map(([id, name]) => ({ id, name })) },
        lines: migrations.length === 0
          ? ["The tables are up to date."]
          : migrations.map(([id, name]) => `ran migration ${id}: ${name}`)
      })),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Create the cache tables, or migrate them to the version that this package needs"))
