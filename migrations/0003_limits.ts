import type { Tables } from "../src/internal/postgres/tableNames.js"
import { quoted } from "../src/internal/postgres/tableNames.js"

/** The statements. They have no parameters, so that they can be run and printed. */
export default (tables: Tables): ReadonlyArray<string> => [
  // One row: the bytes of the live documents, as far as the nodes have reported them. Each node adds what its writes
  // changed, and a measurement corrects the sum. `outdated` asks for one soon. Until `claimed_until`, one node measures and
  // evicts: a lock of a session would not outlast a statement behind a pooler.
  `CREATE TABLE ${quoted(tables.usage)} (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    bytes bigint NOT NULL DEFAULT 0,
    measured_at timestamptz NOT NULL DEFAULT '-infinity',
    outdated boolean NOT NULL DEFAULT false,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity'
)`,
  `INSERT INTO ${quoted(tables.usage)} DEFAULT VALUES`,

  // The nodes that were seen within a day. Each writes its own row about once a minute.
  `CREATE TABLE ${quoted(tables.nodes)} (
    node_id text COLLATE "C" PRIMARY KEY CHECK (length(node_id) <= 64),
    version text NOT NULL CHECK (length(version) <= 64),
    rulesets text[] NOT NULL CHECK (octet_length(rulesets::text) <= 2048),
    limits jsonb NOT NULL CHECK (octet_length(limits::text) <= 4096),
    listening boolean NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
)`,

  // Reads wait behind a table that is to be altered, so this gives up soon if it must wait itself. It waits for longer than
  // `deadlock_timeout`, after which Postgres ends an autovacuum of the table that is in the way.
  `SET LOCAL lock_timeout = '1200ms'`,
  // The site and the domain that pay for a document, and how many bytes it takes. Nodes of the version before leave them
  // null. `replaced_bytes` is what the row took before its last write, so that the write returns the exact difference.
  `ALTER TABLE ${quoted(tables.documents)}
    ADD COLUMN site text COLLATE "C",
    ADD COLUMN domain text COLLATE "C",
    ADD COLUMN bytes integer,
    ADD COLUMN replaced_bytes integer`,
  // No row has a site yet, so this reads the table once and sorts nothing.
  `CREATE INDEX ON ${quoted(tables.documents)} (site, fetched_at) WHERE document IS NOT NULL AND site IS NOT NULL`,

  // The second and third table that statements of nodes lock. In this order, and with waits shorter than
  // `deadlock_timeout`, no statement of a node is ended by Postgres.
  `SET LOCAL lock_timeout = '500ms'`,
  // Whether another node found the lease held, and waits for a notification of its release. Nodes of the version before
  // do not set it, and find the result by reading.
  `ALTER TABLE ${quoted(tables.leases)} ADD COLUMN awaited boolean NOT NULL DEFAULT false`,
  `ALTER TABLE ${quoted(tables.state)} ADD COLUMN swept_at timestamptz NOT NULL DEFAULT now()`,
  `UPDATE ${quoted(tables.state)} SET latest = 3`
]
