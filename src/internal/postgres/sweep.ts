import { SqlError } from "@effect/sql/SqlError"
import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Cache, CacheError, Instant } from "../../Cache.js"
import * as metrics from "../metrics.js"
import type { Settings } from "./options.js"
import { sqlState } from "./sqlErrors.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import type { Batch } from "./sweepBatches.js"
import { inBatches } from "./sweepBatches.js"

type SweepBatch = (batchSize: number) => Effect.Effect<Batch, CacheError>

const maxBatch = 1_000_000

/** From this number of rows on, Postgres' estimate of their number is trusted. */
const estimatedFrom = 100_000

/** A sweep would never end with batches of no rows. */
const clampBatchSize = (batchSize = 10_000): number => batchSize >= 1 ? Math.min(Math.trunc(batchSize), maxBatch) : 1

/** Sweeps the tables: leases, tombstones and expired documents, then what the table has beyond its limit. */
export const make = (
  statements: Statements,
  settings: Settings,
  timeout: Run<CacheError>,
  sweepTimeout: Run<CacheError>
): Cache["Type"]["sweep"] => {
  const { boundary, documentsBefore, leasesBefore, surplusBoundary, tombstonesBefore } = makeBatches(
    statements,
    settings,
    timeout,
    sweepTimeout
  )
  return (options) =>
    Effect.gen(function*() {
      const batchSize = clampBatchSize(options?.batchSize)
      const now = yield* boundary
      const leases = yield* inBatches(batchSize, leasesBefore(now))
      const tombstones = yield* inBatches(batchSize, tombstonesBefore(now))
      const expired = yield* inBatches(batchSize, documentsBefore(now))
      const lastToKeep = yield* surplusBoundary
      const surplus = lastToKeep === undefined
        ? 0
        : yield* inBatches(batchSize, countEvicted(documentsBefore(lastToKeep)))
      return { documents: tombstones + expired + surplus, leases }
    })
}

const countEvicted = (batch: SweepBatch): SweepBatch => (batchSize) =>
  Effect.tap(batch(batchSize), ({ deleted }) => Effect.sync(() => metrics.evictedFromTable.unsafeUpdate(deleted, [])))

// 55P03: a row is locked. 42703 and 0A000: no such column as ctid, as in some databases that speak Postgres' protocol.
const skippable = new Set(["55P03", "42703", "0A000"])
const mustSkip = ({ cause }: CacheError): boolean => cause instanceof SqlError && skippable.has(sqlState(cause) ?? "")

/** The statements of a sweep. */
export const makeBatches = (
  { deleteUnlocked, documents, instant, leases, sql, timestamp }: Statements,
  { maxDocuments, tables }: Settings,
  timeout: Run<CacheError>,
  sweepTimeout: Run<CacheError>
) => {
  /** A batch row by row, on every database: it skips rows that others are writing (SWP-04). */
  const skipping = (
    table: Identifier,
    order: "expires_at" | "kept_until",
    condition: Fragment
  ): SweepBatch =>
  (batchSize) =>
    Effect.map(
      sweepTimeout("sweep")(deleteUnlocked(table, order, condition, batchSize)),
      (count) => ({ found: count, deleted: count })
    )

  const documentBefore = (boundary: Instant) => sql`document IS NOT NULL AND kept_until < ${timestamp(boundary)}`

  /**
   * A batch of the documents by their place in the table, which costs little more than a plain DELETE. It fails instead
   * of waiting for a row that another session is writing, and on databases where rows have no ctid. It finds nothing
   * while another sweeper runs one (SWP-05). Right after that, it may still find what the other has deleted.
   */
  const byPlace = (boundary: Instant): SweepBatch => (batchSize) =>
    Effect.map(
      sweepTimeout("sweep")(sql<Batch>`WITH found AS MATERIALIZED (
          SELECT ctid AS place FROM ${documents}
          WHERE (SELECT pg_try_advisory_xact_lock(hashtext(${`${tables.channel} sweep`})))
            AND (SELECT set_config('lock_timeout', '10ms', true)) IS NOT NULL
            AND ${documentBefore(boundary)}
          ORDER BY kept_until LIMIT ${batchSize}
        ), deleted AS (
          DELETE FROM ${documents} WHERE ctid = ANY(ARRAY(SELECT place FROM found))
            AND ${documentBefore(boundary)} RETURNING 1
        ) SELECT
          (SELECT count(*)::integer FROM found) AS found,
          (SELECT count(*)::integer FROM deleted) AS deleted`),
      (rows) => Arr.unsafeGet(rows, 0)
    )

  return {
    /** The instant that a sweep takes as its boundary, once for all its batches (SWP-01). */
    boundary: timeout("sweep")(Effect.map(
      sql<{ boundary: string }>`SELECT ${instant("now()")} AS boundary`,
      (rows) => BigInt(Arr.unsafeGet(rows, 0).boundary)
    )),

    /** The documents that are kept until before the boundary. After the first locked row, its batches skip locked rows. */
    documentsBefore: (boundary: Instant): SweepBatch => {
      let skips = false
      const bySkipping = skipping(documents, "kept_until", documentBefore(boundary))
      return (batchSize) =>
        Effect.suspend(() =>
          skips ? bySkipping(batchSize) : Effect.catchIf(byPlace(boundary)(batchSize), mustSkip, () => {
            skips = true
            return bySkipping(batchSize)
          })
        )
    },

    tombstonesBefore: (boundary: Instant): SweepBatch =>
      skipping(documents, "kept_until", sql`document IS NULL AND kept_until < ${timestamp(boundary)}`),

    leasesBefore: (boundary: Instant): SweepBatch =>
      skipping(leases, "expires_at", sql`expires_at < ${timestamp(boundary)}`),

    /**
     * Until when the last document within the limit of the table is kept, if there are more: those that are kept for a
     * shorter time are surplus. Scanning a large table takes long, so it is scanned only where Postgres' own estimate comes
     * near the limit.
     */
    surplusBoundary: Effect.map(
      // The skipped rows are not converted: that would take longer, and fails for an infinite instant.
      sweepTimeout("sweep")(sql<{ kept_until: string }>`SELECT ${instant("kept_until")} AS kept_until FROM (
          SELECT kept_until FROM ${documents}
          WHERE document IS NOT NULL AND (
            SELECT reltuples NOT BETWEEN ${estimatedFrom}::float8 AND ${maxDocuments}::float8 * 0.9
            FROM pg_class WHERE oid = ${tables.documents}::regclass
          )
          ORDER BY kept_until DESC OFFSET ${maxDocuments - 1} LIMIT 2
        ) AS last ORDER BY last.kept_until DESC`),
      ([last, surplus]): Instant | undefined =>
        last === undefined || surplus === undefined ? undefined : BigInt(last.kept_until)
    )
  }
}
