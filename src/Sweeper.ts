/**
 * Deletes expired rows of the cache and the registry on a schedule (rules SWP-01 to SWP-09). Results are correct without
 * it, because every read checks the expiry itself.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { CacheError, Swept as SweptFromCache } from "./Cache.js"
import { Cache } from "./Cache.js"
import type { RegistryError, Swept as SweptFromRegistry } from "./ClientRegistry.js"
import { ClientRegistry } from "./ClientRegistry.js"
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * Options of the sweeper.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The time between two sweeps, up to 22 days. Each wait varies by up to a tenth, so that the nodes of a cluster do not
   * sweep at the same time. It has no default, because its operator decides how often to write to a database.
   */
  readonly interval: Duration.DurationInput
  /** Maximum number of rows that one statement deletes. Defaults to `10_000`. */
  readonly batchSize?: number | undefined
}

/**
 * The number of rows that a sweep deleted from each table (SWP-07).
 *
 * @since 0.1.0
 * @category models
 */
export interface Swept extends SweptFromCache, SweptFromRegistry {}

/**
 * Deletes what has expired from the cache and the registry, on demand or on its schedule.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sweeper extends Context.Tag("effect-cimd/Sweeper")<Sweeper, {
  /**
   * Sweeps once, and returns how many rows were deleted from each table (SWP-07). If the sweep of one of them fails, the
   * other one is swept nevertheless (SWP-06).
   */
  readonly sweepNow: Effect.Effect<Swept, CacheError | RegistryError>
}>() {}

type Services = Cache | ClientRegistry

const make = (options: Options): Effect.Effect<Sweeper["Type"], InvalidOptions, Services | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const registry = yield* ClientRegistry
    const { batchSize, interval } = yield* settle(options)

    const sweepBoth: Effect.Effect<Swept, CacheError | RegistryError> = Effect.gen(function*() {
      const fromCache = yield* Effect.exit(cache.sweep({ batchSize }))
      const fromRegistry = yield* Effect.exit(registry.sweep)
      return yield* Exit.zipWith(fromCache, fromRegistry, {
        onSuccess: (documents, clients) => ({ ...documents, ...clients }),
        onFailure: Cause.sequential
      })
    })

    const sweepNow = sweepBoth.pipe(
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
      Effect.tap((swept) => Effect.logDebug("Swept the client metadata cache and the client registry", swept)),
      // After any failure, also a defect, the next turn tries again (SWP-06).
      Effect.catchAllCause((cause) =>
        Effect.logError(
          "Failed to sweep the client metadata cache or the client registry; the next turn tries again",
          cause
        )
      )
    )
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(wait, turn)))

    return Sweeper.of({ sweepNow })
  })

/** A timer of Node.js takes up to 24 days, and a wait may be longer than the interval by a tenth. */
const longestInterval = Duration.toMillis("22 days")

const settle = (options: Options) =>
  OptionReader.read("Sweeper", ({ millis, whole }) => ({
    interval: millis("interval", options.interval, Number.NaN, { most: longestInterval }),
    batchSize: whole("batchSize", options.batchSize, 10_000)
  }))

/**
 * The service, and a fiber that sweeps on the schedule until the scope of the layer closes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Sweeper, InvalidOptions, Services> =>
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
): Layer.Layer<Sweeper, InvalidOptions | ConfigError.ConfigError, Services> =>
  Layer.scoped(Sweeper, Effect.flatMap(Config.unwrap(options), make))
