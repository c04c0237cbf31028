/**
 * A table of a bounded size that never gives up an entry which still matters: what does not fit is not kept.
 *
 * Entries are visited in the order of their last `set`, a few at a time, so that no call takes long however full it is.
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

  delete(key: K): void {
    this.entries.delete(key)
  }

  /** Whether there was room for it. */
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

// Two would keep up with one new entry a call; more catch up after a spray.
const visitsPerCall = 4
