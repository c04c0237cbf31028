import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import { CurrentTables } from "../src/internal/postgres/tableNames.js"

export default Effect.gen(function*() {
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  const tables = yield* CurrentTables

  // Collation "C": client identifiers are compared byte by byte, and the index costs no locale rules.
  // A row without a document marks an eviction: it stops the fetches that had begun before.
  yield* sql`CREATE TABLE ${sql(tables.documents)} (
    client_id text COLLATE "C" PRIMARY KEY CHECK (length(client_id) <= 2048),
    origin text COLLATE "C" NOT NULL,
    ruleset text COLLATE "C" NOT NULL,
    document jsonb,
    judgement jsonb,
    fetched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    withdrawn boolean NOT NULL DEFAULT false,
    CHECK ((document IS NULL) = (judgement IS NULL))
  )`
  // Documents are counted, and swept later than they expire; marks are not.
  yield* sql`CREATE INDEX ON ${sql(tables.documents)} (expires_at) WHERE document IS NOT NULL`
  yield* sql`CREATE INDEX ON ${sql(tables.documents)} (origin, expires_at) WHERE document IS NOT NULL`
  yield* sql`CREATE INDEX ON ${sql(tables.documents)} (expires_at) WHERE document IS NULL`

  // Who is fetching a client for the cluster. What a crash of the server would lose here, a deadline ends anyway.
  yield* sql`CREATE UNLOGGED TABLE ${sql(tables.leases)} (
    client_id text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    failure text
  )`

  // One row: the version of the tables, and when everything was evicted last. Evicting all clients is then one update,
  // and a fetch that had begun before cannot bring a document back.
  yield* sql`CREATE TABLE ${sql(tables.state)} (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL,
    evicted_at timestamptz NOT NULL DEFAULT '-infinity'
  )`
  yield* sql`INSERT INTO ${sql(tables.state)} (version) VALUES (1)`
})
