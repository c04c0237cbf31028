import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as NodeRows from "../internal/postgres/nodeRows.js"
import * as TableNames from "../internal/postgres/tableNames.js"
import * as TablesCheck from "../internal/postgres/tablesCheck.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

const toJson = ({ seenAt, startedAt, ...row }: NodeRows.NodeRow) => ({
  ...row,
  startedAt: Registry.toIso(startedAt),
  seenAt: Registry.toIso(seenAt)
})

const toLines = (row: NodeRows.NodeRow): ReadonlyArray<string> => [
  `${row.nodeId}, version ${row.version}, ${row.listening ? "listening" : "not listening"}`,
  `  started ${Registry.toIso(row.startedAt)}, seen ${Registry.toIso(row.seenAt)}`,
  `  rule sets: ${row.rulesets.length === 0 ? "none yet" : row.rulesets.join(", ")}`,
  `  limits: ${Object.entries(row.limits).map(([name, limit]) => `${name} ${String(limit)}`).join(", ")}`
]

const toResult = (rows: ReadonlyArray<NodeRows.NodeRow>): Output.Result => ({
  verdict: "yes",
  json: { nodes: rows.map(toJson) },
  lines: rows.length === 0 ? ["No node was seen within a day."] : rows.flatMap(toLines)
})

export const nodes = Command.make(
  "nodes",
  { ...Database.options, json: Output.json },
  ({ json, ...database }) =>
    Effect.gen(function*() {
      const tables = yield* TableNames.settle("Migrations", Database.tableNames(database))
      yield* TablesCheck.readable(tables)
      return toResult(yield* NodeRows.readAll(tables))
    }).pipe(
      Effect.provide(Database.layer(database)),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Print the nodes that were seen within a day, the latest first, and write nothing"))
