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

/** What a cache remembers of its clients, bounded in bytes (CAC-12). */
export class MemoryStore {
  readonly #entries: BoundedStore<Remembered>

  /** The number of documents of each site that has any. */
  readonly #sites = new Map<string, number>()

  constructor(maxBytes: number) {
    this.#entries = new BoundedStore(maxBytes, (removed) => {
      this.#count(removed, -1)
      metrics.evictedFromMemory.unsafeUpdate(1, [])
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

  /** Stores an entry, and returns `false` if one that was fetched later is already there (CAC-05). */
  set(clientId: string, remembered: Remembered): boolean {
    const known = this.#entries.get(clientId)
    if (known !== undefined && known.fetchedAt > remembered.fetchedAt) return false
    const { stored } = remembered
    this.#count(known, -1)
    this.#entries.set(clientId, remembered, stored === undefined ? HeapSize.ofTombstone(clientId) : stored.heapSize)
    // One that takes too many bytes is not stored.
    if (this.#entries.has(clientId)) this.#count(remembered, 1)
    this.#report()
    return true
  }

  /** Returns whether there is a document of a site, also an expired one. */
  hasSite(site: string): boolean {
    return this.#sites.has(site)
  }

  /** Weighs an entry again, whose document was validated under one more rule set. */
  weigh(clientId: string): void {
    const remembered = this.#entries.get(clientId)
    if (remembered !== undefined) this.set(clientId, remembered)
  }

  delete(clientId: string): void {
    this.#count(this.#entries.get(clientId), -1)
    this.#entries.delete(clientId)
    this.#report()
  }

  clear(): void {
    this.#entries.clear()
    this.#sites.clear()
    this.#report()
  }

  /** Deletes the entries that are kept until before the boundary, and returns how many of them were documents. */
  deleteExpired(boundary: bigint): number {
    let documents = 0
    for (const [clientId, remembered] of this.#entries.entries()) {
      if (remembered.keptUntil >= boundary) continue
      this.#entries.delete(clientId)
      this.#count(remembered, -1)
      if (remembered.stored !== undefined) documents++
    }
    this.#report()
    return documents
  }

  /** Counts a document that was stored or removed. */
  #count(remembered: Remembered | undefined, change: 1 | -1): void {
    if (remembered?.stored === undefined) return
    const site = siteOf(remembered.stored.clientId)
    const count = (this.#sites.get(site) ?? 0) + change
    if (count > 0) this.#sites.set(site, count)
    else this.#sites.delete(site)
  }

  #report(): void {
    metrics.memoryBytes.unsafeUpdate(this.#entries.bytes, [])
  }
}
