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
import type * as Scope from "effect/Scope"
import type { CacheError, Swept } from "./Cache.js"
import { Cache } from "./Cache.js"
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * How often to sweep, and how much at a time.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The time between two sweeps. It has no default: how often to write to a database is its operator's to say. Each
   * turn is moved by up to a tenth, so that the nodes of a cluster do not sweep in step. 22 days at most.
   */
  readonly interval: Duration.DurationInput
  /** Rows deleted in one statement at most; 10,000 unless told. */
  readonly batchSize?: number | undefined
}

/**
 * Removes what has expired from the cache, now or on its schedule.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sweeper extends Context.Tag("effect-cimd/Sweeper")<Sweeper, {
  /** Sweeps once, now, and answers how many rows each table lost (SWP-07). */
  readonly sweepNow: Effect.Effect<Swept, CacheError>
}>() {}

const make = (options: Options): Effect.Effect<Sweeper["Type"], InvalidOptions, Cache | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const { batchSize, interval } = yield* settle(options)

    const sweepNow = cache.sweep({ batchSize }).pipe(
      Effect.tap(() => Effect.sync(() => metrics.sweepsDone.unsafeUpdate(1, []))),
      Effect.tapErrorCause((cause) =>
        Effect.sync(() => {
          if (!Cause.isInterruptedOnly(cause)) metrics.sweepsFailed.unsafeUpdate(1, [])
        })
      ),
      Effect.withSpan("cimd.sweep", { captureStackTrace: false })
    )

    const wait = Effect.flatMap(
      Random.nextRange(0.9, 1.1),
      (factor) => Effect.sleep(interval * factor)
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

/** A timer of Node.js takes 24 days, and a turn may be moved by a tenth. */
const longestInterval = Duration.toMillis("22 days")

const settle = (options: Options) =>
  OptionReader.read("Sweeper", ({ millis, whole }) => ({
    interval: millis("interval", options.interval, Number.NaN, { most: longestInterval }),
    batchSize: whole("batchSize", options.batchSize, 10_000)
  }))

/**
 * The service, and a fiber that sweeps on the schedule for as long as the layer's scope is open.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Sweeper, InvalidOptions, Cache> =>
  Layer.scoped(Sweeper, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @example
 * ```ts
 * import { Sweeper } from "effect-cimd"
 * import * as Config from "effect/Config"
 *
 * const Sweeping = Sweeper.layerConfig({ interval: Config.duration("CIMD_SWEEP_INTERVAL") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Sweeper, InvalidOptions | ConfigError.ConfigError, Cache> =>
  Layer.scoped(Sweeper, Effect.flatMap(Config.unwrap(options), make))
