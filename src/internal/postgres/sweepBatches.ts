/** A sweep works in batches, so that it holds no lock for long. */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as metrics from "../metrics.js"
import { sqlState } from "./sqlErrors.js"

/** The errors of cache and registry. */
interface Failed {
  readonly cause: unknown
}

/** A batch of at most so many rows that times out does so for another reason than its size. */
const minBatch = 100
/** By then the database has ended the statement that timed out, and has released its locks. */
export const pauseMillis = 1000

/** Runs one batch of a sweep. An interruption stops the sweep between two batches, not within one. */
export const counted = <E>(batch: Effect.Effect<number, E>): Effect.Effect<number, E> =>
  // Counted with each batch, because its rows are gone even if a later batch fails.
  Effect.uninterruptible(Effect.tap(batch, (deleted) => Effect.sync(() => metrics.sweptRows.unsafeUpdate(deleted, []))))

/**
 * Runs batches until one finds fewer rows than it may take. A batch deletes at most so many rows, and returns their
 * number. Returns the number of all.
 */
export const inBatches = <E extends Failed>(
  batchSize: number,
  batch: (batchSize: number) => Effect.Effect<number, E>
): Effect.Effect<number, E> => {
  const rest = (size: number, before: number): Effect.Effect<number, E> =>
    Effect.matchEffect(counted(batch(size)), {
      onSuccess: (deleted) => deleted < size ? Effect.succeed(before + deleted) : rest(size, before + deleted),
      onFailure: (error) =>
        isTimeout(error) && size > minBatch
          ? Effect.delay(rest(Math.ceil(size / 2), before), pauseMillis)
          : Effect.fail(error)
    })
  return rest(batchSize, 0)
}

/** No ctid or no sample: views, and some databases that speak Postgres' protocol. */
export const withoutPlaces = ["42809", "42703", "42883", "42601", "0A000"]

/** Whether Postgres reported an error with one of these codes. */
export const isState = ({ cause }: Failed, states: ReadonlyArray<string>): boolean =>
  cause instanceof SqlError && states.includes(sqlState(cause) ?? "")

/** Whether a statement timed out. An error that is not Postgres' own is that of our timeout. 57014 is the database's. */
export const isTimeout = (error: Failed): boolean => !(error.cause instanceof SqlError) || isState(error, ["57014"])
