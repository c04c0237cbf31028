import * as Duration from "effect/Duration"

// A year: what is longer is a mistake in the policy's bounds, and must not overflow a database's interval.
export const maxMillis = 31_536_000_000

/** The lifetime in whole milliseconds, as caches count it. */
export const toMillis = (timeToLive: Duration.DurationInput): number =>
  Math.min(Math.max(Math.round(Duration.toMillis(timeToLive)), 0), maxMillis)

/** The same in nanoseconds, as a monotonic clock counts it. */
export const toNanos = (timeToLive: Duration.DurationInput): bigint => BigInt(toMillis(timeToLive)) * 1_000_000n

/** How long an eviction is remembered: past the deadline of every fetch that had begun before it. */
export const evictionMillis = 3_600_000
