import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ClientRegistry } from "../ClientRegistry.js"
import * as DocumentRow from "../internal/postgres/documentRow.js"
import * as TableNames from "../internal/postgres/tableNames.js"
import * as ClientReport from "./clientReport.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

export const show = Command.make(
  "show",
  { clientId: Registry.clientIdArgument, ...Database.options, json: Output.json },
  ({ clientId: text, json, ...database }) =>
    Effect.gen(function*() {
      const clientId = yield* Registry.readClientId(text)
      const registry = yield* ClientRegistry
      const tables = yield* TableNames.settle("Migrations", Database.tableNames(database))
      return ClientReport.toResult({
        row: yield* DocumentRow.read(clientId, tables),
        client: yield* registry.show(clientId)
      })
    }).pipe(
      Effect.provide(Layer.provideMerge(Registry.layerOn(database), Database.layer(database))),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Print all that is stored of a client, and write nothing"))
