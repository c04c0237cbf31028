import type { Tables } from "../src/internal/postgres/tableNames.js"
import { quoted } from "../src/internal/postgres/tableNames.js"

/** The statements. They have no parameters, so that they can be run and printed. */
export default (tables: Tables): ReadonlyArray<string> => [
  // Whether another node found the lease held, and waits for a notification of its release. Nodes of the version before
  // do not set it, and find the result by reading.
  `SET LOCAL lock_timeout = '1s'`,
  `ALTER TABLE ${quoted(tables.leases)} ADD COLUMN awaited boolean NOT NULL DEFAULT false`,
  `UPDATE ${quoted(tables.state)} SET latest = 3`
]
