/** A sweep works in batches, so that it holds no lock for long. */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as metrics from "../metrics.js"
import { sqlState } from "./sqlErrors.js"

/** What a batch found and deleted. Another sweeper deleted the rows that it found and did not delete. */
export interface Batch {
  readonly found: number
  readonly deleted: number
}

/** A batch of at most so many rows that times out does so for another reason than its size. */
const minBatch = 100
/** By then the database has ended the statement that timed out, and has released its locks. */
const pauseMillis = 1000

/** Runs batches until one finds fewer rows than it may take. Returns the number of deleted rows. */
export const inBatches = <E extends { readonly cause: unknown }>(
  batchSize: number,
  batch: (batchSize: number) => Effect.Effect<Batch, E>
): Effect.Effect<number, E> => {
  const rest = (size: number, before: number): Effect.Effect<number, E> =>
    batch(size).pipe(
      // Counted with each batch, because its rows are gone even if a later batch fails.
      Effect.tap(({ deleted }) => Effect.sync(() => metrics.sweptRows.unsafeUpdate(deleted, []))),
      // An interruption stops the sweep between two batches, not within one.
      Effect.uninterruptible,
      Effect.matchEffect({
        onSuccess: ({ deleted, found }) =>
          found < size ? Effect.succeed(before + deleted) : rest(size, before + deleted),
        onFailure: (error) =>
          isTimeout(error) && size > minBatch
            ? Effect.delay(rest(Math.ceil(size / 2), before), pauseMillis)
            : Effect.fail(error)
      })
    )
  return rest(batchSize, 0)
}

// An error that is not Postgres' own is that of our timeout. 57014: a timeout of the database.
const isTimeout = ({ cause }: { readonly cause: unknown }): boolean =>
  !(cause instanceof SqlError) || sqlState(cause) === "57014"
