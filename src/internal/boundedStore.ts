interface Slot<A> {
  readonly key: string
  readonly value: A
  readonly bytes: number
  readonly site: Site<A> | undefined
  used: boolean
  // A place in two lists. They take less memory than a map for each site, and their first slot is found at once. The first
  // key of a `Map` is found behind all keys that were deleted before it.
  older: Slot<A> | undefined
  newer: Slot<A> | undefined
  olderOfSite: Slot<A> | undefined
  newerOfSite: Slot<A> | undefined
}

/** The names of the members by which a list links its slots. */
interface Links {
  readonly older: "older" | "olderOfSite"
  readonly newer: "newer" | "newerOfSite"
}

const ofAll: Links = { older: "older", newer: "newer" }
const ofSite: Links = { older: "olderOfSite", newer: "newerOfSite" }

interface List<A> {
  oldest: Slot<A> | undefined
  newest: Slot<A> | undefined
}

interface Site<A> extends List<A> {
  readonly name: string
  bytes: number
}

export interface Options {
  /** Is called for each entry that is removed to make room. */
  readonly removed?: (() => void) | undefined
  /** Returns who pays for an entry. Without it nobody has a share. */
  readonly siteOf?: ((key: string) => string) | undefined
}

/** A site has a share of so many bytes as others do without. */
const sharesPerStore = 16

/**
 * A map that is bounded in bytes, and removes entries that were not read recently. A read sets a flag and moves nothing,
 * so it costs one look-up. To make room, it walks from the oldest entry and passes over each one that was read since its
 * last turn. New entries that nobody reads again, such as a spray of identifiers from one stranger, are removed before
 * those in use.
 *
 * A site that holds more than a sixteenth of the bytes makes room among its own entries, and others make room among those of
 * the largest such site. There are at most fifteen of them, so finding the largest takes no search (CAC-27).
 */
export class BoundedStore<A> {
  readonly #slots = new Map<string, Slot<A>>()
  readonly #all: List<A> = { oldest: undefined, newest: undefined }
  readonly #sites = new Map<string, Site<A>>()
  readonly #overShare = new Set<Site<A>>()
  readonly #maxBytes: number
  readonly #removed: () => void
  readonly #siteOf: ((key: string) => string) | undefined
  #bytes = 0

  constructor(maxBytes: number, { removed = () => {}, siteOf }: Options = {}) {
    if (!(maxBytes > 0)) throw new RangeError(`maxBytes must be a positive number, but is ${maxBytes}`)
    this.#maxBytes = maxBytes
    this.#removed = removed
    this.#siteOf = siteOf
  }

  get size(): number {
    return this.#slots.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** How many bytes the entries of a site take. */
  bytesOf(site: string): number {
    return this.#sites.get(site)?.bytes ?? 0
  }

  get(key: string): A | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    slot.used = true
    return slot.value
  }

  /** Stores a value that takes so many bytes. One that takes more than there are is not stored. */
  set(key: string, value: A, bytes: number): void {
    const used = this.#slots.get(key)?.used ?? false
    this.delete(key)
    if (bytes > this.#maxBytes) return
    const site = this.#siteFor(key)
    this.#makeRoom(bytes, site)
    // Making room may have removed the last entry of the site, and the site with it.
    if (site !== undefined) this.#sites.set(site.name, site)
    const slot: Slot<A> = {
      key,
      value,
      bytes,
      site,
      used,
      older: undefined,
      newer: undefined,
      olderOfSite: undefined,
      newerOfSite: undefined
    }
    this.#slots.set(key, slot)
    this.#bytes += bytes
    append(this.#all, slot, ofAll)
    if (site !== undefined) {
      append(site, slot, ofSite)
      this.#charge(site, bytes)
    }
  }

  delete(key: string): void {
    const slot = this.#slots.get(key)
    if (slot !== undefined) this.#remove(slot)
  }

  clear(): void {
    this.#slots.clear()
    this.#sites.clear()
    this.#overShare.clear()
    this.#all.oldest = undefined
    this.#all.newest = undefined
    this.#bytes = 0
  }

  *entries(): IterableIterator<readonly [key: string, value: A]> {
    for (const [key, { value }] of this.#slots) yield [key, value]
  }

  /** The values of a site. */
  *valuesOf(site: string): IterableIterator<A> {
    for (let slot = this.#sites.get(site)?.oldest; slot !== undefined; slot = slot.newerOfSite) {
      yield slot.value
    }
  }

  #siteFor(key: string): Site<A> | undefined {
    if (this.#siteOf === undefined) return undefined
    const name = this.#siteOf(key)
    return this.#sites.get(name) ?? { name, bytes: 0, oldest: undefined, newest: undefined }
  }

  #charge(site: Site<A>, bytes: number): void {
    site.bytes += bytes
    if (site.bytes > this.#maxBytes / sharesPerStore) this.#overShare.add(site)
    else this.#overShare.delete(site)
  }

  #remove(slot: Slot<A>): void {
    this.#slots.delete(slot.key)
    this.#bytes -= slot.bytes
    unlink(this.#all, slot, ofAll)
    const { site } = slot
    if (site === undefined) return
    unlink(site, slot, ofSite)
    this.#charge(site, -slot.bytes)
    if (site.oldest === undefined) this.#sites.delete(site.name)
  }

  #makeRoom(bytes: number, site: Site<A> | undefined): void {
    while (this.#bytes + bytes > this.#maxBytes) {
      const payer = this.#payer(bytes, site)
      const slot = payer === undefined ? oldestUnread(this.#all, ofAll) : oldestUnread(payer, ofSite)
      if (slot === undefined) return
      this.#remove(slot)
      this.#removed()
    }
  }

  /** The site that makes room: the one of the new entry if that exceeds its share, and otherwise the largest that does. */
  #payer(bytes: number, site: Site<A> | undefined): Site<A> | undefined {
    if (site?.oldest !== undefined && site.bytes + bytes > this.#maxBytes / sharesPerStore) return site
    let largest: Site<A> | undefined
    for (const other of this.#overShare) {
      if (largest === undefined || other.bytes > largest.bytes) largest = other
    }
    return largest
  }
}

const append = <A>(list: List<A>, slot: Slot<A>, { newer, older }: Links): void => {
  slot[older] = list.newest
  slot[newer] = undefined
  if (list.newest === undefined) list.oldest = slot
  else list.newest[newer] = slot
  list.newest = slot
}

const unlink = <A>(list: List<A>, slot: Slot<A>, { newer, older }: Links): void => {
  const [before, after] = [slot[older], slot[newer]]
  if (before === undefined) list.oldest = after
  else before[newer] = after
  if (after === undefined) list.newest = before
  else after[older] = before
}

/** The oldest slot of a list that was not read since its last turn. */
const oldestUnread = <A>(list: List<A>, links: Links): Slot<A> | undefined => {
  let slot = list.oldest
  while (slot?.used === true) {
    slot.used = false
    unlink(list, slot, links)
    append(list, slot, links)
    slot = list.oldest
  }
  return slot
}
