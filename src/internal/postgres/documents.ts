import type { Fragment, Identifier } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Cache, CacheError, Instant } from "../../Cache.js"
import * as ClientId from "../../ClientId.js"
import type { AcceptedDocument } from "../../ClientMetadata.js"
import * as Lifetime from "../lifetime.js"
import * as metrics from "../metrics.js"
import * as Accepted from "../rules/acceptedDocument.js"
import type { Settings } from "./options.js"
import * as DirectQuery from "./preparedQuery.js"
import type { Damaged, Found } from "./row.js"
import { columns, readable } from "./row.js"
import type { Statements } from "./statements.js"
import type { Bounded, Start } from "./timeout.js"

/** What a batch of a sweep found and deleted. What it found and did not delete another sweeper had deleted meanwhile. */
export interface Batch {
  readonly found: number
  readonly deleted: number
}

/** A fetch that says that what was fetched before it is gone; with a rule set, only what that one had accepted. */
export type Withdrawal = Parameters<Cache["Type"]["withdraw"]>[1]

/** What is so much later than now is damaged, or older than a correction of the database's clock. */
const clockErrorMillis = 60_000

/** Rows from which on Postgres' estimate of their number is trusted. */
const estimatedFrom = 100_000

/** Documents that one write pushes out of its origin at most: more are there only after the cap was lowered. */
const maxCrowdedOut = 100

/**
 * The statements on the documents, each one round trip and each bounded in time; those that sweep have a bound of their
 * own.
 */
export const make = (
  { announcement, documents, instant, later, leases, pool, sql, state, timestamp }: Statements,
  { maxDocuments, maxPerOrigin, staleMillis, tables }: Settings,
  bounded: Bounded,
  sweeping: Bounded
) => {
  const keepsStale = staleMillis > 0

  const evicting = (statement: Effect.Effect<unknown, CacheError>): Effect.Effect<void, CacheError> =>
    Effect.map(statement, () => {
      metrics.evictedByCall.unsafeUpdate(1, [])
    })

  // An eviction of everything at an instant to come is older than a correction of the database's clock, and would stop all
  // fetches until then. It counts as one of now: to leave it unheeded would bring back what it had evicted.
  const correctEviction = (operation: CacheError["operation"]): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      bounded(operation)(sql`UPDATE ${state} SET evicted_at = clock_timestamp()
        WHERE evicted_at > ${later(clockErrorMillis)}`)
    )

  const notEvicted = sql`document IS NOT NULL AND fetched_at > (SELECT evicted_at FROM ${state})`

  // The hot path: compiled once here, and prepared once on each connection where that can be.
  const fresh = (name: string, condition: string): DirectQuery.Query => ({
    name: `${tables.channel}_${name}`,
    text: sql`SELECT ${sql.literal(columns)} FROM ${documents}
      WHERE client_id = ${sql.literal(condition)} AND expires_at > now() AND ${notEvicted}`.compile()[0]
  })
  const freshOne = fresh("one", "$1")
  const freshMany = fresh("many", "ANY($1::text[])")
  const rows = (query: DirectQuery.Query, values: Array<unknown>): Start<DirectQuery.Rows> =>
    pool === undefined
      // A span for a batch has no one caller, and costs more than the rest of a read.
      ? bounded.forked(Effect.withTracerEnabled(sql.unsafe(query.text, values).values, false))
      : DirectQuery.start(pool, query, values)

  // Counted there: the rows themselves would be more work for this process than for the database.
  const deleteUnlocked = (
    run: ReturnType<Bounded>,
    table: Identifier,
    condition: Fragment,
    atMost: number
  ): Effect.Effect<number, CacheError> =>
    Effect.map(
      run(sql<{ count: number }>`WITH deleted AS (
          DELETE FROM ${table} WHERE client_id = ANY(ARRAY(
            SELECT client_id FROM ${table} WHERE ${condition} ORDER BY expires_at LIMIT ${atMost}
            FOR UPDATE SKIP LOCKED
          )) RETURNING 1
        ) SELECT count(*)::integer AS count FROM deleted`),
      (rows) => Arr.unsafeGet(rows, 0).count
    )

  /** One batch, row by row: those that someone is writing are skipped (SWP-04). */
  const sweepUnlocked = (table: Identifier, condition: Fragment, batchSize: number): Effect.Effect<Batch, CacheError> =>
    Effect.map(
      deleteUnlocked(sweeping("sweep"), table, condition, batchSize),
      (count) => ({ found: count, deleted: count })
    )

  const documentsBefore = (boundary: Instant) => sql`document IS NOT NULL AND expires_at < ${timestamp(boundary)}`

  // After the write and not in it: some databases change a table once in a statement. What someone is writing is passed
  // over, and so is what was written since it was found. The next write goes on where this one leaves some.
  const makeRoom = (clientId: ClientId.ClientId, origin: string): Effect.Effect<void, CacheError> =>
    Effect.flatMap(
      bounded("put")(sql<{ client_id: string; expires_at: string }>`
        SELECT client_id, ${instant("expires_at")} AS expires_at FROM (
          SELECT client_id, expires_at FROM ${documents}
          WHERE origin = ${origin} AND document IS NOT NULL AND client_id <> ${clientId}
          ORDER BY expires_at DESC OFFSET ${maxPerOrigin - 1} LIMIT ${maxCrowdedOut}
        ) AS crowd ORDER BY crowd.expires_at DESC`),
      ([last, ...others]) => {
        if (last === undefined) return Effect.void
        const crowdedOut = sql.in("client_id", [last, ...others].map((row) => row.client_id))
        return Effect.map(
          deleteUnlocked(
            bounded("put"),
            documents,
            sql`${crowdedOut} AND document IS NOT NULL AND expires_at <= ${timestamp(BigInt(last.expires_at))}`,
            maxCrowdedOut
          ),
          (count) => {
            metrics.evictedFromOrigin.unsafeUpdate(count, [])
          }
        )
      }
    )

  return {
    /** The version of the tables, and what this user lacks of the rights on them; it fails if one is missing. */
    version: sql<{ version: number; lacking: string | null }>`SELECT version, (
        SELECT string_agg(needed || ' ON ' || name, ', ' ORDER BY name, needed)
        FROM unnest(ARRAY[${tables.state}, ${tables.documents}, ${tables.leases}]::text[]) AS name,
          unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
        WHERE NOT has_table_privilege(name, needed) AND (name <> ${tables.state} OR needed = 'UPDATE')
      ) AS lacking FROM ${state}`,

    now: bounded("now")(Effect.map(
      sql<{ now: string }>`SELECT ${instant("clock_timestamp()")} AS now`,
      (rows) => BigInt(Arr.unsafeGet(rows, 0).now)
    )),

    patience: bounded.patience("get"),

    /** The fresh documents of some clients, in one round trip. */
    getFresh: (
      clientIds: ReadonlyArray<string>,
      done: (found: Exit.Exit<ReadonlyMap<string, Found | Damaged>, CacheError>) => void
    ): void => {
      const found = clientIds.length === 1 ? rows(freshOne, [...clientIds]) : rows(freshMany, [clientIds])
      bounded.start("get", found, (exit) => done(Exit.map(exit, readable)))
    },

    stale: (clientId: ClientId.ClientId): Effect.Effect<Option.Option<Found | Damaged>, CacheError> =>
      keepsStale ?
        Effect.map(
          bounded("stale")(
            sql`SELECT ${sql.literal(columns)} FROM ${documents}
          WHERE client_id = ${clientId} AND ${notEvicted} AND NOT withdrawn AND expires_at <= now()
            AND expires_at > now() - ${staleMillis}::float8 * interval '1 millisecond'`.values
          ),
          (rows) => Option.fromNullable(readable(rows).get(clientId))
        ) :
        Effect.succeedNone,

    withdraw: (clientId: ClientId.ClientId, { fetchedAt, ruleset }: Withdrawal): Effect.Effect<void, CacheError> =>
      keepsStale
        ? Effect.asVoid(
          bounded("withdraw")(sql`UPDATE ${documents} SET withdrawn = true
            WHERE client_id = ${clientId} AND fetched_at <= ${timestamp(fetchedAt)}
              AND ${ruleset === undefined ? sql`true` : sql`ruleset = ${ruleset}`}`)
        )
        : Effect.void,

    put: (
      document: AcceptedDocument,
      { fetchedAt, mustRevalidate = false, timeToLive }: Parameters<Cache["Type"]["put"]>[1]
    ): Effect.Effect<boolean, CacheError> => {
      Accepted.assertAccepted(document)
      const { clientId } = document
      const origin = ClientId.origin(clientId)
      const judgement = JSON.stringify({ authMethods: document.authMethods, warnings: document.warnings })
      // Two writers that meet on one row wait for each other there, so the comparison sees what is stored last.
      const stored = Effect.map(
        bounded("put")(sql`WITH stored AS (
            INSERT INTO ${documents} AS kept
              (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, withdrawn)
            SELECT ${clientId}, ${origin}, ${document.ruleset},
              ${JSON.stringify(document.json)}::jsonb, ${judgement}::jsonb,
              begun.began_at, ${later(Lifetime.toMillis(timeToLive))}, ${mustRevalidate}
            FROM (SELECT ${timestamp(fetchedAt)} AS began_at) AS begun, ${state} AS state
            WHERE begun.began_at > state.evicted_at
            ON CONFLICT (client_id) DO UPDATE SET
              origin = excluded.origin, ruleset = excluded.ruleset, document = excluded.document,
              judgement = excluded.judgement, fetched_at = excluded.fetched_at, expires_at = excluded.expires_at,
              withdrawn = excluded.withdrawn
            WHERE kept.fetched_at <= excluded.fetched_at OR kept.fetched_at > ${later(clockErrorMillis)}
            RETURNING 1
          ) SELECT ${announcement("changed", clientId)} FROM stored`),
        (rows) => rows.length > 0
      )
      return Effect.tap(stored, (isStored) =>
        isStored
          ? Effect.catchAll(makeRoom(clientId, origin), (error) =>
            Effect.logDebug("No room was made for what was stored", Cause.fail(error)))
          : correctEviction("put"))
    },

    supersede: (clientId: ClientId.ClientId, fetchedAt: Instant): Effect.Effect<boolean, CacheError> =>
      Effect.map(
        bounded("supersede")(sql<{ current: boolean }>`WITH superseded AS (
          UPDATE ${documents} SET
            ruleset = '', document = NULL, judgement = NULL,
            fetched_at = ${timestamp(fetchedAt)}, expires_at = ${later(Lifetime.evictionMillis)}
          WHERE client_id = ${clientId} AND document IS NOT NULL AND fetched_at <= ${timestamp(fetchedAt)}
          RETURNING 1
        ) SELECT
          evicted_at < ${timestamp(fetchedAt)} AND NOT EXISTS (
            SELECT 1 FROM ${documents} WHERE client_id = ${clientId} AND fetched_at > ${timestamp(fetchedAt)}
          ) AS current,
          (SELECT ${announcement("changed", clientId)} FROM superseded) AS announced
        FROM ${state}`),
        (rows) => Arr.unsafeGet(rows, 0).current
      ).pipe(Effect.tap((current) => current ? Effect.void : correctEviction("supersede"))),

    evict: (clientId: ClientId.ClientId): Effect.Effect<void, CacheError> =>
      evicting(
        bounded("evict")(sql`WITH evicted AS (
          INSERT INTO ${documents} (client_id, origin, ruleset, fetched_at, expires_at)
          VALUES (${clientId}, ${ClientId.origin(clientId)}, '', clock_timestamp(), ${later(Lifetime.evictionMillis)})
          ON CONFLICT (client_id) DO UPDATE SET
            ruleset = excluded.ruleset, document = NULL, judgement = NULL,
            fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
          RETURNING 1
        ) SELECT ${announcement("changed", clientId)} FROM evicted`)
      ),

    evictAll: evicting(
      bounded("evictAll")(sql`WITH evicted AS (
        UPDATE ${state} SET evicted_at = clock_timestamp() RETURNING 1
      ) SELECT ${announcement("all")} FROM evicted`)
    ),

    /** The moment a sweep takes as its boundary, once for all its batches (SWP-01). */
    boundary: bounded("sweep")(Effect.map(
      sql<{ boundary: string }>`SELECT ${instant("now()")} AS boundary`,
      (rows) => BigInt(Arr.unsafeGet(rows, 0).boundary)
    )),

    /** Documents that expired before it are kept for nothing. */
    staleBefore: (boundary: Instant): Instant => boundary - BigInt(Math.ceil(staleMillis * 1000)),

    /**
     * Deletes one batch of the documents that expire before the boundary, by their place in the table, which costs little
     * more than one plain DELETE. It fails rather than wait for a row that someone is writing, and where rows have no such place.
     * Nothing is found while another sweeper is at it (SWP-05). Who comes to it right after that one may still find what
     * it has deleted.
     */
    sweepDocuments: (boundary: Instant, batchSize: number): Effect.Effect<Batch, CacheError> =>
      Effect.map(
        sweeping("sweep")(sql<Batch>`WITH found AS MATERIALIZED (
            SELECT ctid AS place FROM ${documents}
            WHERE (SELECT pg_try_advisory_xact_lock(hashtext(${`${tables.channel} sweep`})))
              AND (SELECT set_config('lock_timeout', '10ms', true)) IS NOT NULL
              AND ${documentsBefore(boundary)}
            ORDER BY expires_at LIMIT ${batchSize}
          ), deleted AS (
            DELETE FROM ${documents} WHERE ctid = ANY(ARRAY(SELECT place FROM found))
              AND ${documentsBefore(boundary)} RETURNING 1
          ) SELECT
            (SELECT count(*)::integer FROM found) AS found,
            (SELECT count(*)::integer FROM deleted) AS deleted`),
        (rows) => Arr.unsafeGet(rows, 0)
      ),

    /** The same on every database, and row by row: those that someone is writing are skipped (SWP-04). */
    sweepDocumentsSkipping: (boundary: Instant, batchSize: number): Effect.Effect<Batch, CacheError> =>
      sweepUnlocked(documents, documentsBefore(boundary), batchSize),

    /**
     * The expiry of the last document that the table may hold, if it holds more: what expires before it is too much. To
     * go through a large table takes long, so that is done only where Postgres' own estimate comes near the limit.
     */
    lastToKeep: Effect.map(
      // Those that are passed over are not converted, which would take longer, and fail for an instant that is infinite.
      sweeping("sweep")(sql<{ expires_at: string }>`SELECT ${instant("expires_at")} AS expires_at FROM (
          SELECT expires_at FROM ${documents}
          WHERE document IS NOT NULL AND (
            SELECT reltuples NOT BETWEEN ${estimatedFrom}::float8 AND ${maxDocuments}::float8 * 0.9
            FROM pg_class WHERE oid = ${tables.documents}::regclass
          )
          ORDER BY expires_at DESC OFFSET ${maxDocuments - 1} LIMIT 2
        ) AS last ORDER BY last.expires_at DESC`),
      ([last, tooMuch]): Instant | undefined =>
        last === undefined || tooMuch === undefined ? undefined : BigInt(last.expires_at)
    ),

    sweepMarks: (boundary: Instant, batchSize: number): Effect.Effect<Batch, CacheError> =>
      sweepUnlocked(documents, sql`document IS NULL AND expires_at < ${timestamp(boundary)}`, batchSize),

    sweepLeases: (boundary: Instant, batchSize: number): Effect.Effect<Batch, CacheError> =>
      sweepUnlocked(leases, sql`expires_at < ${timestamp(boundary)}`, batchSize)
  }
}

export type PostgresStore = ReturnType<typeof make>
