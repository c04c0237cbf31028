import * as Context from "effect/Context"
import * as Either from "effect/Either"
import * as Hash from "effect/Hash"

/**
 * Where the tables live. The migrations, the cache and the sweep must agree on it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableNames {
  /** The schema of the tables; the connection's search path decides, if absent. */
  readonly schema?: string | undefined
  /** What every table name begins with; `cimd_` unless told. */
  readonly prefix?: string | undefined
}

/** The names in full, and `channel`, on which changes are announced. */
export interface Tables {
  readonly schema: string | undefined
  readonly documents: string
  readonly leases: string
  readonly state: string
  readonly migrations: string
  readonly channel: string
}

// PostgreSQL cuts identifiers at 63 bytes; the longest suffix leaves room for a prefix of 40.
const validName = /^[a-z_][a-z0-9_]{0,39}$/

/** The names, or what is wrong with the ones that were given. */
export const resolve = (names: TableNames = {}): Either.Either<Tables, string> => {
  const { prefix = "cimd_", schema } = names
  const wrong = [schema ?? prefix, prefix].find((given) => !validName.test(given))
  if (wrong !== undefined) {
    return Either.left(
      "a table prefix or schema name has 1 to 40 characters of a-z, 0-9 and _, and begins with no digit, " +
        `but one is ${JSON.stringify(wrong)}`
    )
  }
  const qualify = (name: string) => schema === undefined ? `${prefix}${name}` : `${schema}.${prefix}${name}`
  return Either.right({
    schema,
    documents: qualify("documents"),
    leases: qualify("leases"),
    state: qualify("state"),
    migrations: qualify("migrations"),
    // A channel is an identifier of 63 bytes at most, and some names in full are longer.
    channel: `cimd_${Hash.string(qualify("documents")) >>> 0}`
  })
}

export const defaults: Tables = Either.getOrThrow(resolve())

/** What a migration reads the names from: a loader cannot pass arguments. */
export class CurrentTables extends Context.Reference<CurrentTables>()("effect-cimd/CurrentTables", {
  defaultValue: () => defaults
}) {}

/** The version of the tables that this library reads and writes: the id of the last migration. */
export const tablesVersion = 1
