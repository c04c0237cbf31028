import type { Tables } from "../src/internal/postgres/tableNames.js"
import { quoted } from "../src/internal/postgres/tableNames.js"

/** The statements. They have no parameters, so that they can be run and printed. */
export default (tables: Tables): ReadonlyArray<string> => [
  // With collation "C" client identifiers are compared byte by byte, and the index applies no locale rules.
  // A row without a document is a tombstone: it stops the fetches that began before an eviction.
  `CREATE TABLE ${quoted(tables.documents)} (
    client_id text COLLATE "C" PRIMARY KEY CHECK (length(client_id) <= 2048),
    origin text COLLATE "C" NOT NULL,
    ruleset text COLLATE "C" NOT NULL,
    document jsonb,
    judgement jsonb,
    fetched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    withdrawn boolean NOT NULL DEFAULT false,
    CHECK ((document IS NULL) = (judgement IS NULL))
)`,
  // Documents are counted, and may be swept later than they expire. Tombstones are not counted.
  `CREATE INDEX ON ${quoted(tables.documents)} (expires_at) WHERE document IS NOT NULL`,
  `CREATE INDEX ON ${quoted(tables.documents)} (origin, expires_at) WHERE document IS NOT NULL`,
  `CREATE INDEX ON ${quoted(tables.documents)} (expires_at) WHERE document IS NULL`,

  // The node that fetches a client for the cluster. A crash of the server may lose leases, because they expire anyway.
  `CREATE UNLOGGED TABLE ${quoted(tables.leases)} (
    client_id text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    failure text
)`,

  // One row: the version of the tables, and when all clients were last evicted. So evicting all clients is one update,
  // and a fetch that began before it cannot bring a document back.
  `CREATE TABLE ${quoted(tables.state)} (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL,
    evicted_at timestamptz NOT NULL DEFAULT '-infinity'
)`,
  `INSERT INTO ${quoted(tables.state)} (version) VALUES (1)`
]
