import * as Duration from "effect/Duration"

// A year: what is longer is a mistake in the policy's bounds, and must not overflow a database's interval.
export const maxMillis = 31_536_000_000

/** The lifetime in whole milliseconds, as caches count it. */
export const toMillis = (timeToLive: Duration.DurationInput): number =>
  Math.min(Math.max(Math.round(Duration.toMillis(timeToLive)), 0), maxMillis)

/** The same in nanoseconds, as a monotonic clock counts it. */
export const toNanos = (timeToLive: Duration.DurationInput): bigint => BigInt(toMillis(timeToLive)) * 1_000_000n

/**
 * How long an eviction is remembered: past the end of every fetch that had begun before it, which nobody waits minutes
 * for. No cap counts these marks, since one that was pushed out would let an evicted document come back; their number is
 * bounded by this time, by the start rate of fetches, and by how often the host itself evicts.
 */
export const evictionMillis = 600_000
