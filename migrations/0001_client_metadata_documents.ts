import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type { Tables } from "../src/internal/postgres/tableNames.js"

export default (tables: Tables) =>
  Effect.gen(function*() {
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()

    // With collation "C" client identifiers are compared byte by byte, and the index applies no locale rules.
    // A row without a document is a tombstone: it stops the fetches that began before an eviction.
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
    // Documents are counted, and may be swept later than they expire. Tombstones are not counted.
    yield* sql`CREATE INDEX ON ${sql(tables.documents)} (expires_at) WHERE document IS NOT NULL`
    yield* sql`CREATE INDEX ON ${sql(tables.documents)} (origin, expires_at) WHERE document IS NOT NULL`
    yield* sql`CREATE INDEX ON ${sql(tables.documents)} (expires_at) WHERE document IS NULL`

    // The node that fetches a client for the cluster. A crash of the server may lose leases, because they expire anyway.
    yield* sql`CREATE UNLOGGED TABLE ${sql(tables.leases)} (
    client_id text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    failure text
  )`

    // One row: the version of the tables, and when all clients were last evicted. So evicting all clients is one update,
    // and a fetch that began before it cannot bring a document back.
    yield* sql`CREATE TABLE ${sql(tables.state)} (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL,
    evicted_at timestamptz NOT NULL DEFAULT '-infinity'
  )`
    yield* sql`INSERT INTO ${sql(tables.state)} (version) VALUES (1)`
  })
