/** The rows of the nodes, by which an operator sees what runs on the tables (CAC-28). */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type { CacheError, Instant } from "../../Cache.js"
import { version } from "../version.js"
import type { Settings } from "./options.js"
import { instantOf, seconds } from "./registry/statements.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import type { Tables } from "./tableNames.js"

/** A node that starts and crashes again and again leaves a row each time. */
const maxNodes = 1000
const maxRulesets = 8
const maxRulesetLength = 64

/** What a node knows of itself. */
export interface Self {
  /** The rule sets of the readers that it has served. */
  readonly rulesets: ReadonlyArray<string>
  /** Whether it receives the notifications of other nodes. */
  readonly listening: boolean
}

/** The node of this process. A caller may read under more rule sets than are remembered. */
export const makeRulesets = () => {
  const rulesets = new Set<string>()
  return {
    add: (ruleset: string): void => {
      if (rulesets.size < maxRulesets) rulesets.add(ruleset.slice(0, maxRulesetLength))
    },
    all: (): ReadonlyArray<string> => [...rulesets].sort()
  }
}

/** The limits of a node that the cache knows. Those of its fetches belong to another service. */
export const limitsOf = (
  { disconnectedTtlMillis, maxBytes, maxPerSite, maxTableBytes, notifications, staleMillis, timeoutMillis }: Settings,
  { isTiered, pooler }: { readonly isTiered: boolean; readonly pooler: string | undefined }
) => ({
  maxTableBytes,
  maxPerSite,
  timeoutMillis,
  staleIfErrorMillis: staleMillis,
  notifications,
  ...(isTiered ? { maxBytes, disconnectedTtlMillis } : {}),
  ...(pooler === undefined ? {} : { pooler })
})

export type Limits = ReturnType<typeof limitsOf>

/** Writes of the row of this node. */
export const make = (
  { nodeId, nodes, sql }: Statements,
  limits: Limits,
  timeout: Run<CacheError>
): {
  /** Writes the row, and deletes those of nodes that were not seen for a day. */
  readonly write: (self: Self) => Effect.Effect<void, CacheError>
  readonly remove: Effect.Effect<void, CacheError>
} => ({
  write: ({ listening, rulesets }) =>
    Effect.asVoid(
      timeout("now")(sql`WITH gone AS (
        DELETE FROM ${nodes} WHERE node_id = ANY(ARRAY(
          SELECT node_id FROM ${nodes} WHERE node_id <> ${nodeId} AND (
            seen_at NOT BETWEEN clock_timestamp() - interval '1 day' AND clock_timestamp() + interval '1 hour'
            OR node_id IN (SELECT node_id FROM ${nodes} ORDER BY seen_at DESC OFFSET ${maxNodes - 1})
          ) FOR UPDATE SKIP LOCKED
        ))
      ) INSERT INTO ${nodes} AS known (node_id, version, rulesets, limits, listening, started_at, seen_at)
      VALUES (${nodeId}, ${version}, ${rulesets}::text[], ${
        JSON.stringify(limits)
      }::jsonb, ${listening}, clock_timestamp(), clock_timestamp())
      ON CONFLICT (node_id) DO UPDATE SET rulesets = excluded.rulesets, limits = excluded.limits,
        listening = excluded.listening, seen_at = excluded.seen_at`)
    ),
  remove: Effect.asVoid(timeout("now")(sql`DELETE FROM ${nodes} WHERE node_id = ${nodeId}`))
})

/** The row of a node. */
export interface NodeRow {
  readonly nodeId: string
  readonly version: string
  readonly rulesets: ReadonlyArray<string>
  readonly limits: { readonly [limit: string]: unknown }
  readonly listening: boolean
  readonly startedAt: Instant | undefined
  readonly seenAt: Instant | undefined
}

interface Columns {
  readonly id: string
  readonly version: string
  readonly rulesets: string
  readonly limits: string
  readonly listening: boolean
  readonly started: unknown
  readonly seen: unknown
}

/** Reads the rows of all nodes, the one that was seen last first. */
export const readAll = (
  { nodes }: Tables
): Effect.Effect<ReadonlyArray<NodeRow>, SqlError, PgClient.PgClient> =>
  Effect.gen(function*() {
    const sql = (yield* PgClient.PgClient).withoutTransforms()
    const rows = yield* sql<Columns>`SELECT node_id AS id, version, to_json(rulesets)::text AS rulesets,
        limits::text AS limits, listening, ${sql.literal(seconds("started_at"))} AS started,
        ${sql.literal(seconds("seen_at"))} AS seen
      FROM ${sql(nodes)} ORDER BY seen_at DESC, node_id LIMIT ${maxNodes}`
    return rows.map((row) => ({
      nodeId: row.id,
      version: row.version,
      rulesets: JSON.parse(row.rulesets),
      limits: JSON.parse(row.limits),
      listening: row.listening,
      startedAt: instantOf(row.started),
      seenAt: instantOf(row.seen)
    }))
  })
