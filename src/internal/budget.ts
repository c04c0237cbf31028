/**
 * How much a stranger can make this server fetch. Abuse control and not caching: no answer is remembered.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as ClientId from "../ClientId.js"
import type { FetchError } from "../FetchError.js"
import { Throttled } from "../FetchError.js"
import { BoundedTable } from "./boundedTable.js"

export interface Limits {
  /** Fetches at the same time. */
  readonly concurrency: number
  /** Fetches from one origin at the same time. */
  readonly concurrencyPerOrigin: number
  /** So many fetches from one origin may begin at once, and so many again within this time. */
  readonly startRate: { readonly starts: number; readonly perMillis: number }
  /** How long a client is left alone after its fetch failed; doubled with every further failure. */
  readonly failurePause: { readonly minimumMillis: number; readonly maximumMillis: number }
  /** Origins, and failed clients, that are remembered at most. */
  readonly tracked: number
}

/** Waits until it is a fetch's turn, and runs it. */
export type Turn = <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Throttled, R>

export interface Budget {
  /** Runs a fetch, to which it gives the way to wait for its turn, or refuses to begin it. */
  readonly spend: <A>(
    clientId: ClientId.ClientId,
    run: (turn: Turn) => Effect.Effect<A, FetchError>
  ) => Effect.Effect<A, FetchError>
}

interface Origin {
  tokens: number
  refilledAt: number
  /** Fetches that run or wait. */
  users: number
  readonly turns: Effect.Semaphore
}

interface Failure {
  readonly pauseMillis: number
  readonly until: number
}

/** For each fetch that runs, so many may wait. */
const waitingPerTurn = 8

const nowMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

export const make = (limits: Limits): Budget => {
  const { concurrency, concurrencyPerOrigin, failurePause, startRate, tracked } = limits
  const turns = Effect.unsafeMakeSemaphore(concurrency)
  let users = 0

  const tokensOf = (origin: Origin, now: number): number =>
    Math.min(startRate.starts, origin.tokens + (now - origin.refilledAt) * startRate.starts / startRate.perMillis)

  const newOrigin = (now: number): Origin => ({
    tokens: startRate.starts,
    refilledAt: now,
    users: 0,
    turns: Effect.unsafeMakeSemaphore(concurrencyPerOrigin)
  })

  const origins = new BoundedTable<string, Origin>(
    tracked,
    (origin, now) => origin.users > 0 || tokensOf(origin, now) < startRate.starts
  )
  // All origins that found the table full share one entry, so that a spray of hosts cannot get round the limits.
  const others = newOrigin(0)

  // A failure is remembered for as long again as its pause, or the pause would never grow.
  const failures = new BoundedTable<string, Failure>(
    tracked,
    (failure, now) => now < failure.until + failurePause.maximumMillis
  )

  const originOf = (name: string, now: number): Origin => {
    const origin = origins.get(name) ?? newOrigin(now)
    return origins.set(name, origin, now) ? origin : others
  }

  const notPaused = (clientId: string, now: number): Effect.Effect<void, Throttled> => {
    const failure = failures.get(clientId)
    return failure !== undefined && now < failure.until
      ? new Throttled({ clientId, reason: "failed", retryAfterMillis: Math.ceil(failure.until - now) })
      : Effect.void
  }

  /** Enters a fetch at its origin, or refuses it. */
  const enter = (clientId: ClientId.ClientId, now: number): Effect.Effect<Origin, Throttled> => {
    const origin = originOf(ClientId.origin(clientId), now)
    if (users >= concurrency * (1 + waitingPerTurn) || origin.users >= concurrencyPerOrigin * (1 + waitingPerTurn)) {
      return new Throttled({ clientId, reason: "busy", retryAfterMillis: 1000 })
    }
    const tokens = tokensOf(origin, now)
    if (tokens < 1) {
      const retryAfterMillis = Math.ceil((1 - tokens) * startRate.perMillis / startRate.starts)
      return new Throttled({ clientId, reason: "rate", retryAfterMillis })
    }
    origin.tokens = tokens - 1
    origin.refilledAt = now
    origin.users++
    users++
    return Effect.succeed(origin)
  }

  const leave = (origin: Origin) =>
    Effect.sync(() => {
      origin.users--
      users--
    })

  const failed = (clientId: string, now: number): void => {
    const known = failures.get(clientId)
    const pauseMillis = known !== undefined && now < known.until + failurePause.maximumMillis
      ? Math.min(known.pauseMillis * 2, failurePause.maximumMillis)
      : failurePause.minimumMillis
    if (pauseMillis > 0) {
      failures.set(clientId, { pauseMillis, until: now + pauseMillis }, now)
    }
  }

  const remember = (clientId: string, error: FetchError) =>
    saysNothing(error) ? Effect.void : Effect.map(nowMillis, (now) => failed(clientId, now))

  return {
    spend: (clientId, run) => {
      // Who waited may find that the one before has failed. The turn at the origin is taken first: who waits for that
      // one takes none from others.
      const turn = (origin: Origin): Turn => (work) =>
        Effect.flatMap(nowMillis, (now) => notPaused(clientId, now)).pipe(
          Effect.zipRight(work),
          turns.withPermits(1),
          origin.turns.withPermits(1)
        )
      return Effect.flatMap(nowMillis, (now) =>
        Effect.acquireUseRelease(
          Effect.flatMap(notPaused(clientId, now), () => enter(clientId, now)),
          (origin) =>
            Effect.tapBoth(run(turn(origin)), {
              onFailure: (error) => remember(clientId, error),
              onSuccess: () => Effect.sync(() => failures.delete(clientId))
            }),
          leave
        ))
    }
  }
}

/** Whether an error only says that the fetch did not get its turn. */
const saysNothing = (error: FetchError): boolean =>
  error._tag === "Throttled" || (error._tag === "FetchTimeout" && error.phase === "budget")
