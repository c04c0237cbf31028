import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { InvalidOptions } from "../../InvalidOptions.js"
import * as MemoryOptions from "../memoryOptions.js"
import * as OptionReader from "../optionReader.js"
import * as TableNames from "./tableNames.js"

/** Options of the cache in Postgres. */
export interface PostgresOptions extends TableNames.TableNames {
  /**
   * Maximum duration of one statement, after which the call fails with `CacheError`. A read that is queued behind other
   * reads may take about twice as long. A statement of a sweep may take 8 seconds, or this if it is longer. Defaults to
   * `"2 seconds"`.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * How long an expired document is kept, to be served while its origin has a fault. It is stored with each document, so
   * a sweep keeps what another node stored with a longer time. Defaults to `0`, so that none is kept.
   */
  readonly staleIfError?: Duration.DurationInput | undefined
  /**
   * Maximum number of documents per site, so that one site cannot fill the table. Ports and subdomains belong to their site.
   * Beyond it a write evicts documents of the site: confirmed clients last, then the oldest fetch first (CAC-26). Defaults
   * to `1000`.
   */
  readonly maxPerSite?: number | undefined
  /**
   * Maximum number of bytes that the live documents in the table take, from 1 MiB. Files of the database are larger, and do
   * not shrink. Beyond it a node evicts documents, and a write waits while the table is more than a twentieth above it. Give
   * all nodes the same value (CAC-25). Defaults to 1 GiB.
   */
  readonly maxTableBytes?: number | undefined
  /**
   * Whether writes send a `NOTIFY`. Turn it off on every node for a database that does not support it: memory tiers then
   * rely on `disconnectedTtl` alone. Defaults to `true`.
   */
  readonly notifications?: boolean | undefined
}

/** Options of the cache in Postgres with a memory tier. */
export interface TieredOptions extends PostgresOptions {
  /**
   * Maximum number of bytes of memory that the documents in the memory tier take, from 64 KiB to 8 GiB. Those that were not
   * read recently are evicted first (CAC-12). Defaults to 64 MiB, which is room for 20,000 to 40,000 usual documents.
   */
  readonly maxBytes?: number | undefined
  /**
   * How long the memory tier serves what it has read while it receives no notifications of other nodes. It bounds how
   * stale a served document can be (CAC-12). Defaults to `"1 second"`.
   */
  readonly disconnectedTtl?: Duration.DurationInput | undefined
}

/** The options of the cache in Postgres, complete and checked. */
export interface Settings extends MemoryOptions.MemorySettings {
  readonly tables: TableNames.Tables
  readonly timeoutMillis: number
  readonly sweepTimeoutMillis: number
  readonly maxPerSite: number
  readonly maxTableBytes: number
  readonly notifications: boolean
  readonly disconnectedTtlMillis: number
}

/** Checks the options of the cache in Postgres and fills in the defaults. */
export const settle = (options: TieredOptions): Effect.Effect<Settings, InvalidOptions> =>
  OptionReader.read("PostgresCache", (reader) => {
    const { millis, whole } = reader
    const timeoutMillis = millis("timeout", options.timeout, "2 seconds")
    return {
      tables: TableNames.read(reader, options),
      timeoutMillis,
      // No caller waits for a sweep, but it must end before the socket timeout of `PostgresClient.layer` closes its connection.
      sweepTimeoutMillis: Math.max(timeoutMillis, 8000),
      ...MemoryOptions.read(reader, options),
      maxPerSite: whole("maxPerSite", options.maxPerSite, 1000),
      maxTableBytes: whole("maxTableBytes", options.maxTableBytes, 1_073_741_824, { least: 2 ** 20 }),
      notifications: options.notifications ?? true,
      disconnectedTtlMillis: millis("disconnectedTtl", options.disconnectedTtl, "1 second", { least: 0 })
    }
  })
