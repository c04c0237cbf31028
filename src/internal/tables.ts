import * as Context from "effect/Context"
import * as Hash from "effect/Hash"
import * as Schema from "effect/Schema"

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
const Name = Schema.String.pipe(Schema.pattern(/^[a-z_][a-z0-9_]{0,39}$/, {
  message: () => "a table prefix or schema name has 1 to 40 characters of a-z, 0-9 and _, and begins with no digit"
}))

const decodeName = Schema.decodeSync(Name)

export const resolve = (names: TableNames = {}): Tables => {
  const schema = names.schema === undefined ? undefined : decodeName(names.schema)
  const prefix = decodeName(names.prefix ?? "cimd_")
  const qualify = (name: string) => schema === undefined ? `${prefix}${name}` : `${schema}.${prefix}${name}`
  return {
    schema,
    documents: qualify("documents"),
    leases: qualify("leases"),
    state: qualify("state"),
    migrations: qualify("migrations"),
    // A channel is an identifier of 63 bytes at most, and some names in full are longer.
    channel: `cimd_${Hash.string(qualify("documents")) >>> 0}`
  }
}

/** What a migration reads the names from: a loader cannot pass arguments. */
export class CurrentTables extends Context.Reference<CurrentTables>()("effect-cimd/CurrentTables", {
  defaultValue: () => resolve()
}) {}

/** The version of the tables that this library reads and writes: the id of the last migration. */
export const tablesVersion = 1
