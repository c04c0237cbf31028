interface Slot<A> {
  readonly value: A
  readonly bytes: number
  used: boolean
}

/**
 * A map that is bounded in bytes, and removes entries that were not read recently. A read sets a flag and moves nothing,
 * so it costs one look-up. To make room, it walks from the oldest entry and passes over each one that was read since its
 * last turn. New entries that nobody reads again, such as a spray of identifiers from one stranger, are removed before
 * those in use.
 */
export class BoundedStore<A> {
  readonly #slots = new Map<string, Slot<A>>()
  readonly #maxBytes: number
  readonly #removed: (value: A) => void
  #bytes = 0

  /** `removed` is called with each value that is removed to make room. */
  constructor(maxBytes: number, removed: (value: A) => void = () => {}) {
    if (!(maxBytes > 0)) throw new RangeError(`maxBytes must be a positive number, but is ${maxBytes}`)
    this.#maxBytes = maxBytes
    this.#removed = removed
  }

  get size(): number {
    return this.#slots.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(key: string): A | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    slot.used = true
    return slot.value
  }

  /** Returns whether there is a value, without counting as a read. */
  has(key: string): boolean {
    return this.#slots.has(key)
  }

  /** Stores a value that takes so many bytes. One that takes more than there are is not stored. */
  set(key: string, value: A, bytes: number): void {
    const used = this.#slots.get(key)?.used ?? false
    this.delete(key)
    if (bytes > this.#maxBytes) return
    this.#makeRoom(bytes)
    this.#slots.set(key, { value, bytes, used })
    this.#bytes += bytes
  }

  delete(key: string): void {
    const slot = this.#slots.get(key)
    if (slot === undefined) return
    this.#slots.delete(key)
    this.#bytes -= slot.bytes
  }

  clear(): void {
    this.#slots.clear()
    this.#bytes = 0
  }

  *entries(): IterableIterator<readonly [key: string, value: A]> {
    for (const [key, { value }] of this.#slots) yield [key, value]
  }

  #makeRoom(bytes: number): void {
    if (this.#bytes + bytes <= this.#maxBytes) return
    for (const [key, slot] of this.#slots) {
      this.#slots.delete(key)
      if (slot.used) {
        slot.used = false
        this.#slots.set(key, slot)
        continue
      }
      this.#bytes -= slot.bytes
      this.#removed(slot.value)
      if (this.#bytes + bytes <= this.#maxBytes) return
    }
  }
}
