import * as Effect from "effect/Effect"
import type { Cache, CacheError } from "../Cache.js"
import * as metrics from "./metrics.js"
import type { PostgresStore } from "./postgresStore.js"

/** Runs a batch until one comes back that was not full, and answers how many rows went in all. */
const inBatches = (
  batchSize: number,
  batch: Effect.Effect<number, CacheError>
): Effect.Effect<number, CacheError> => {
  const rest = (before: number): Effect.Effect<number, CacheError> =>
    // A batch is not torn apart; between two of them the sweep can be stopped.
    Effect.flatMap(Effect.uninterruptible(batch), (deleted) =>
      deleted < batchSize ? Effect.succeed(before + deleted) : rest(before + deleted))
  return rest(0)
}

export const make = (store: PostgresStore): Cache["Type"]["sweep"] => (options) =>
  Effect.gen(function*() {
    const batchSize = options?.batchSize ?? 5000
    const boundary = yield* store.boundary
    const expired = yield* inBatches(batchSize, store.sweepDocuments(boundary, batchSize))
    const surplus = yield* inBatches(batchSize, store.sweepSurplus(batchSize))
    metrics.evictedFromTable.unsafeUpdate(surplus, [])
    const leases = yield* store.sweepLeases(boundary)
    return { documents: expired + surplus, leases }
  })
