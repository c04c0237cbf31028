import type { MemoryOptions } from "../Cache.js"
import type { TieredOptions } from "../PostgresCache.js"
import * as Lifetime from "./lifetime.js"
import * as OptionReader from "./optionReader.js"
import * as tables from "./tables.js"

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
