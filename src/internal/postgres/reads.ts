/**
 * Reads of documents. Everything that runs as callbacks for the sake of speed is behind this file: it returns Effects.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { CacheError, Entry, Instant, Reader } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument, JsonObject } from "../../ClientMetadata.js"
import { Issue } from "../../Issue.js"
import { BoundedStore } from "../boundedStore.js"
import { ofString } from "../heapSize.js"
import * as metrics from "../metrics.js"
import * as Accepted from "../rules/acceptedDocument.js"
import * as Members from "../rules/memberTypes.js"
import { StoredDocument } from "../storedDocument.js"
import type { Settings } from "./options.js"
import type { OwnPool } from "./pool.js"
import * as PreparedQuery from "./preparedQuery.js"
import * as ReadBatcher from "./readBatcher.js"
import type { Statements } from "./sqlFragments.js"
import type { Start, Timeout } from "./statementTimeout.js"

/** A row that could be read, whatever rule set it was accepted under. */
export interface Found {
  readonly stored: StoredDocument
  readonly row: Row
  readonly fetchedAt: Instant
  readonly remainingMillis: number
  readonly lifetimeMillis: number
}

/** A row that could not be read (CAC-11). */
export interface Damaged {
  readonly stored: undefined
}

/** Reads the row of a client. */
export type Find = (clientId: ClientId) => Effect.Effect<Option.Option<Found | Damaged>, CacheError>

/** Reads the expired row of a client that is still kept, unless it was withdrawn for this rule set. */
export type FindStale = (
  clientId: ClientId,
  ruleset: string
) => Effect.Effect<Option.Option<Found | Damaged>, CacheError>

/**
 * The selected columns: as text, so that no setting of the client's type parsers or name transforms reaches the
 * document. The instants are seconds since 1970, as doubles. Doubles tell microseconds apart for centuries, and Postgres
 * computes one in a fraction of the time of an exact number.
 */
const columns = `client_id, ruleset, document::text, judgement::text,
  date_part('epoch', fetched_at), date_part('epoch', expires_at), date_part('epoch', now())`

/** Reads one row or many for the same client, and the rows that have expired. */
export const make = (
  { documents, sql, state }: Statements,
  pool: OwnPool["Type"] | undefined,
  { staleMillis, tables }: Settings,
  timeout: Timeout<CacheError>
): { readonly find: Find; readonly stale: FindStale } => {
  const notEvicted = sql`document IS NOT NULL AND fetched_at > (SELECT evicted_at FROM ${state})`

  // The hot path: compiled once here, and prepared once on each connection where that is possible.
  const fresh = (name: string, condition: string): PreparedQuery.Query => ({
    name: `${tables.channel}_${name}`,
    text: sql`SELECT ${sql.literal(columns)} FROM ${documents}
      WHERE client_id = ${sql.literal(condition)} AND expires_at > now() AND ${notEvicted}`.compile()[0]
  })
  const freshOne = fresh("one", "$1")
  const freshMany = fresh("many", "ANY($1::text[])")

  const rows = (query: PreparedQuery.Query, values: Array<unknown>): Start<PreparedQuery.Rows> =>
    pool === undefined
      // A span for a batch has more than one caller, and costs more than the rest of a read.
      ? timeout.forked(Effect.withTracerEnabled(sql.unsafe(query.text, values).values, false))
      : PreparedQuery.start(pool, query, values)

  return {
    /** Finds a fresh document. Concurrent reads share a query, and two queries run, so that a slow one blocks only half. */
    find: ReadBatcher.make<Found | Damaged, CacheError>(
      (clientIds, done) => {
        const found = clientIds.length === 1 ? rows(freshOne, [...clientIds]) : rows(freshMany, [clientIds])
        timeout.start("get", found, (exit) => done(Exit.map(exit, decode)))
      },
      {
        concurrency: 2,
        minKeys: 8,
        maxKeys: 500,
        timeoutMillis: timeout.timeoutMillis,
        onTimeout: () => timeout.onTimeout("get")
      }
    ),

    // The node that stored it decided how long it is kept, and this one decides how long it serves it.
    stale: (clientId, ruleset) =>
      staleMillis > 0
        ? Effect.map(
          timeout("stale")(
            sql`SELECT ${sql.literal(columns)} FROM ${documents}
              WHERE client_id = ${clientId} AND ${notEvicted} AND NOT withdrawn AND ${ruleset} <> ALL(withdrawn_for)
                AND expires_at <= now() AND kept_until > now()
                AND expires_at > now() - ${staleMillis}::float8 * interval '1 millisecond'`.values
          ),
          (rows) => Option.fromNullable(decode(rows).get(clientId))
        )
        : Effect.succeedNone
  }
}

const entryOf = ({ fetchedAt, lifetimeMillis, remainingMillis }: Found, document: AcceptedDocument): Entry => ({
  document,
  tier: "postgres",
  remainingMillis,
  lifetimeMillis,
  fetchedAt
})

type EntryFor = (
  reader: Reader
) => (found: Option.Option<Found | Damaged>) => Effect.Effect<Option.Option<Entry>>

const makeEntryFor = (count: (rows: Metric.Metric.Counter<number>) => void): EntryFor => (reader) => (found) => {
  if (Option.isNone(found)) return Effect.succeedNone
  const { value } = found
  if (value.stored === undefined) {
    count(metrics.damagedRows)
    return Effect.succeedNone
  }
  const known = value.stored.under(reader.ruleset)
  if (known !== undefined) return Effect.succeed(Option.some(entryOf(value, known)))
  // What the rule sets make of it counts there alone.
  repeated.forget(value.row)
  // Once more for the document that the rule set will make of it.
  revalidated.keep(value.row, value.stored, 2)
  return Effect.map(value.stored.readBy(reader), (document) => {
    if (document !== undefined) return Option.some(entryOf(value, document))
    count(metrics.refusedRows)
    return Option.none()
  })
}

/**
 * The entry of a row for a reader. A row that was accepted under another rule set is validated again, and one that is
 * damaged or refused has none (CAC-11).
 */
export const servable: EntryFor = makeEntryFor(() => {})

/** {@link servable} for a read that a caller asked for: a row that cannot be served is counted. */
export const entryFor: EntryFor = makeEntryFor((rows) => rows.unsafeUpdate(1, []))

/** Rows that were decoded, in at most 8 MiB, so that one which has not changed is not decoded again. */
const makeDecoded = () => {
  const rows = new BoundedStore<{ readonly row: Row; readonly stored: StoredDocument }>(2 ** 23)
  return {
    find: (row: Row): StoredDocument | undefined => {
      const known = rows.get(row[0])
      return known !== undefined && isSameDocument(known.row, row) ? known.stored : undefined
    },
    /** `documents` is how many documents it holds, with those that rule sets will make of it. */
    keep: (row: Row, stored: StoredDocument, documents: number): void => {
      rows.set(row[0], { row, stored }, documents * stored.heapSize + ofString(row[2]) + ofString(row[3]))
    },
    forget: (row: Row): void => rows.delete(row[0])
  }
}

// The columns up to the start of the fetch are the document. The later ones change with each read.
const isSameDocument = (one: Row, other: Row): boolean =>
  one[4] === other[4] && one[1] === other[1] && one[0] === other[0] && one[3] === other[3] && one[2] === other[2]

/** Those that were read under another rule set. So a cache without a memory tier validates each of them once as well. */
const revalidated = makeDecoded()

/** Those that were read more than once. */
const repeated = makeDecoded()

// To keep a row costs as much as to decode it, so one that is read once is not kept.
const maxSeen = 1000
const seen = new Set<string>()

const keepIfRepeated = (row: Row, stored: StoredDocument): void => {
  if (seen.delete(row[0])) return repeated.keep(row, stored, 1)
  if (seen.size >= maxSeen) seen.clear()
  seen.add(row[0])
}

// A client may parse numbers, or leave them as text.
type Instants = [fetched: number | string, expires: number | string, now: number | string]
type Row = readonly [clientId: string, ruleset: string, document: string, judgement: string, ...Instants]

/** The decoded rows, by client. */
const decode = (rows: PreparedQuery.Rows): Map<string, Found | Damaged> => {
  const found = new Map<string, Found | Damaged>()
  // The query selects `columns`, which are those of a `Row`.
  for (const row of rows as unknown as ReadonlyArray<Row>) found.set(row[0], decodeSafely(row) ?? damaged)
  return found
}

const damaged: Damaged = { stored: undefined }

/** A row that throws must not fail the others of its batch. */
const decodeSafely = (row: Row): Found | undefined => {
  try {
    return decodeRow(row)
  } catch {
    return undefined
  }
}

const decodeRow = (row: Row): Found | undefined => {
  const fetched = Number(row[4])
  const expires = Number(row[5])
  // An instant of Postgres can be infinite.
  if (!Number.isFinite(fetched) || !Number.isFinite(expires)) return undefined
  const stored = revalidated.find(row) ?? repeated.find(row) ?? decodeNew(row)
  return stored === undefined ? undefined : {
    stored,
    row,
    fetchedAt: BigInt(Math.round(fetched * 1_000_000)),
    remainingMillis: (expires - currentTime(row[6])) * 1000,
    lifetimeMillis: (expires - fetched) * 1000
  }
}

const makeCurrentTime = () => {
  let text: number | string = ""
  let seconds = 0
  // All rows of a statement have the same `now()`.
  return (now: number | string): number => {
    if (now !== text) {
      text = now
      seconds = Number(now)
    }
    return seconds
  }
}
const currentTime = makeCurrentTime()

const decodeNew = (row: Row): StoredDocument | undefined => {
  const stored = decodeDocument(row)
  if (stored !== undefined) keepIfRepeated(row, stored)
  return stored
}

/** A document whose judgement is damaged is like one of another rule set: whoever reads it validates it. */
const decodeDocument = ([id, ruleset, text, judgementText]: Row): StoredDocument | undefined => {
  const clientId = id as ClientId
  const json = decodeJson(clientId, text)
  const judgement = decodeJudgement(judgementText)
  return json === undefined ? undefined : new StoredDocument(
    clientId,
    json,
    judgement === undefined ? undefined : Accepted.make({
      clientId,
      json,
      authMethods: judgement.authMethods,
      redirectUris: redirectUris(json, judgement.neverMatched),
      warnings: judgement.warnings,
      ruleset
    })
  )
}

/** The JSON object that the validator accepted; `undefined` if the row has been damaged since. */
const decodeJson = (clientId: string, text: string): JsonObject | undefined => {
  const json: unknown = JSON.parse(text)
  return Predicate.isRecord(json) && json.client_id === clientId && Members.haveTheirTypes(json)
    // A record that `JSON.parse` returned is a `JsonObject`.
    ? json as JsonObject
    : undefined
}

/** The registered redirect URIs that may be matched (RED-05). */
const redirectUris = (json: JsonObject, neverMatched: ReadonlyArray<string>): ReadonlyArray<string> => {
  const registered = Accepted.metadata(json).redirect_uris ?? []
  return neverMatched.length === 0 ? registered : registered.filter((uri) => !neverMatched.includes(uri))
}

// What the validator derived from the document, so that a read need not validate it again. The redirect URIs are those
// that are never matched: most documents have none, so they share a judgement.
const Judgement = Schema.Struct({
  authMethods: Schema.Array(Schema.String),
  neverMatched: Schema.Array(Schema.String),
  warnings: Schema.Array(Issue)
})
const decodeJudgementText = Schema.decodeUnknownOption(Schema.parseJson(Judgement))

// Most documents share a few judgements, so each text is decoded once.
const maxJudgements = 100
const judgements = new Map<string, typeof Judgement.Type>()

const decodeJudgement = (text: string): typeof Judgement.Type | undefined => {
  const known = judgements.get(text)
  if (known !== undefined) return known
  const judgement = Option.getOrUndefined(decodeJudgementText(text))
  if (judgement !== undefined && judgements.size < maxJudgements) judgements.set(text, judgement)
  return judgement
}
