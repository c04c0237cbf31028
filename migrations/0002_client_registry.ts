import type { Tables } from "../src/internal/postgres/tableNames.js"
import { quoted } from "../src/internal/postgres/tableNames.js"

/** Locks a table until the transaction ends. `LOCK TABLE` alone fails outside of one. */
const lock = (table: string): string =>
  `DO $$ BEGIN
  LOCK TABLE ${quoted(table)} IN ACCESS EXCLUSIVE MODE;
END $$`

/** The statements. They have no parameters, so that they can be run and printed. */
export default (tables: Tables): ReadonlyArray<string> => [
  // The clients that users consented to. A row without a consent is the mark of an eviction.
  // Texts are canonical JSON (RFC 8785), and a digest is the SHA-256 of its text. Each write raises the revision, so a
  // writer notices that another one was faster.
  `CREATE TABLE ${quoted(tables.clients)} (
    client_id text COLLATE "C" PRIMARY KEY CHECK (length(client_id) <= 2048),
    revision bigint NOT NULL,
    consented text,
    consented_digest text COLLATE "C",
    consented_at timestamptz,
    used_at timestamptz,
    accepted text,
    accepted_digest text COLLATE "C",
    fetched_at timestamptz,
    expires_at timestamptz,
    withdrawals jsonb NOT NULL DEFAULT '[]',
    evicted_at timestamptz,
    CHECK (num_nulls(consented, consented_digest, consented_at, used_at) IN (0, 4)),
    CHECK (num_nulls(accepted, accepted_digest, fetched_at, expires_at) IN (0, 4))
)`,
  `CREATE INDEX ON ${quoted(tables.clients)} (used_at) WHERE consented_at IS NOT NULL`,
  `CREATE INDEX ON ${quoted(tables.clients)} (evicted_at) WHERE consented_at IS NULL`,

  // The decisions in force. The subject is a client identifier, or a pattern as host/path/.
  `CREATE TABLE ${quoted(tables.decisions)} (
    subject text COLLATE "C" NOT NULL,
    slot text COLLATE "C" NOT NULL CHECK (slot IN ('block', 'approval', 'pin')),
    decision text COLLATE "C" NOT NULL CHECK (decision IN ('blocked', 'allowed', 'rejected', 'pinned')),
    document text,
    digest text COLLATE "C",
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL,
    reason text NOT NULL,
    generation bigint NOT NULL,
    PRIMARY KEY (subject, slot),
    CHECK (num_nulls(document, digest) = CASE WHEN slot = 'pin' THEN 0 ELSE 2 END)
)`,

  // One row for each decision. Its generation is unique, and tells a node what it has not read yet.
  `CREATE TABLE ${quoted(tables.audit)} (
    generation bigint PRIMARY KEY,
    decision text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL,
    reason text NOT NULL,
    digest text COLLATE "C"
)`,
  `CREATE INDEX ON ${quoted(tables.audit)} (subject, generation)`,
  `CREATE INDEX ON ${quoted(tables.audit)} (decided_at)`,

  // The open requests for an approval, of which there are few.
  `CREATE TABLE ${quoted(tables.requests)} (
    client_id text COLLATE "C" PRIMARY KEY CHECK (length(client_id) <= 2048),
    site text COLLATE "C" NOT NULL,
    turn bigint GENERATED ALWAYS AS IDENTITY,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL
)`,

  // `version` is the first version of this package's tables that can still use them, and `latest` the last migration.
  // So nodes of version 1 serve and start as before. Each read of a document also reads this table, and waits while it is
  // altered. So this comes last, and gives up soon if it must wait itself.
  //
  // Statements of nodes lock the documents first, then the leases, then the state. Locks in another order would deadlock
  // with them, if the next migration runs in this transaction. The first lock waits for longer than `deadlock_timeout`,
  // after which Postgres ends an autovacuum that is in the way. The others wait for less, so no read is ended instead.
  `SET LOCAL lock_timeout = '1200ms'`,
  lock(tables.documents),
  `SET LOCAL lock_timeout = '500ms'`,
  lock(tables.leases),
  `ALTER TABLE ${quoted(tables.state)}
    ADD COLUMN latest integer NOT NULL DEFAULT 2,
    ADD COLUMN decision_generation bigint NOT NULL DEFAULT 0`
]
