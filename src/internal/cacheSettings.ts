import type * as Duration from "effect/Duration"
import * as Lifetime from "./lifetime.js"
import * as OptionReader from "./optionReader.js"
import * as tables from "./tables.js"

/** What the cache in memory may be told. */
export interface MemoryOptions {
  /** Clients remembered at most; 10,000 unless told. Those not read lately go first. */
  readonly maxEntries?: number | undefined
  /** How long an expired document is kept for `stale`; not at all unless told. */
  readonly staleFor?: Duration.DurationInput | undefined
}

/** What the cache in Postgres may be told. */
export interface PostgresOptions extends tables.TableNames {
  /**
   * Time for one statement, after which the caller gets a `CacheError`; 2 seconds unless told. A read that has to wait
   * for the reads of others may wait for about as long again. A statement of a sweep has 8 seconds, or this if it is
   * longer.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** How long an expired document is kept, to be answered with while its origin has a fault; not at all unless told. */
  readonly staleFor?: Duration.DurationInput | undefined
  /** Documents of one origin at most, so that one host cannot fill the table; 1,000 unless told. */
  readonly maxPerOrigin?: number | undefined
  /** Documents in all at most, kept to by the sweep; 10,000,000 unless told. The oldest expiry goes first. */
  readonly maxDocuments?: number | undefined
  /**
   * Whether writes are announced by `NOTIFY`; on unless told. Turn it off for a database that has none, on every node:
   * memory tiers then live by `unheardLifetime` alone.
   */
  readonly notifications?: boolean | undefined
}

/** What the cache may be told whose documents are also kept in memory. */
export interface TieredOptions extends PostgresOptions {
  /** Clients that the memory tier remembers at most; 10,000 unless told. Those not read lately go first. */
  readonly maxEntries?: number | undefined
  /**
   * How long the memory tier answers with what it has read while the announcements of other nodes are not heard; 1
   * second unless told. It bounds how stale an answer can be (CAC-12).
   */
  readonly unheardLifetime?: Duration.DurationInput | undefined
}

/** The options of the cache in memory, complete and checked. */
export interface MemorySettings {
  readonly maxEntries: number
  readonly staleMillis: number
}

/** The options of the Postgres cache, complete and checked. */
export interface Settings extends MemorySettings {
  readonly tables: tables.Tables
  readonly timeoutMillis: number
  readonly sweepTimeoutMillis: number
  readonly maxPerOrigin: number
  readonly maxDocuments: number
  readonly notifications: boolean
  readonly unheardMillis: number
}

const invalid = (faults: ReadonlyArray<string>): string =>
  `The options of the client metadata cache are invalid: ${faults.join("; ")}.`

const readMemory = ({ millis, whole }: OptionReader.OptionReader, options: MemoryOptions): MemorySettings => ({
  // A Map of Node.js holds no more.
  maxEntries: whole("maxEntries", options.maxEntries, 10_000, 2 ** 24),
  staleMillis: millis("staleFor", options.staleFor, 0, { least: 0, most: Lifetime.maxMillis })
})

/** The settings of the cache in memory, or what is wrong with its options and how to fix it. */
export const settleMemory = (options: MemoryOptions): MemorySettings | string => {
  const reader = OptionReader.make()
  const settings = readMemory(reader, options)
  return reader.faults.length > 0 ? invalid(reader.faults) : settings
}

/** The settings, or what is wrong with the options and how to fix it. */
export const settle = (options: TieredOptions): Settings | string => {
  const reader = OptionReader.make()
  const { faults, millis, whole } = reader
  const found = tables.resolve(options)
  if (found._tag === "Left") faults.push(found.left)
  const timeoutMillis = millis("timeout", options.timeout, "2 seconds")
  const settings = {
    timeoutMillis,
    // Nobody waits for a sweep. It must end before `layerClient` takes its connection to be cut.
    sweepTimeoutMillis: Math.max(timeoutMillis, 8000),
    ...readMemory(reader, options),
    maxPerOrigin: whole("maxPerOrigin", options.maxPerOrigin, 1000),
    maxDocuments: whole("maxDocuments", options.maxDocuments, 10_000_000),
    notifications: options.notifications ?? true,
    unheardMillis: millis("unheardLifetime", options.unheardLifetime, "1 second", { least: 0 })
  }
  return found._tag === "Left" || faults.length > 0
    ? invalid(faults)
    : { tables: found.right, ...settings }
}
