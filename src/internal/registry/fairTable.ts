/** How many entries a table holds. */
export interface Bounds {
  readonly total: number
  readonly perSite: number
}

interface Slot<A> {
  readonly value: A
  /** Counts the insertions, so that entries of different sites have an order. */
  readonly turn: number
}

/**
 * A bounded table that charges the site which fills it. When it is full, the site with the most entries loses its oldest
 * one. Of sites with equally many entries, it is the one with the oldest entry. So no site can displace the entries of
 * smaller ones.
 */
export class FairTable<A> {
  readonly #sites = new Map<string, Map<string, Slot<A>>>()
  readonly #bounds: Bounds
  readonly #siteOf: (key: string) => string
  #size = 0
  #turns = 0

  constructor(bounds: Bounds, siteOf: (key: string) => string) {
    this.#bounds = bounds
    this.#siteOf = siteOf
  }

  get size(): number {
    return this.#size
  }

  get(key: string): A | undefined {
    return this.#sites.get(this.#siteOf(key))?.get(key)?.value
  }

  /** Replaces the value of an entry and keeps its age. A new entry is the youngest, and may displace another one. */
  set(key: string, value: A): void {
    const site = this.#siteOf(key)
    const turn = this.#sites.get(site)?.get(key)?.turn
    if (turn === undefined) this.#add(site, key, value)
    else this.#sites.get(site)?.set(key, { value, turn })
  }

  /** Sets an entry and makes it the youngest. */
  renew(key: string, value: A): void {
    this.delete(key)
    this.#add(this.#siteOf(key), key, value)
  }

  delete(key: string): boolean {
    const site = this.#siteOf(key)
    const entries = this.#sites.get(site)
    if (entries === undefined || !entries.delete(key)) return false
    this.#size--
    if (entries.size === 0) this.#sites.delete(site)
    return true
  }

  /** Returns all entries, the oldest first. */
  entries(): ReadonlyArray<readonly [key: string, value: A]> {
    return [...this.#sites.values()]
      .flatMap((entries) => [...entries])
      .sort(([, a], [, b]) => a.turn - b.turn)
      .map(([key, { value }]) => [key, value])
  }

  #add(site: string, key: string, value: A): void {
    const entries = this.#sites.get(site) ?? new Map<string, Slot<A>>()
    this.#sites.set(site, entries)
    entries.set(key, { value, turn: this.#turns++ })
    this.#size++
    if (entries.size > this.#bounds.perSite) this.#deleteOldest(entries)
    if (this.#size > this.#bounds.total) this.#deleteOldest(this.#fullest(entries))
  }

  #fullest(found: Map<string, Slot<A>>): Map<string, Slot<A>> {
    for (const entries of this.#sites.values()) {
      if (
        entries.size > found.size || (entries.size === found.size && oldestTurn(entries) < oldestTurn(found))
      ) found = entries
    }
    return found
  }

  #deleteOldest(entries: Map<string, Slot<A>>): void {
    for (const key of entries.keys()) {
      this.delete(key)
      return
    }
  }
}

/** The entries of a site stand in the order of their age. */
const oldestTurn = (entries: Map<string, Slot<unknown>>): number => {
  for (const { turn } of entries.values()) return turn
  return Number.POSITIVE_INFINITY
}
