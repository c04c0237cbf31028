import type { Tables } from "../src/internal/postgres/tableNames.js"
import { quoted } from "../src/internal/postgres/tableNames.js"

/** The statements. They have no parameters, so that they can be run and printed. */
export default (tables: Tables): ReadonlyArray<string> => [
  // With collation "C" client identifiers are compared byte by byte, and the index applies no locale rules.
  // A row without a document is a tombstone: it stops the fetches that began before an eviction.
  // A sweep deletes what is past `kept_until`, so the node that stores a document decides how long it is kept.
  // `withdrawn_for` lists the rule sets that refused a later document, for which this one is not served stale.
  `CREATE TABLE ${quoted(tables.documents)} (
    client_id text COLLATE "C" PRIMARY KEY CHECK (length(client_id) <= 2048),
    origin text COLLATE "C" NOT NULL,
    ruleset text COLLATE "C" NOT NULL,
    document jsonb,
    judgement jsonb,
    fetched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    kept_until timestamptz NOT NULL,
    withdrawn boolean NOT NULL DEFAULT false,
    withdrawn_for text[] NOT NULL DEFAULT '{}',
    CHECK ((document IS NULL) = (judgement IS NULL))
)`,
  // Documents are counted, and tombstones are not.
  `CREATE INDEX ON ${quoted(tables.documents)} (kept_until) WHERE document IS NOT NULL`,
  `CREATE INDEX ON ${quoted(tables.documents)} (origin, kept_until) WHERE document IS NOT NULL`,
  `CREATE INDEX ON ${quoted(tables.documents)} (kept_until) WHERE document IS NULL`,

  // The node that fetches a client for the cluster. A crash of the server may lose leases, because they expire anyway.
  `CREATE UNLOGGED TABLE ${quoted(tables.leases)} (
    client_id text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    failure text
)`,

  // One row: the version of the tables, and when all clients were last evicted. So evicting all clients is one update,
  // and a fetch that began before it cannot bring a document back. The generation counts the changes that no
  // notification reports. The key seals notifications, which every role of the database can send and receive.
  `CREATE TABLE ${quoted(tables.state)} (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL,
    evicted_at timestamptz NOT NULL DEFAULT '-infinity',
    generation bigint NOT NULL DEFAULT 0,
    notification_key bytea NOT NULL CHECK (length(notification_key) = 32)
)`,
  // Each UUID has 122 random bits of a strong source.
  `INSERT INTO ${quoted(tables.state)} (version, notification_key)
    VALUES (1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))`
]
