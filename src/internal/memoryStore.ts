import { BoundedStore } from "./boundedStore.js"
import * as HeapSize from "./heapSize.js"
import * as metrics from "./metrics.js"
import { siteOf } from "./rules/site.js"
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

/** What a cache remembers of its clients, bounded in bytes (CAC-12), with a share for each site (CAC-27). */
export class MemoryStore {
  readonly #entries: BoundedStore<Remembered>

  constructor(maxBytes: number) {
    this.#entries = new BoundedStore(maxBytes, {
      removed: () => metrics.evictedFromMemory.unsafeUpdate(1, []),
      siteOf
    })
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#entries.bytes
  }

  get(clientId: string): Remembered | undefined {
    return this.#entries.get(clientId)
  }

  /** Whether it holds a document of a site. */
  hasSite(site: string): boolean {
    for (const { stored } of this.#entries.valuesOf(site)) {
      if (stored !== undefined) return true
    }
    return false
  }

  /** Stores an entry, and returns `false` if one that was fetched later is already there (CAC-05). */
  set(clientId: string, remembered: Remembered): boolean {
    const known = this.#entries.get(clientId)
    if (known !== undefined && known.fetchedAt > remembered.fetchedAt) return false
    const { stored } = remembered
    this.#entries.set(clientId, remembered, stored === undefined ? HeapSize.ofTombstone(clientId) : stored.heapSize)
    this.#report()
    return true
  }

  /** Weighs an entry again, whose document was validated under one more rule set. */
  weigh(clientId: string): void {
    const remembered = this.#entries.get(clientId)
    if (remembered !== undefined) this.set(clientId, remembered)
  }

  delete(clientId: string): void {
    this.#entries.delete(clientId)
    this.#report()
  }

  clear(): void {
    this.#entries.clear()
    this.#report()
  }

  /** Deletes the entries that are kept until before the boundary, and returns how many of them were documents. */
  deleteExpired(boundary: bigint): number {
    let documents = 0
    for (const [clientId, { keptUntil, stored }] of this.#entries.entries()) {
      if (keptUntil >= boundary) continue
      this.#entries.delete(clientId)
      if (stored !== undefined) documents++
    }
    this.#report()
    return documents
  }

  #report(): void {
    metrics.memoryBytes.unsafeUpdate(this.#entries.bytes, [])
  }
}
