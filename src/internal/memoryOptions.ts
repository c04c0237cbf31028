import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { InvalidOptions } from "../InvalidOptions.js"
import * as OptionReader from "./optionReader.js"
import * as Lifetime from "./storedLifetime.js"

/** Options of a cache that keeps documents in memory. */
export interface MemoryOptions {
  /**
   * Maximum number of bytes of memory that the documents take, from 64 KiB to 8 GiB. Those that were not read recently are
   * evicted first, and those of a site with more than its share before all others (CAC-12, CAC-27). Defaults to 64 MiB, which is room for 20,000 to 40,000 usual documents.
   */
  readonly maxBytes?: number | undefined
  /** How long an expired document is kept for `stale`. Defaults to `0`, so that none is kept. */
  readonly staleIfError?: Duration.DurationInput | undefined
}

/** `MemoryOptions`, complete and checked. */
export interface MemorySettings {
  readonly maxBytes: number
  readonly staleMillis: number
}

/** Reads the options that both caches have. */
export const read = ({ millis, whole }: OptionReader.Reader, options: MemoryOptions): MemorySettings => ({
  // A Map of Node.js holds 2 ** 24 entries, which take more than that.
  maxBytes: whole("maxBytes", options.maxBytes, 67_108_864, { least: 2 ** 16, most: 2 ** 33 }),
  staleMillis: millis("staleIfError", options.staleIfError, 0, { least: 0, most: Lifetime.maxMillis })
})

/** Checks the options of the cache in memory and fills in the defaults. */
export const settle = (options: MemoryOptions): Effect.Effect<MemorySettings, InvalidOptions> =>
  OptionReader.read("Cache", (reader) => read(reader, options))
