import type { AcceptedDocument } from "../ClientMetadata.js"
import * as metrics from "./metrics.js"

/** What is remembered of a client. Without a document it marks an eviction, which stops the fetches begun before. */
export interface Remembered {
  readonly document: AcceptedDocument | undefined
  /** By the clock of the cache, in microseconds. */
  readonly fetchedAt: bigint
  /** By the monotonic clock, in nanoseconds. */
  readonly expiresAt: bigint
  readonly lifetimeMillis: number
  /** Served until then, by the same clock, even while the changes of other nodes are not heard. */
  readonly heldUntil: bigint
  /** The origin says that it is gone, so it must not be served stale. */
  readonly withdrawn: boolean
}

interface Slot {
  remembered: Remembered
  used: boolean
}

/**
 * A bounded map that gives up what was not read lately. A read sets a flag and moves nothing, so it costs one look-up;
 * who makes room walks from the oldest on and gives each entry that was read since a second turn. New entries that
 * nobody reads again, such as a spray of identifiers from one stranger, push out each other before they push out the
 * ones in use.
 */
export class MemoryStore {
  readonly #slots = new Map<string, Slot>()
  readonly #capacity: number

  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`maxEntries must be a whole number from 1 on, and is ${capacity}`)
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

  /** Keeps what was fetched last, whatever the order of the calls. */
  set(clientId: string, remembered: Remembered): boolean {
    const slot = this.#slots.get(clientId)
    if (slot !== undefined) {
      if (slot.remembered.fetchedAt > remembered.fetchedAt) return false
      slot.remembered = remembered
      return true
    }
    while (this.#slots.size >= this.#capacity) this.#makeRoom()
    this.#slots.set(clientId, { remembered, used: false })
    return true
  }

  delete(clientId: string): void {
    this.#slots.delete(clientId)
  }

  clear(): void {
    this.#slots.clear()
  }

  /** Deletes what had expired before the boundary, and answers how many of them were documents. */
  deleteExpired(boundary: bigint): number {
    let documents = 0
    for (const [clientId, { remembered }] of this.#slots) {
      if (remembered.expiresAt >= boundary) continue
      this.#slots.delete(clientId)
      if (remembered.document !== undefined) documents++
    }
    return documents
  }

  #makeRoom(): void {
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
