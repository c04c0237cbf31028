import * as PgClient from "@effect/sql-pg/PgClient"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { inject } from "vitest"

const server = Redacted.make(inject("postgresUrl"))

/** The URL of a new database that holds the tables. */
export const migratedUrl = Postgres.database(server, { template: inject("migratedTemplate") })

/** The URL of a new database that holds nothing. */
export const emptyUrl = Postgres.database(server)

const clientOf = (url: typeof migratedUrl) =>
  Layer.unwrapScoped(Effect.map(url, (url) => PgClient.layer({ url, maxConnections: 5 })))

/** A client of a new database that holds the tables. */
export const migrated = clientOf(migratedUrl)

/** A client of a new database that holds nothing. */
export const empty = clientOf(emptyUrl)
