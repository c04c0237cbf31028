import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { InvalidOptions } from "../../../InvalidOptions.js"
import * as OptionReader from "../../optionReader.js"
import * as RegistryOptions from "../../registry/options.js"
import * as TableNames from "../tableNames.js"

/** Options of the registry in Postgres, beside those of every registry. */
export interface PostgresOptions extends RegistryOptions.RegistryOptions, TableNames.TableNames {
  /**
   * Maximum duration of one statement, after which the call fails with `RegistryError`. A statement of a sweep may take 8
   * seconds, or this if it is longer. Defaults to `"2 seconds"`.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/** The options of the registry in Postgres, complete and checked. */
export interface Settings extends RegistryOptions.RegistrySettings {
  readonly tables: TableNames.Tables
  readonly timeoutMillis: number
  readonly sweepTimeoutMillis: number
}

/** Checks the options of the registry in Postgres and fills in the defaults. */
export const settle = (options: PostgresOptions): Effect.Effect<Settings, InvalidOptions> =>
  OptionReader.read("PostgresRegistry", (reader) => {
    const timeoutMillis = reader.millis("timeout", options.timeout, "2 seconds")
    return {
      ...RegistryOptions.read(reader, options),
      tables: TableNames.read(reader, options),
      timeoutMillis,
      // No caller waits for a sweep, but it must end before the socket timeout of `PostgresClient.layer` closes its connection.
      sweepTimeoutMillis: Math.max(timeoutMillis, 8000)
    }
  })
