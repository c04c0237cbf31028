import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { InvalidOptions } from "../../InvalidOptions.js"
import * as Lifetime from "../lifetime.js"
import * as OptionReader from "../optionReader.js"
import * as tables from "./tableNames.js"

/** What the cache in memory may be told. */
export interface MemoryOptions {
  /** Clients remembered at most; 10,000 unless told. Those not read lately go first. */
  readonly maxEntries?: number | undefined
  /** How long an expired document is kept for `stale`; not at all unless told. */
  readonly staleIfError?: Duration.DurationInput | undefined
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
  readonly staleIfError?: Duration.DurationInput | undefined
  /** Documents of one origin at most, so that one host cannot fill the table; 1,000 unless told. */
  readonly maxPerOrigin?: number | undefined
  /** Documents in all at most, kept to by the sweep; 10,000,000 unless told. The oldest expiry goes first. */
  readonly maxDocuments?: number | undefined
  /**
   * Whether writes are announced by `NOTIFY`; on unless told. Turn it off for a database that has none, on every node:
   * memory tiers then live by `disconnectedTtl` alone.
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
  readonly disconnectedTtl?: Duration.DurationInput | undefined
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

const readMemory = ({ millis, whole }: OptionReader.Reader, options: MemoryOptions): MemorySettings => ({
  // A Map of Node.js holds no more.
  maxEntries: whole("maxEntries", options.maxEntries, 10_000, 2 ** 24),
  staleMillis: millis("staleIfError", options.staleIfError, 0, { least: 0, most: Lifetime.maxMillis })
})

/** Checks the options of the cache in memory and fills in the defaults. */
export const settleMemory = (options: MemoryOptions): Effect.Effect<MemorySettings, InvalidOptions> =>
  OptionReader.read("Cache", (reader) => readMemory(reader, options))

/** Checks the options of the Postgres cache and fills in the defaults. */
export const settle = (options: TieredOptions): Effect.Effect<Settings, InvalidOptions> =>
  OptionReader.read("PostgresCache", (reader) => {
    const { millis, whole } = reader
    const timeoutMillis = millis("timeout", options.timeout, "2 seconds")
    return {
      tables: tables.read(reader, options),
      timeoutMillis,
      // Nobody waits for a sweep. It must end before `layerClient` takes its connection to be cut.
      sweepTimeoutMillis: Math.max(timeoutMillis, 8000),
      ...readMemory(reader, options),
      maxPerOrigin: whole("maxPerOrigin", options.maxPerOrigin, 1000),
      maxDocuments: whole("maxDocuments", options.maxDocuments, 10_000_000),
      notifications: options.notifications ?? true,
      unheardMillis: millis("disconnectedTtl", options.disconnectedTtl, "1 second", { least: 0 })
    }
  })
