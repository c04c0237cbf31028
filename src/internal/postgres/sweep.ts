import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { Cache, CacheError, Instant } from "../../Cache.js"
import * as metrics from "../metrics.js"
import type { Batch, PostgresStore } from "./documents.js"
import { sqlState } from "./sqlErrors.js"

// 55P03: a row is locked. 42703 and 0A000: no such column as ctid, as in some databases that speak Postgres' protocol.
const skippable = new Set(["55P03", "42703", "0A000"])
const mustSkip = ({ cause }: CacheError): boolean => cause instanceof SqlError && skippable.has(sqlState(cause) ?? "")

// What is not Postgres' own error is that of the bound in time. 57014: a bound of the database's own.
const isOverdue = ({ cause }: CacheError): boolean => !(cause instanceof SqlError) || sqlState(cause) === "57014"

const maxBatch = 1_000_000
/** A batch of so few rows is not overdue for its size. */
const minBatch = 100
/** By then the database has ended what was overdue, and has given its locks back. */
const pauseMillis = 1000

/** A batch of no rows would be followed by another for ever. */
const rowsOf = (batchSize = 10_000): number => batchSize >= 1 ? Math.min(Math.trunc(batchSize), maxBatch) : 1

type SweepBatch = (batchSize: number) => Effect.Effect<Batch, CacheError>

/** Runs batches until one comes back that did not find its fill, and answers how many rows went in all. */
const inBatches = (batchSize: number, batch: SweepBatch): Effect.Effect<number, CacheError> => {
  const rest = (size: number, before: number): Effect.Effect<number, CacheError> =>
    batch(size).pipe(
      // Counted with the batch: what went is gone though a later batch may fail.
      Effect.tap(({ deleted }) => Effect.sync(() => metrics.sweptRows.unsafeUpdate(deleted, []))),
      // A batch is not torn apart; between two of them the sweep can be stopped.
      Effect.uninterruptible,
      Effect.matchEffect({
        onSuccess: ({ deleted, found }) =>
          found < size ? Effect.succeed(before + deleted) : rest(size, before + deleted),
        onFailure: (error) =>
          isOverdue(error) && size > minBatch
            ? Effect.delay(rest(Math.ceil(size / 2), before), pauseMillis)
            : Effect.fail(error)
      })
    )
  return rest(batchSize, 0)
}

/** Batches of the documents that expire before an instant. From the first locked row on they skip such rows. */
const documentsBefore = (store: PostgresStore, boundary: Instant): SweepBatch => {
  let skips = false
  const skipping: SweepBatch = (batchSize) => store.sweepDocumentsSkipping(boundary, batchSize)
  return (batchSize) =>
    Effect.suspend(() =>
      skips ? skipping(batchSize) : Effect.catchIf(store.sweepDocuments(boundary, batchSize), mustSkip, () => {
        skips = true
        return skipping(batchSize)
      })
    )
}

const counted = (batch: SweepBatch): SweepBatch => (batchSize) =>
  Effect.tap(batch(batchSize), ({ deleted }) => Effect.sync(() => metrics.evictedFromTable.unsafeUpdate(deleted, [])))

export const make = (store: PostgresStore): Cache["Type"]["sweep"] => (options) =>
  Effect.gen(function*() {
    const batchSize = rowsOf(options?.batchSize)
    const boundary = yield* store.boundary
    const leases = yield* inBatches(batchSize, (size) => store.sweepLeases(boundary, size))
    const marks = yield* inBatches(batchSize, (size) => store.sweepMarks(boundary, size))
    const expired = yield* inBatches(batchSize, documentsBefore(store, store.staleBefore(boundary)))
    const lastToKeep = yield* store.lastToKeep
    const surplus = lastToKeep === undefined
      ? 0
      : yield* inBatches(batchSize, counted(documentsBefore(store, lastToKeep)))
    return { documents: marks + expired + surplus, leases }
  })
