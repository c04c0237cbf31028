/** The accounts of those who pay for fetches, by name. */
import { BoundedTable } from "./boundedTable.js"
import type { Meter } from "./meter.js"
import { isInUse, makeMeter } from "./meter.js"

export interface Account {
  readonly name: string
  /** All fetches. */
  readonly all: Meter
  /** Those of clients that were never accepted. */
  readonly newcomers: Meter
  /** The number of the last permit, so that the account that has waited longest for one comes first. */
  lastPermit: number
}

const makeAccount = (name: string, now: number): Account => ({
  name,
  all: makeMeter(now),
  newcomers: makeMeter(now),
  lastPermit: 0
})

/** Returns a copy of its own. V8 would keep a whole client identifier in memory for a part of it. */
const flat = (text: string): string => Buffer.from(text).toString()

/** Longer names share an account, because they would take unbounded memory. */
const maxNameLength = 256

/** A bounded table of accounts. All that have no room share one account, so that a spray of names evades no limit. */
export class Accounts {
  readonly #table: BoundedTable<string, Account>
  readonly #others = makeAccount("(all others)", 0)

  constructor(maxTrackedKeys: number) {
    this.#table = new BoundedTable(
      maxTrackedKeys,
      ({ all, newcomers }, now) => isInUse(all, now) || isInUse(newcomers, now)
    )
  }

  get count(): number {
    return this.#table.count
  }

  of(name: string, now: number): Account {
    if (name.length > maxNameLength) return this.#others
    const account = this.#table.get(name) ?? makeAccount(flat(name), now)
    return this.#table.set(account.name, account, now) ? account : this.#others
  }

  /** Returns the accounts that use a permit or a place in the queue, or whose starts are not restored yet. */
  inUse(now: number): ReadonlyArray<Account> {
    return [...this.#table.values(), this.#others].filter(({ all }) => isInUse(all, now))
  }
}

const topCount = 3

/** Returns the accounts that use most, by permits and places in the queue, then by starts. */
export const top = (tables: ReadonlyArray<Accounts>, now: number): ReadonlyArray<Account> =>
  tables.flatMap((table) => table.inUse(now))
    .sort(({ all: a }, { all: b }) => b.running + b.waiting - a.running - a.waiting || b.freeAt - a.freeAt)
    .slice(0, topCount)
