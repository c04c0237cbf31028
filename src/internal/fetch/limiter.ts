/**
 * Bounds how much a stranger can make this server fetch: concurrency and rate, overall and per origin, and the back-off
 * of a client whose fetch failed. This is abuse control and not caching: no response is kept.
 *
 * Written by hand, because the semaphore and the `RateLimiter` of effect queue without a bound, and the latter delays a
 * fetch that has to fail with a retry time.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ClientId from "../../ClientId.js"
import type { FetchError } from "../../FetchError.js"
import { Throttled } from "../../FetchError.js"
import type { BackoffLimits } from "./backoff.js"
import * as Backoff from "./backoff.js"
import { BoundedTable } from "./boundedTable.js"

export interface Limits {
  /** Maximum number of concurrent fetches. */
  readonly concurrency: number
  /** Maximum number of concurrent fetches from one origin. */
  readonly concurrencyPerOrigin: number
  /** Maximum number of fetches from one origin that start at once. The number is restored evenly within the window. */
  readonly rateLimit: { readonly limit: number; readonly windowMillis: number }
  readonly backoff: BackoffLimits
  /** Maximum number of tracked origins, and of tracked failed clients. */
  readonly maxTrackedKeys: number
}

export interface Limiter {
  /** Waits for a permit to fetch, or fails with `Throttled`. The permit is returned when the scope closes. */
  readonly acquire: (clientId: ClientId.ClientId) => Effect.Effect<void, Throttled, Scope.Scope>
  /** Runs a fetch that has its permit, and records how it ended for the back-off. */
  readonly recorded: <A>(
    clientId: ClientId.ClientId,
    fetch: Effect.Effect<A, FetchError>
  ) => Effect.Effect<A, FetchError>
}

interface Origin {
  /** When as many fetches may start at once as the rate limit allows. Each start moves it further ahead. */
  freeAt: number
  waiting: number
  running: number
}

/** A fetch that waits for a permit, or holds one. */
interface Waiter {
  readonly origin: Origin
  hasPermit: boolean
  wake: () => void
}

const maxWaitersPerPermit = 8

// Monotonic, so that a pause does not change with the time of day.
const millisOf = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

export const make = (limits: Limits): Limiter => {
  const { concurrency, concurrencyPerOrigin, rateLimit, maxTrackedKeys } = limits
  const backoff = Backoff.make(limits.backoff, maxTrackedKeys)
  /** The waiters without a permit, first come first. */
  const queue = new Set<Waiter>()
  let running = 0

  const millisPerStart = rateLimit.windowMillis / rateLimit.limit

  const origins = new BoundedTable<string, Origin>(
    maxTrackedKeys,
    (origin, now) => origin.waiting + origin.running > 0 || now < origin.freeAt
  )
  // All origins that find the table full share one entry, so that a spray of hosts cannot evade the limits.
  const others: Origin = { freeAt: 0, waiting: 0, running: 0 }

  const originOf = (name: string, now: number): Origin => {
    const origin = origins.get(name) ?? { freeAt: now, waiting: 0, running: 0 }
    return origins.set(name, origin, now) ? origin : others
  }

  const acquire = (clientId: ClientId.ClientId, now: number): Waiter | Throttled => {
    const origin = originOf(ClientId.origin(clientId), now)
    if (
      queue.size >= concurrency * maxWaitersPerPermit || origin.waiting >= concurrencyPerOrigin * maxWaitersPerPermit
    ) {
      return new Throttled({ clientId, reason: "busy", retryAfterMillis: 1000 })
    }
    const freeAt = Math.max(now, origin.freeAt) + millisPerStart
    // A fraction of a microsecond is only the rounding of the division above.
    const retryAfterMillis = Math.ceil(freeAt - now - rateLimit.windowMillis - 0.001)
    if (retryAfterMillis > 0) {
      return new Throttled({ clientId, reason: "rate", retryAfterMillis })
    }
    origin.freeAt = freeAt
    origin.waiting++
    const waiter: Waiter = { origin, hasPermit: false, wake: () => {} }
    queue.add(waiter)
    grantPermits()
    return waiter
  }

  /** Grants free permits in the order of the queue. A waiter for a busy origin does not block the others. */
  const grantPermits = (): void => {
    for (const waiter of queue) {
      if (running >= concurrency) return
      if (waiter.origin.running >= concurrencyPerOrigin) continue
      queue.delete(waiter)
      waiter.origin.waiting--
      waiter.origin.running++
      running++
      waiter.hasPermit = true
      waiter.wake()
    }
  }

  const release = (waiter: Waiter): void => {
    if (waiter.hasPermit) {
      waiter.origin.running--
      running--
      grantPermits()
    } else {
      queue.delete(waiter)
      waiter.origin.waiting--
    }
  }

  /**
   * Waits for a waiter's permit. Another fetch of the same client may have failed by then, so the pause is checked
   * again.
   */
  const permitOf = (clientId: string, waiter: Waiter, clock: Clock.Clock): Effect.Effect<void, Throttled> =>
    Effect.suspend(() =>
      waiter.hasPermit
        ? Effect.void
        : Effect.async<void, Throttled>((resume) => {
          waiter.wake = () => resume(Effect.suspend(() => backoff.pauseOf(clientId, millisOf(clock)) ?? Effect.void))
        })
    )

  return {
    acquire: (clientId) =>
      Effect.clockWith((clock) =>
        Effect.flatMap(
          Effect.acquireRelease(
            Effect.suspend((): Effect.Effect<Waiter, Throttled> => {
              const now = millisOf(clock)
              const waiter = backoff.pauseOf(clientId, now) ?? acquire(clientId, now)
              return waiter instanceof Throttled ? waiter : Effect.succeed(waiter)
            }),
            (waiter) => Effect.sync(() => release(waiter))
          ),
          (waiter) => permitOf(clientId, waiter, clock)
        )
      ),
    recorded: (clientId, fetch) =>
      Effect.onExit(fetch, (exit) =>
        Effect.map(Effect.clock, (clock) => backoff.record(clientId, exit, millisOf(clock))))
  }
}
