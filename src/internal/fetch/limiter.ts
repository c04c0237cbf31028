/**
 * How much a stranger can make this server fetch. Abuse control and not caching: no answer is remembered.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ClientId from "../../ClientId.js"
import type { FetchError } from "../../FetchError.js"
import { Throttled } from "../../FetchError.js"
import { BoundedTable } from "./boundedTable.js"
import { isOriginFault, isOwnLimit } from "./transientErrors.js"

export interface Limits {
  /** Fetches at the same time. */
  readonly concurrency: number
  /** Fetches from one origin at the same time. */
  readonly concurrencyPerOrigin: number
  /** So many fetches from one origin may begin at once, and so many again within this time. */
  readonly rateLimit: { readonly limit: number; readonly windowMillis: number }
  /** How long a client is left alone after its fetch failed; doubled with every further failure. */
  readonly backoff: { readonly initialMillis: number; readonly maximumMillis: number }
  /** Origins, and failed clients, that are remembered at most. */
  readonly maxTrackedKeys: number
}

export interface Limiter {
  /**
   * Runs a fetch, or refuses to begin it. The fetch is given an effect that waits for its turn, which lasts until the
   * fetch ends.
   */
  readonly spend: <A>(
    clientId: ClientId.ClientId,
    fetch: (turn: Effect.Effect<void, Throttled>) => Effect.Effect<A, FetchError>
  ) => Effect.Effect<A, FetchError>
}

interface Origin {
  /** When as many fetches may begin at once as the start rate allows; each one that begins moves it on. */
  freeAt: number
  waiting: number
  running: number
}

/** A fetch that was let in. */
interface Guest {
  readonly origin: Origin
  running: boolean
  wake: () => void
}

interface Failure {
  readonly pauseMillis: number
  readonly until: number
  readonly originFault: boolean
}

/** For each fetch that runs, so many may wait. */
const waitingPerTurn = 8

// Monotonic: a pause does not change with the time of day.
const millisOf = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

export const make = (limits: Limits): Limiter => {
  const { concurrency, concurrencyPerOrigin, backoff, rateLimit, maxTrackedKeys } = limits
  /** Those who wait, in the order they came. */
  const queue = new Set<Guest>()
  let running = 0

  const millisPerStart = rateLimit.windowMillis / rateLimit.limit

  const origins = new BoundedTable<string, Origin>(
    maxTrackedKeys,
    (origin, now) => origin.waiting + origin.running > 0 || now < origin.freeAt
  )
  // All origins that find the table full share one entry, so that a spray of hosts cannot get round the limits.
  const others: Origin = { freeAt: 0, waiting: 0, running: 0 }

  const originOf = (name: string, now: number): Origin => {
    const origin = origins.get(name) ?? { freeAt: now, waiting: 0, running: 0 }
    return origins.set(name, origin, now) ? origin : others
  }

  // A failure counts for a while after its pause is over, or no pause would ever follow another.
  const countsUntil = (failure: Failure): number => failure.until + backoff.maximumMillis
  const failures = new BoundedTable<string, Failure>(maxTrackedKeys, (failure, now) => now < countsUntil(failure))

  const fail = (clientId: string, error: FetchError, now: number): void => {
    const before = failures.get(clientId)
    const pauseMillis = before !== undefined && now < countsUntil(before)
      ? Math.min(before.pauseMillis * 2, backoff.maximumMillis)
      : backoff.initialMillis
    if (pauseMillis > 0) {
      failures.set(clientId, { pauseMillis, until: now + pauseMillis, originFault: isOriginFault(error) }, now)
    }
  }

  const pause = (clientId: string, now: number): Throttled | undefined => {
    const failure = failures.get(clientId)
    if (failure === undefined || now >= failure.until) return undefined
    const { originFault, until } = failure
    return new Throttled({ clientId, reason: "failed", originFault, retryAfterMillis: Math.ceil(until - now) })
  }

  const admit = (clientId: ClientId.ClientId, now: number): Guest | Throttled => {
    const origin = originOf(ClientId.origin(clientId), now)
    if (queue.size >= concurrency * waitingPerTurn || origin.waiting >= concurrencyPerOrigin * waitingPerTurn) {
      return new Throttled({ clientId, reason: "busy", retryAfterMillis: 1000 })
    }
    const freeAt = Math.max(now, origin.freeAt) + millisPerStart
    // A part of a microsecond is nothing but the rounding of the division above.
    const retryAfterMillis = Math.ceil(freeAt - now - rateLimit.windowMillis - 0.001)
    if (retryAfterMillis > 0) {
      return new Throttled({ clientId, reason: "rate", retryAfterMillis })
    }
    origin.freeAt = freeAt
    origin.waiting++
    const guest: Guest = { origin, running: false, wake: () => {} }
    queue.add(guest)
    advance()
    return guest
  }

  /** Gives free turns to those who wait, the first to come first. Who waits for a busy origin holds up no other. */
  const advance = (): void => {
    for (const guest of queue) {
      if (running >= concurrency) return
      if (guest.origin.running >= concurrencyPerOrigin) continue
      queue.delete(guest)
      guest.origin.waiting--
      guest.origin.running++
      running++
      guest.running = true
      guest.wake()
    }
  }

  const leave = (guest: Guest): void => {
    if (guest.running) {
      guest.origin.running--
      running--
      advance()
    } else {
      queue.delete(guest)
      guest.origin.waiting--
    }
  }

  /** Waits for the guest's turn. Whoever had to wait may find that the fetch before has failed. */
  const turnOf = (clientId: string, guest: Guest, clock: Clock.Clock): Effect.Effect<void, Throttled> =>
    Effect.suspend(() =>
      guest.running
        ? Effect.void
        : Effect.async<void, Throttled>((resume) => {
          guest.wake = () => resume(Effect.suspend(() => pause(clientId, millisOf(clock)) ?? Effect.void))
        })
    )

  const conclude = (clientId: string, exit: Exit.Exit<unknown, FetchError>, now: number): void => {
    if (Exit.isSuccess(exit)) {
      failures.delete(clientId)
    } else if (exit.cause._tag === "Fail" && !isOwnLimit(exit.cause.error)) {
      fail(clientId, exit.cause.error, now)
    }
  }

  return {
    spend: (clientId, fetch) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.clockWith((clock) => {
          const now = millisOf(clock)
          const guest = pause(clientId, now) ?? admit(clientId, now)
          return guest instanceof Throttled
            ? guest
            : Effect.onExit(restore(fetch(turnOf(clientId, guest, clock))), (exit) =>
              Effect.sync(() => {
                conclude(clientId, exit, millisOf(clock))
                leave(guest)
              }))
        })
      )
  }
}
