import type * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import type { InvalidOptions } from "../../InvalidOptions.js"
import * as OptionReader from "../optionReader.js"

/**
 * The names of the tables. The migrations, the cache and the registry need the same ones.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableNames {
  /** The schema of the tables. Defaults to the first schema of the connection's search path. */
  readonly schema?: string | undefined
  /** The beginning of every table name. Defaults to `"cimd_"`. */
  readonly prefix?: string | undefined
}

/** The full names of the tables, and of the channel that carries the notifications. */
export interface Tables {
  readonly schema: string | undefined
  readonly prefix: string
  readonly documents: string
  readonly leases: string
  readonly usage: string
  readonly nodes: string
  readonly clients: string
  readonly decisions: string
  readonly requests: string
  readonly audit: string
  readonly state: string
  readonly migrations: string
  readonly channel: string
}

// PostgreSQL truncates identifiers to 63 bytes, and the longest suffix leaves room for a prefix of 40.
const validName = /^[a-z_][a-z0-9_]{0,39}$/

const defaultPrefix = "cimd_"

/** Returns a name as SQL. It is quoted, because some valid names are keywords. */
export const quoted = (name: string): string => name.split(".").map((part) => `"${part}"`).join(".")

/** A command on the tables. It names them, unless they have the names by default. */
export const command = (name: "migrate" | "sweep", { prefix, schema }: Tables): string =>
  [
    `npx effect-cimd ${name}`,
    ...(schema === undefined ? [] : [`--schema ${schema}`]),
    ...(prefix === defaultPrefix ? [] : [`--prefix ${prefix}`])
  ].join(" ")

/** The command that creates or updates the tables. */
export const migrateCommand = (tables: Tables): string => command("migrate", tables)

const tablesOf = (schema: string | undefined, prefix: string): Tables => {
  const qualify = (name: string) => schema === undefined ? `${prefix}${name}` : `${schema}.${prefix}${name}`
  return {
    schema,
    prefix,
    documents: qualify("documents"),
    leases: qualify("leases"),
    usage: qualify("usage"),
    nodes: qualify("nodes"),
    clients: qualify("clients"),
    decisions: qualify("decisions"),
    requests: qualify("requests"),
    audit: qualify("audit"),
    state: qualify("state"),
    migrations: qualify("migrations"),
    // A channel is an identifier of at most 63 bytes, and some qualified names are longer.
    channel: `cimd_${Hash.string(qualify("documents")) >>> 0}`
  }
}

/** The names by default. */
export const defaults: Tables = tablesOf(undefined, defaultPrefix)

/** Reads the names from options. */
export const read = ({ report }: OptionReader.Reader, { prefix = defaultPrefix, schema }: TableNames): Tables => {
  for (const [option, name] of [["schema", schema], ["prefix", prefix]] as const) {
    if (name !== undefined && !validName.test(name)) {
      report(
        `\`${option}\` must have 1 to 40 characters of a-z, 0-9 and _, and must not begin with a digit, but is ${
          JSON.stringify(name)
        }`
      )
    }
  }
  return tablesOf(schema, prefix)
}

/** Checks the names, for callers that have no other options. */
export const settle = (module: string, names: TableNames = {}): Effect.Effect<Tables, InvalidOptions> =>
  OptionReader.read(module, (reader) => read(reader, names))

/** The version of the tables that this package reads and writes: the id of the last migration. */
export const tablesVersion = 3
