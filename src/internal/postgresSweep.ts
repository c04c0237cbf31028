import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { Cache, CacheError, Instant } from "../Cache.js"
import * as metrics from "./metrics.js"
import type { Batch, PostgresStore } from "./postgresStore.js"
import { sqlState } from "./sqlFaults.js"

// 55P03: a row is locked. 42703 and 0A000: no such column as ctid, as in some databases that speak Postgres' protocol.
const skippable = new Set(["55P03", "42703", "0A000"])
const mustSkip = ({ cause }: CacheError): boolean => cause instanceof SqlError && skippable.has(sqlState(cause) ?? "")

/** A batch of no rows would be followed by another for ever. */
const rowsOf = (batchSize = 10_000): number => batchSize >= 1 ? Math.min(Math.trunc(batchSize), maxBatch) : 1
const maxBatch = 1_000_000

/** Runs a batch until one comes back that did not find its fill, and answers how many rows went in all. */
const inBatches = (
  batchSize: number,
  batch: Effect.Effect<Batch, CacheError>
): Effect.Effect<number, CacheError> => {
  const rest = (before: number): Effect.Effect<number, CacheError> =>
    // A batch is not torn apart; between two of them the sweep can be stopped.
    Effect.flatMap(Effect.uninterruptible(batch), ({ deleted, found }) =>
      found < batchSize ? Effect.succeed(before + deleted) : rest(before + deleted))
  return rest(0)
}

/** A batch of what has expired. From the first row on that someone else holds, it is one that skips such rows. */
const expiredBatch = (
  store: PostgresStore,
  boundary: Instant,
  batchSize: number
): Effect.Effect<Batch, CacheError> => {
  const skipping = store.sweepDocumentsSkipping(boundary, batchSize)
  let batch = Effect.catchIf(store.sweepDocuments(boundary, batchSize), mustSkip, () => {
    batch = skipping
    return skipping
  })
  return Effect.suspend(() => batch)
}

export const make = (store: PostgresStore): Cache["Type"]["sweep"] => (options) =>
  Effect.gen(function*() {
    const batchSize = rowsOf(options?.batchSize)
    const boundary = yield* store.boundary
    const leases = yield* inBatches(batchSize, store.sweepLeases(boundary, batchSize))
    const expired = yield* inBatches(batchSize, expiredBatch(store, boundary, batchSize))
    const surplus = yield* inBatches(batchSize, store.sweepSurplus(batchSize))
    metrics.evictedFromTable.unsafeUpdate(surplus, [])
    return { documents: expired + surplus, leases }
  })
