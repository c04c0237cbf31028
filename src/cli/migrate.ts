import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Migrations from "../Migrations.js"
import * as Answer from "./answer.js"
import * as Database from "./database.js"
import * as Failure from "./failure.js"

export const migrate = Command.make(
  "migrate",
  { ...Database.options, json: Answer.json },
  ({ json, ...choice }) =>
    Migrations.run(Database.tableNames(choice)).pipe(
      Effect.provide(Database.layerClient(choice)),
      Effect.map((migrations): Answer.Answer => ({
        json: { ok: true, migrations: migrations.map(([id, name]) => ({ id, name })) },
        lines: migrations.length === 0
          ? ["The tables are up to date."]
          : migrations.map(([id, name]) => `ran migration ${id}: ${name}`)
      })),
      Failure.orAnswer,
      Effect.flatMap((answer) => Answer.give(answer, { json }))
    )
).pipe(Command.withDescription("Bring the tables of the cache to the version that this package needs"))
