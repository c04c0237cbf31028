import * as PgClient from "@effect/sql-pg/PgClient"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { inject } from "vitest"

const server = Redacted.make(inject("postgresUrl"))
const poolerPort = inject("poolerPort")

/** The pooler of this run, as `PostgresClient.layer` has to know of it. */
export const pooler = poolerPort === undefined ? undefined : "transaction"

// Databases are created without it, because a template must have no connections.
const throughPooler = (database: Redacted.Redacted): Redacted.Redacted => {
  if (poolerPort === undefined) return database
  const url = new URL(Redacted.value(database))
  url.port = String(poolerPort)
  return Redacted.make(url.href)
}

/** The URL of a new database that holds the tables. */
export const migratedUrl = Effect.map(
  Postgres.database(server, { template: inject("migratedTemplate") }),
  throughPooler
)

/** The URL of a new database that holds nothing. */
export const emptyUrl = Effect.map(Postgres.database(server), throughPooler)

/** A client of a database. */
export const clientOf = (url: typeof migratedUrl) =>
  Layer.unwrapScoped(Effect.map(url, (url) => PgClient.layer({ url, maxConnections: 5 })))

/** A client of a new database that holds the tables. */
export const migrated = clientOf(migratedUrl)

/** A client of a new database that holds nothing. */
export const empty = clientOf(emptyUrl)
