/** The parts of which the registry builds its statements. */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type { Fragment } from "@effect/sql/Statement"
import type { Instant } from "../../../Cache.js"
import type { Tables } from "../tableNames.js"

export const make = (client: PgClient.PgClient, tables: Tables) => {
  const sql = client.withoutTransforms()
  return {
    sql,
    clients: sql(tables.clients),
    decisions: sql(tables.decisions),
    requests: sql(tables.requests),
    audit: sql(tables.audit),
    state: sql(tables.state),
    /** An instant as a parameter. It is exact, because a microsecond of this century fits a double's 53 bits. */
    timestamp: (at: Instant | undefined): Fragment =>
      at === undefined ? sql`NULL::timestamptz` : sql`to_timestamp(${String(at)}::float8 / 1000000)`,
    /** A period in microseconds. */
    interval: (micros: bigint): Fragment => sql`${String(micros)}::float8 * interval '1 microsecond'`
  }
}

export type Statements = ReturnType<typeof make>

/**
 * A column of instants, for {@link instantOf}: seconds since 1970, as a double. Doubles tell microseconds apart for
 * centuries, and have a value for an infinite instant, which no integer has.
 */
export const seconds = (column: string): string => `date_part('epoch', ${column})`

/** Reads a column of {@link seconds}. Returns `undefined` for an instant that is absent or infinite. */
export const instantOf = (column: unknown): Instant | undefined => {
  // A client may parse numbers, or leave them as text.
  const value = column === null ? Number.NaN : Number(column)
  return Number.isFinite(value) ? BigInt(Math.round(value * 1_000_000)) : undefined
}

/** Reads a column of text. */
export const textOf = (column: unknown): string | undefined => typeof column === "string" ? column : undefined
