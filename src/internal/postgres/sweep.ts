import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Cache, CacheError, Instant } from "../../Cache.js"
import type { Settings } from "./options.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import { counted, inBatches, isState, isTimeout, pauseMillis, withoutPlaces } from "./sweepBatches.js"
import type { TableUsage } from "./tableUsage.js"

type SweepBatch = (batchSize: number) => Effect.Effect<number, CacheError>

const maxBatch = 1_000_000

/** No page of 8 KiB holds more documents, since each row has at least 256 bytes. */
const maxRowsPerPage = 32
/** A table of fewer pages is swept by its index. */
const minPages = 1000
/** The number of pages by which the others are judged. */
const sampledPages = 500

/** A sweep would never end with batches of no rows. */
const clampBatchSize = (batchSize = 10_000): number => batchSize >= 1 ? Math.min(Math.trunc(batchSize), maxBatch) : 1

/** Sweeps the tables: leases, tombstones and expired documents, then what the table has beyond its bound. */
export const make = (
  batches: Batches,
  { maxTableBytes }: Settings,
  { relieve, usage }: { readonly usage: TableUsage; readonly relieve: Effect.Effect<number, CacheError> }
): Cache["Type"]["sweep"] =>
(options) =>
  Effect.gen(function*() {
    const batchSize = clampBatchSize(options?.batchSize)
    const now = yield* batches.boundary
    const leases = yield* inBatches(batchSize, batches.leasesBefore(now))
    const tombstones = yield* inBatches(batchSize, batches.tombstonesBefore(now))
    const documentsBefore = (boundary: Instant) =>
      Effect.gen(function*() {
        const pages = yield* batches.pagesToSweep(boundary)
        const byPage = yield* inRanges(pages, batchSize, batches.pagesBefore(boundary))
        return byPage + (yield* inBatches(batchSize, batches.documentsBefore(boundary)))
      })
    const expired = yield* documentsBefore(now)
    const { bytes, measured } = yield* usage.report
    const surplus = bytes > maxTableBytes || !measured ? yield* relieve : 0
    yield* batches.end(expired)
    return { documents: tombstones + expired + surplus, leases }
  })

/** Goes through a table by ranges of pages, and returns the number of deleted rows. */
const inRanges = (
  pages: number,
  batchSize: number,
  batch: (from: number, to: number) => Effect.Effect<number, CacheError>
): Effect.Effect<number, CacheError> => {
  const rest = (from: number, width: number, before: number): Effect.Effect<number, CacheError> =>
    from >= pages ? Effect.succeed(before) : Effect.matchEffect(counted(batch(from, from + width)), {
      onSuccess: (deleted) => rest(from + width, width, before + deleted),
      onFailure: (error) =>
        isTimeout(error) && width > 1
          ? Effect.delay(rest(from, Math.ceil(width / 2), before), pauseMillis)
          // What is locked is left to the batches by the index, which skip it.
          : isState(error, locked)
          ? rest(from + width, width, before)
          : Effect.fail(error)
    })
  return rest(0, Math.max(Math.floor(batchSize / maxRowsPerPage), 1), 0)
}

// 55P03: another session has locked a row.
const locked = ["55P03"]

/** The statements of a sweep. */
export const makeBatches = (
  { deleteUnlocked, documents, instant, leases, nodes, sql, state, timestamp, usage }: Statements,
  { tables }: Settings,
  timeout: Run<CacheError>,
  sweepTimeout: Run<CacheError>
) => {
  /** A batch by the index: it skips rows that others are writing (SWP-04). */
  const skipping = (
    table: Identifier,
    order: "expires_at" | "kept_until",
    condition: Fragment
  ): SweepBatch =>
  (batchSize) => sweepTimeout("sweep")(deleteUnlocked(table, order, condition, batchSize))

  const documentBefore = (boundary: Instant) => sql`document IS NOT NULL AND kept_until < ${timestamp(boundary)}`
  /** True for one sweeper at a time, so that two do no work twice (SWP-05). */
  const alone = sql`(SELECT pg_try_advisory_xact_lock(hashtext(${`${tables.channel} sweep`})))`

  return {
    /** The instant that a sweep takes as its boundary, once for all its batches (SWP-01). */
    boundary: timeout("sweep")(Effect.map(
      sql<{ boundary: string }>`SELECT ${instant("now()")} AS boundary`,
      (rows) => BigInt(Arr.unsafeGet(rows, 0).boundary)
    )),

    /**
     * The number of pages of the table, if a sample shows that most of them hold a row to delete. Otherwise 0: then the
     * index finds the rows faster.
     */
    pagesToSweep: (boundary: Instant): Effect.Effect<number, CacheError> =>
      sweepTimeout("sweep")(Effect.gen(function*() {
        const [size] = yield* sql<{ pages: number }>`
          SELECT (pg_relation_size(${tables.documents}::regclass) / current_setting('block_size')::integer)::integer AS pages`
        const pages = size?.pages ?? 0
        if (pages < minPages) return 0
        const [sample] = yield* sql<{ found: number }>`SELECT count(*)::integer AS found FROM ${documents}
          TABLESAMPLE SYSTEM (${(100 * sampledPages) / pages}) WHERE ${documentBefore(boundary)}`
        return (sample?.found ?? 0) >= sampledPages ? pages : 0
      })).pipe(Effect.catchIf((error) => isState(error, withoutPlaces), () => Effect.succeed(0))),

    /**
     * A batch by the place of the rows in the table: it reads each page once, where the index leads to each row on its own.
     * It fails instead of waiting for a row that another session is writing.
     */
    pagesBefore: (boundary: Instant) => (from: number, to: number): Effect.Effect<number, CacheError> =>
      Effect.map(
        sweepTimeout("sweep")(
          sql`DELETE FROM ${documents} WHERE ctid >= ${`(${from},0)`}::tid AND ctid < ${`(${to},0)`}::tid
            AND ${documentBefore(boundary)} AND ${alone}
            AND (SELECT set_config('lock_timeout', '10ms', true)) IS NOT NULL`.raw
        ),
        // node-postgres counts the rows that the server reports.
        (result) => (result as { readonly rowCount: number | null }).rowCount ?? 0
      ),

    /** The documents that are kept until before the boundary. */
    documentsBefore: (boundary: Instant): SweepBatch =>
      skipping(documents, "kept_until", sql`${documentBefore(boundary)} AND ${alone}`),

    tombstonesBefore: (boundary: Instant): SweepBatch =>
      skipping(documents, "kept_until", sql`document IS NULL AND kept_until < ${timestamp(boundary)}`),

    leasesBefore: (boundary: Instant): SweepBatch =>
      skipping(leases, "expires_at", sql`expires_at < ${timestamp(boundary)}`),

    /**
     * Records the end of a sweep. Counting the bytes of what it deleted would take longer than deleting it, so the table is
     * measured later, and until then seems fuller than it is.
     */
    end: (expired: number): Effect.Effect<void, CacheError> =>
      Effect.asVoid(
        timeout("sweep")(sql`WITH measured AS (
          UPDATE ${usage} SET outdated = true WHERE ${expired > 0} AND NOT outdated
        ), gone AS (
          DELETE FROM ${nodes} WHERE seen_at < clock_timestamp() - interval '1 day'
        ) UPDATE ${state} SET swept_at = clock_timestamp()`)
      )
  }
}

export type Batches = ReturnType<typeof makeBatches>
