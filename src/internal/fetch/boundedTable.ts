/**
 * A map of bounded size that never evicts a live entry: a new key that does not fit is not stored.
 *
 * Written by hand, because the bounded caches of effect and `lru-cache` evict a live entry to make room. A spray of
 * keys could then evict the entry of the client or origin that it attacks.
 *
 * Each `set` visits a few entries in the order of their last `set`, so no call takes long, however full the map is.
 */
export class BoundedTable<K, V> {
  private readonly entries = new Map<K, V>()

  constructor(private readonly size: number, private readonly isLive: (value: V, now: number) => boolean) {}

  get count(): number {
    return this.entries.size
  }

  get(key: K): V | undefined {
    return this.entries.get(key)
  }

  values(): IterableIterator<V> {
    return this.entries.values()
  }

  delete(key: K): void {
    this.entries.delete(key)
  }

  /** Returns whether the entry was stored. */
  set(key: K, value: V, now: number): boolean {
    const known = this.entries.delete(key)
    this.clean(now)
    if (!known && this.entries.size >= this.size) {
      return false
    }
    this.entries.set(key, value)
    return true
  }

  private clean(now: number): void {
    let visits = 0
    for (const [key, value] of this.entries) {
      if (++visits > visitsPerCall) return
      this.entries.delete(key)
      if (this.isLive(value, now)) {
        this.entries.set(key, value)
      }
    }
  }
}

// Two would keep up with one new entry a call; four also catch up after a spray.
const visitsPerCall = 4
