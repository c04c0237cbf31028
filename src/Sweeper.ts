/**
 * Housekeeping: removes expired rows on a schedule (rules SWP-01 to SWP-07). Nothing is wrong if it never runs, since
 * every read checks the expiry itself.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { CacheError, Swept } from "./Cache.js"
import { Cache } from "./Cache.js"
import * as metrics from "./internal/metrics.js"

/**
 * The sweeper's options cannot be kept (SWP-03).
 *
 * @since 0.1.0
 * @category errors
 */
export class SweeperInvalid extends Schema.TaggedError<SweeperInvalid>("effect-cimd/Sweeper/SweeperInvalid")(
  "SweeperInvalid",
  { message: Schema.String }
) {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The time between two sweeps. It has no default: how often to write to a database is its operator's to say. Each
   * turn is moved by up to a tenth, so that the nodes of a cluster do not sweep in step.
   */
  readonly interval: Duration.DurationInput
  /** Rows deleted in one statement at most; 10,000 unless told. */
  readonly batchSize?: number | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Sweeper extends Context.Tag("effect-cimd/Sweeper")<Sweeper, {
  /** Sweeps once, now, and answers how many rows each table lost (SWP-07). */
  readonly sweepNow: Effect.Effect<Swept, CacheError>
}>() {}

const make = (options: Options): Effect.Effect<Sweeper["Type"], SweeperInvalid, Cache | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const interval = yield* validInterval(options.interval)
    const batchSize = yield* validBatchSize(options.batchSize)

    const sweepNow = cache.sweep({ batchSize }).pipe(
      Effect.tap((swept) =>
        Effect.sync(() => {
          metrics.sweepsDone.unsafeUpdate(1, [])
          metrics.sweptRows.unsafeUpdate(swept.documents, [])
        })
      ),
      Effect.tapErrorCause((cause) =>
        Effect.sync(() => {
          if (!Cause.isInterruptedOnly(cause)) metrics.sweepsFailed.unsafeUpdate(1, [])
        })
      ),
      Effect.withSpan("cimd.sweep", { captureStackTrace: false })
    )

    const wait = Effect.flatMap(
      Random.nextRange(0.9, 1.1),
      (factor) => Effect.sleep(Duration.times(interval, factor))
    )
    const turn = sweepNow.pipe(
      Effect.tap((swept) => Effect.logDebug("Swept the client metadata cache", swept)),
      // Whatever went wrong, a defect as well, the next turn tries again (SWP-06).
      Effect.catchAllCause((cause) =>
        Effect.logError("Sweeping the client metadata cache failed; the next turn tries again", cause)
      )
    )
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(wait, turn)))

    return Sweeper.of({ sweepNow })
  })

const validInterval = (input: Duration.DurationInput): Effect.Effect<Duration.Duration, SweeperInvalid> => {
  const interval = Duration.decodeUnknown(input)
  return interval._tag === "Some" && Duration.greaterThan(interval.value, Duration.zero) &&
      Duration.isFinite(interval.value)
    ? Effect.succeed(interval.value)
    : new SweeperInvalid({
      message: "The sweeper needs an interval greater than zero, such as Sweeper.layer({ interval: \"10 minutes\" })."
    })
}

const validBatchSize = (input: number | undefined): Effect.Effect<number | undefined, SweeperInvalid> =>
  input === undefined || (Number.isInteger(input) && input > 0)
    ? Effect.succeed(input)
    : new SweeperInvalid({ message: `The sweeper's batchSize must be a whole number from 1 on, and is ${input}.` })

/**
 * The service, and a fiber that sweeps on the schedule for as long as the layer's scope is open.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Sweeper, SweeperInvalid, Cache> =>
  Layer.scoped(Sweeper, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Sweeper, SweeperInvalid | ConfigError.ConfigError, Cache> =>
  Layer.scoped(Sweeper, Effect.flatMap(Config.unwrap(options), make))
