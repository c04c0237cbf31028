/** Bounds of the attempts. */
export interface Bounds {
  /** The time between two attempts of one key, in nanoseconds of the monotonic clock. */
  readonly interval: bigint
  /** Maximum number of keys that are remembered. */
  readonly maxKeys: number
}

/**
 * Makes a function that returns whether an attempt may start now, and then remembers it. Each key has one attempt per
 * interval. While `maxKeys` keys had theirs, no other key gets one: to forget a key early would permit it a second attempt.
 */
export const make = ({ interval, maxKeys }: Bounds): (key: string, now: bigint) => boolean => {
  // In the order of the attempts, because each key is removed before it is added again.
  const attempts = new Map<string, bigint>()
  return (key, now) => {
    for (const [oldest, at] of attempts) {
      if (now - at < interval) break
      attempts.delete(oldest)
    }
    if (attempts.has(key) || attempts.size >= maxKeys) return false
    attempts.set(key, now)
    return true
  }
}
