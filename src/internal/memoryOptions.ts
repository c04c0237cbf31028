import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { InvalidOptions } from "../InvalidOptions.js"
import * as Lifetime from "./lifetime.js"
import * as OptionReader from "./optionReader.js"

/** Options of a cache that keeps documents in memory. */
export interface MemoryOptions {
  /** Maximum number of clients in memory. The least recently read are evicted first. Defaults to `10_000`. */
  readonly maxEntries?: number | undefined
  /** How long an expired document is kept for `stale`. Defaults to `0`, so that none is kept. */
  readonly staleIfError?: Duration.DurationInput | undefined
}

/** `MemoryOptions`, complete and checked. */
export interface MemorySettings {
  readonly maxEntries: number
  readonly staleMillis: number
}

/** Reads the options that both caches have. */
export const read = ({ millis, whole }: OptionReader.Reader, options: MemoryOptions): MemorySettings => ({
  // A Map of Node.js cannot hold more entries.
  maxEntries: whole("maxEntries", options.maxEntries, 10_000, 2 ** 24),
  staleMillis: millis("staleIfError", options.staleIfError, 0, { least: 0, most: Lifetime.maxMillis })
})

/** Checks the options of the cache in memory and fills in the defaults. */
export const settle = (options: MemoryOptions): Effect.Effect<MemorySettings, InvalidOptions> =>
  OptionReader.read("Cache", (reader) => read(reader, options))
