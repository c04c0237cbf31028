/** What one payer has in use, and when it may start fetches again. */
import type { Scope } from "./refusal.js"
import { busy, Refusal } from "./refusal.js"

/** Maximum number of fetches that start within a window. The number is restored evenly. */
export interface RateLimit {
  readonly limit: number
  readonly windowMillis: number
}

export interface Limit {
  readonly scope: Scope
  /** Maximum number of concurrent fetches. */
  readonly concurrency: number
  readonly millisPerStart: number
  /** How far the starts may be ahead of their even rate. */
  readonly burstMillis: number
}

/** Maximum number of waiters for each permit. */
export const waitersPerPermit = 8

/** Times are monotonic milliseconds. */
export interface Meter {
  running: number
  waiting: number
  /** When as many fetches may start at once as the rate permits. Each start moves it further ahead. */
  freeAt: number
  /** Until when a fetch that took long counts. */
  slowUntil: number
}

export const makeMeter = (now: number): Meter => ({ running: 0, waiting: 0, freeAt: now, slowUntil: now })

export const isInUse = (meter: Meter, now: number): boolean =>
  meter.running + meter.waiting > 0 || now < meter.freeAt || now < meter.slowUntil

export const limitOf = (scope: Scope, concurrency: number, { limit, windowMillis }: RateLimit): Limit => ({
  scope,
  concurrency,
  millisPerStart: windowMillis / limit,
  burstMillis: windowMillis
})

/** Returns a limit with half the fetches, but at least one at a time. */
export const half = (limit: Limit): Limit => {
  const millisPerStart = limit.millisPerStart * 2
  return {
    scope: limit.scope,
    concurrency: Math.ceil(limit.concurrency / 2),
    millisPerStart,
    burstMillis: Math.max(limit.burstMillis, millisPerStart)
  }
}

/** One fetch in one meter. */
export interface Charge {
  readonly meter: Meter
  readonly limit: Limit
  /** Whether the limit applies. A charge without it only counts, for later fetches to which it applies. */
  readonly enforced: boolean
  /** `freeAt` after the start of this fetch: from then on the start has been restored. */
  restoredAt: number
}

export const charge = (meter: Meter, limit: Limit): Charge => ({ meter, limit, enforced: true, restoredAt: 0 })
export const countOnly = (meter: Meter, limit: Limit): Charge => ({ meter, limit, enforced: false, restoredAt: 0 })

/** Returns why a fetch can neither start nor wait. */
export const refusalOf = ({ enforced, limit, meter }: Charge, now: number): Refusal | undefined => {
  if (!enforced) return undefined
  if (meter.waiting >= limit.concurrency * waitersPerPermit) return busy(limit.scope)
  // A fraction of a microsecond is only the rounding of a division.
  const excess = Math.max(now, meter.freeAt) + limit.millisPerStart - now - limit.burstMillis - 0.001
  return excess > 0 ? new Refusal(limit.scope, "rate", Math.ceil(excess)) : undefined
}

export const mayRun = ({ enforced, limit, meter }: Charge): boolean => !enforced || meter.running < limit.concurrency

/** Counts starts. A meter without an enforced limit never gets further ahead than one that has used its whole burst. */
export const start = (charge: Charge, starts: number, now: number): void => {
  const { enforced, limit, meter } = charge
  const freeAt = Math.max(now, meter.freeAt) + starts * limit.millisPerStart
  meter.freeAt = enforced ? freeAt : Math.min(freeAt, Math.max(meter.freeAt, now + limit.burstMillis))
  charge.restoredAt = meter.freeAt
}

/** Takes one start back, unless time has restored it already. */
export const takeBack = ({ limit, meter, restoredAt }: Charge, now: number): void => {
  if (now < restoredAt) meter.freeAt -= limit.millisPerStart
}
