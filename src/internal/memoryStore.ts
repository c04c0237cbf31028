import * as metrics from "./metrics.js"
import type { StoredDocument } from "./storedDocument.js"

/** What is remembered of a client. Without a document it is a tombstone, which stops fetches that began before it. */
export interface Remembered {
  readonly stored: StoredDocument | undefined
  /** In microseconds of the cache's clock. */
  readonly fetchedAt: bigint
  /** In nanoseconds of the monotonic clock. */
  readonly expiresAt: bigint
  /** Until when a sweep keeps it, in nanoseconds of the monotonic clock. */
  readonly keptUntil: bigint
  readonly lifetimeMillis: number
  /** Until when it is served even without notifications of other nodes, in nanoseconds of the monotonic clock. */
  readonly trustedUntil: bigint
  /** The document is gone from its origin, or must be revalidated, so it is not served stale. */
  readonly withdrawn: boolean
  /** The rule sets that refused a later document, so they do not serve this one stale. */
  readonly withdrawnFor: ReadonlyArray<string>
}

interface Slot {
  remembered: Remembered
  used: boolean
}

/**
 * A bounded map that evicts entries that were not read recently. A read sets a flag and moves nothing, so it costs one
 * look-up. An eviction walks from the oldest entry and passes over each one that was read since its last turn. New
 * entries that nobody reads again, such as a spray of identifiers from one stranger, are evicted before those in use.
 */
export class MemoryStore {
  readonly #slots = new Map<string, Slot>()
  readonly #capacity: number

  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`maxEntries must be a positive integer, but is ${capacity}`)
    }
    this.#capacity = capacity
  }

  get size(): number {
    return this.#slots.size
  }

  get(clientId: string): Remembered | undefined {
    const slot = this.#slots.get(clientId)
    if (slot === undefined) return undefined
    slot.used = true
    return slot.remembered
  }

  /** Stores an entry, and returns `false` if one that was fetched later is already there (CAC-05). */
  set(clientId: string, remembered: Remembered): boolean {
    const slot = this.#slots.get(clientId)
    if (slot !== undefined) {
      if (slot.remembered.fetchedAt > remembered.fetchedAt) return false
      slot.remembered = remembered
      return true
    }
    while (this.#slots.size >= this.#capacity) this.#evictOne()
    this.#slots.set(clientId, { remembered, used: false })
    return true
  }

  delete(clientId: string): void {
    this.#slots.delete(clientId)
  }

  clear(): void {
    this.#slots.clear()
  }

  /** Deletes the entries that are kept until before the boundary, and returns how many of them were documents. */
  deleteExpired(boundary: bigint): number {
    let documents = 0
    for (const [clientId, { remembered }] of this.#slots) {
      if (remembered.keptUntil >= boundary) continue
      this.#slots.delete(clientId)
      if (remembered.stored !== undefined) documents++
    }
    return documents
  }

  #evictOne(): void {
    for (const [clientId, slot] of this.#slots) {
      this.#slots.delete(clientId)
      if (!slot.used) {
        metrics.evictedFromMemory.unsafeUpdate(1, [])
        return
      }
      slot.used = false
      this.#slots.set(clientId, slot)
    }
  }
}
