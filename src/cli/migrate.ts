import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TableNames from "../internal/postgres/tableNames.js"
import type { InvalidOptions } from "../InvalidOptions.js"
import * as Migrations from "../Migrations.js"
import { DatabaseUnavailable } from "../PostgresClient.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import { UsageError } from "./exitCode.js"
import * as Output from "./output.js"

type Migration = readonly [id: number, name: string]

const toJson = (migrations: ReadonlyArray<Migration>) => migrations.map(([id, name]) => ({ id, name }))

type Answer = Effect.Effect<Output.Result, Database.DatabaseError, SqlClient.SqlClient>

const run = (choice: Database.Choice): Answer =>
  Effect.gen(function*() {
    const names = Database.tableNames(choice)
    const migrations = yield* Migrations.run(names)
    const { required, usableFrom } = yield* Migrations.status(names)
    if (usableFrom > required) return yield* new DatabaseUnavailable({ reason: "NewerTables" })
    return {
      verdict: "yes",
      json: { migrations: toJson(migrations) },
      lines: migrations.length === 0
        ? ["The tables are up to date."]
        : migrations.map(([id, name]) => `ran migration ${id}: ${name}`)
    }
  })

const adviceFor = (
  { pending, required, usableFrom, version }: Migrations.Status,
  tables: TableNames.Tables
): string =>
  usableFrom > required
    ? new DatabaseUnavailable({ reason: "NewerTables" }).message
    : pending.length > 0
    ? `Run them with: ${TableNames.migrateCommand(tables)}`
    : version > required
    ? "The tables are newer, and this version can use them."
    : "The tables are up to date."

const status = (choice: Database.Choice): Answer =>
  Effect.gen(function*() {
    const names = Database.tableNames(choice)
    const tables = yield* TableNames.settle("Migrations", names)
    const status = yield* Migrations.status(names)
    const { pending, required, usableFrom, version } = status
    return {
      verdict: pending.length === 0 && usableFrom <= required ? "yes" : "no",
      json: { version, usableFrom, required, pending: toJson(pending) },
      lines: [
        `version ${version}, and ${required} is needed`,
        ...(version === 0 ? [] : [`usable by programs that need version ${usableFrom} or later`]),
        ...pending.map(([id, name]) => `pending migration ${id}: ${name}`),
        adviceFor(status, tables)
      ]
    }
  })

const placeholder = "your_role"

const print = (
  choice: Database.Choice,
  role: Option.Option<string>,
  from: Option.Option<number>
): Effect.Effect<Output.Result, InvalidOptions> =>
  Effect.gen(function*() {
    const names = Database.tableNames(choice)
    const statements = yield* Migrations.sql({ ...names, from: Option.getOrUndefined(from) })
    const grants = yield* Migrations.grants(Option.getOrElse(role, () => placeholder), names)
    const toLines = (all: ReadonlyArray<string>) => all.flatMap((statement) => `${statement};`.split("\n"))
    return {
      verdict: "yes",
      json: { statements: Option.isNone(role) ? statements : [...statements, ...grants] },
      lines: [
        "BEGIN;",
        ...toLines(statements),
        ...(Option.isNone(role)
          ? [
            "-- The rights of the role that the server connects as. --role <name> prints them for it.",
            ...toLines(grants).map((line) => `-- ${line}`)
          ]
          : toLines(grants)),
        "COMMIT;"
      ]
    }
  })

export const migrate = Command.make(
  "migrate",
  {
    ...Database.options,
    print: Options.boolean("print").pipe(
      Options.withDescription("Print the SQL that creates the tables, and change nothing. Needs no database")
    ),
    role: Options.text("role").pipe(
      Options.withPseudoName("name"),
      Options.withDescription("With --print: also grant this role what the server needs"),
      Options.optional
    ),
    from: Options.integer("from").pipe(
      Options.withPseudoName("version"),
      Options.withDescription("With --print: only the migrations after this version, for tables that have it"),
      Options.optional
    ),
    status: Options.boolean("status").pipe(
      Options.withDescription("Print the version of the tables and what is pending, and change nothing")
    ),
    json: Output.json
  },
  ({ from, json, print: printing, role, status: asking, ...choice }) =>
    Effect.gen(function*() {
      if (printing && asking) return yield* new UsageError({ message: "Choose one of --print and --status." })
      const ofPrint = Option.isSome(role) ? "--role" : Option.isSome(from) ? "--from" : undefined
      if (ofPrint !== undefined && !printing) {
        return yield* new UsageError({ message: `${ofPrint} belongs to --print, which is not given.` })
      }
      if (printing) return yield* print(choice, role, from)
      return yield* Effect.provide(asking ? status(choice) : run(choice), Database.layerClient(choice))
    }).pipe(
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Create the tables, or migrate them to the version that this package needs"))
