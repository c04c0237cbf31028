import type { TieredOptions } from "../PostgresCache.js"
import * as Lifetime from "./lifetime.js"
import * as OptionReader from "./optionReader.js"
import * as tables from "./tables.js"

/** The options of the Postgres cache, complete and checked. */
export interface Settings {
  readonly tables: tables.Tables
  readonly timeoutMillis: number
  readonly staleMillis: number
  readonly maxPerOrigin: number
  readonly maxDocuments: number
  readonly notifications: boolean
  readonly maxEntries: number
  readonly unheardMillis: number
}

/** The settings, or what is wrong with the options and how to fix it. */
export const settle = (options: TieredOptions): Settings | string => {
  const { faults, millis, whole } = OptionReader.make()
  const found = tables.resolve(options)
  if (found._tag === "Left") faults.push(found.left)
  const settings = {
    timeoutMillis: millis("timeout", options.timeout, "2 seconds"),
    staleMillis: millis("staleFor", options.staleFor, 0, { least: 0, most: Lifetime.maxMillis }),
    maxPerOrigin: whole("maxPerOrigin", options.maxPerOrigin, 1000),
    maxDocuments: whole("maxDocuments", options.maxDocuments, 10_000_000),
    notifications: options.notifications ?? true,
    // A Map of Node.js holds no more.
    maxEntries: whole("maxEntries", options.maxEntries, 10_000, 2 ** 24),
    unheardMillis: millis("unheardLifetime", options.unheardLifetime, "1 second", { least: 0 })
  }
  return found._tag === "Left" || faults.length > 0
    ? `The options of the client metadata cache are invalid: ${faults.join("; ")}.`
    : { tables: found.right, ...settings }
}
