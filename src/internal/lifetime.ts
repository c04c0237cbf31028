import * as Duration from "effect/Duration"

// A year. A longer lifetime is a mistake in the bounds of the policy, and must not overflow an interval of the database.
export const maxMillis = 31_536_000_000

/** A lifetime in whole milliseconds, from 0 to a year. */
export const toMillis = (timeToLive: Duration.DurationInput): number =>
  Math.min(Math.max(Math.round(Duration.toMillis(timeToLive)), 0), maxMillis)

/** {@link toMillis} in nanoseconds, the unit of the monotonic clock. */
export const toNanos = (timeToLive: Duration.DurationInput): bigint => BigInt(toMillis(timeToLive)) * 1_000_000n

/**
 * How long the tombstone of an eviction is kept. No fetch takes so many minutes, so it outlives every fetch that began
 * before the eviction. No limit counts tombstones, because deleting one early would let an evicted document come back.
 * Their number is bounded by this time, by the rate limit of fetches, and by how often the host itself evicts.
 */
export const tombstoneMillis = 600_000
