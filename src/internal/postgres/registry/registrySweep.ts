/** The sweep of the registry: clients that no longer count as confirmed, marks of evictions, and the audit. */
import type { Fragment, Statement } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Instant } from "../../../Cache.js"
import type { RegistryError, Swept } from "../../../ClientRegistry.js"
import * as metrics from "../../metrics.js"
import { evictionMicros } from "../../registry/clientRecord.js"
import type { Run } from "../statementTimeout.js"
import { inBatches } from "../sweepBatches.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"
import { instantOf, seconds } from "./statements.js"

/** The texts of a batch have a few megabytes. */
const batchSize = 1000

export const make = (
  { audit, clients, sql, timestamp }: Statements,
  { auditFor, forgetAfter }: Settings,
  timeout: Run<RegistryError>,
  sweepTimeout: Run<RegistryError>
): Effect.Effect<Swept, RegistryError> => {
  const now = Effect.map(
    timeout("sweep")(sql`SELECT ${sql.literal(seconds("clock_timestamp()"))}`.values),
    (rows) => instantOf(Arr.unsafeGet(rows, 0)[0]) ?? 0n
  )

  const counted = (statement: Statement<unknown>) =>
    Effect.map(sweepTimeout("sweep")(statement.values), (rows) => Number(Arr.unsafeGet(rows, 0)[0]))

  /** Deletes clients that match, in an order and without those that another session is writing. */
  const deletedClients = (order: Fragment, condition: Fragment) => (size: number) =>
    counted(sql`WITH deleted AS (
        DELETE FROM ${clients} WHERE client_id = ANY(ARRAY(
          SELECT client_id FROM ${clients} WHERE ${condition} ORDER BY ${order} LIMIT ${size} FOR UPDATE SKIP LOCKED
        )) RETURNING 1
      ) SELECT count(*)::integer FROM deleted`)

  const lapsed = (now: Instant) => sql`consented_at IS NOT NULL AND used_at <= ${timestamp(now - forgetAfter)}`
  const oldMark = (now: Instant) => sql`evicted_at <= ${timestamp(now - evictionMicros)}`

  const lapsedClients = (now: Instant) =>
    deletedClients(sql`used_at`, sql`${lapsed(now)} AND (evicted_at IS NULL OR ${oldMark(now)})`)

  /** Leaves the mark of a late eviction. */
  const lapsedToMarks = (now: Instant) => (size: number) =>
    counted(sql`WITH changed AS (
        UPDATE ${clients} SET revision = revision + 1, consented = NULL, consented_digest = NULL, consented_at = NULL,
          used_at = NULL, accepted = NULL, accepted_digest = NULL, fetched_at = NULL, expires_at = NULL,
          withdrawals = '[]'
        WHERE client_id = ANY(ARRAY(
          SELECT client_id FROM ${clients} WHERE ${lapsed(now)} AND NOT ${oldMark(now)}
          ORDER BY used_at LIMIT ${size} FOR UPDATE SKIP LOCKED
        )) RETURNING 1
      ) SELECT count(*)::integer FROM changed`)

  const oldMarks = (now: Instant) => deletedClients(sql`evicted_at`, sql`consented_at IS NULL AND ${oldMark(now)}`)

  // Locking the rows first would need the privilege to update them. Nobody but another sweeper writes them.
  const oldAudit = (now: Instant) => (size: number) =>
    counted(sql`WITH deleted AS (
        DELETE FROM ${audit} WHERE generation = ANY(ARRAY(
          SELECT generation FROM ${audit} WHERE decided_at < ${timestamp(now - auditFor)}
          ORDER BY decided_at, generation LIMIT ${size}
        )) RETURNING 1
      ) SELECT count(*)::integer FROM deleted`)

  const count = Effect.map(
    sweepTimeout("sweep")(
      sql`SELECT
      (SELECT count(*) FROM ${clients} WHERE consented_at IS NOT NULL)::float8,
      (SELECT count(*) FROM ${clients} WHERE consented_at IS NULL)::float8`.values
    ),
    (rows) => {
      const [confirmed, evicted] = Arr.unsafeGet(rows, 0)
      metrics.confirmedClients.unsafeUpdate(Number(confirmed), [])
      metrics.evictedClients.unsafeUpdate(Number(evicted), [])
    }
  )

  return Effect.gen(function*() {
    const at = yield* now
    const marked = yield* inBatches(batchSize, lapsedToMarks(at))
    const confirmed = yield* inBatches(batchSize, lapsedClients(at))
    const marks = yield* inBatches(batchSize, oldMarks(at))
    const entries = yield* inBatches(batchSize, oldAudit(at))
    // A count that takes too long fails no sweep.
    yield* Effect.ignore(count)
    return { clients: marked + confirmed + marks, audit: entries }
  })
}
