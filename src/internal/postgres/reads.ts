/**
 * Reads of documents. Everything that runs as callbacks for the sake of speed is behind this file: it returns Effects.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { CacheError, Entry, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument, JsonObject } from "../../ClientMetadata.js"
import { Issue } from "../../Issue.js"
import * as metrics from "../metrics.js"
import * as Accepted from "../rules/acceptedDocument.js"
import * as Members from "../rules/memberTypes.js"
import type { Settings } from "./options.js"
import type { OwnPool } from "./pool.js"
import * as PreparedQuery from "./preparedQuery.js"
import * as ReadBatcher from "./readBatcher.js"
import type { Statements } from "./sqlFragments.js"
import type { Start, Timeout } from "./statementTimeout.js"

/** A row that could be read, whatever rule set it was accepted under. */
export interface Found {
  readonly document: AcceptedDocument
  readonly fetchedAt: Instant
  readonly remainingMillis: number
  readonly lifetimeMillis: number
}

/** A row that could not be read (CAC-11). */
export interface Damaged {
  readonly document: undefined
}

/** Reads the row of a client. */
export type Find = (clientId: ClientId) => Effect.Effect<Option.Option<Found | Damaged>, CacheError>

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
  timeout: Timeout
): { readonly find: Find; readonly stale: Find } => {
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

    /** Finds an expired document that is still kept. */
    stale: (clientId) =>
      staleMillis > 0
        ? Effect.map(
          timeout("stale")(
            sql`SELECT ${sql.literal(columns)} FROM ${documents}
              WHERE client_id = ${clientId} AND ${notEvicted} AND NOT withdrawn AND expires_at <= now()
                AND expires_at > now() - ${staleMillis}::float8 * interval '1 millisecond'`.values
          ),
          (rows) => Option.fromNullable(decode(rows).get(clientId))
        )
        : Effect.succeedNone
  }
}

/** The entry of a row under a rule set. A row that is damaged, or was accepted under another, has none (CAC-11). */
export const servable = (ruleset: string) => (found: Option.Option<Found | Damaged>): Option.Option<Entry> =>
  Option.flatMap(found, (found) => {
    if (found.document === undefined || found.document.ruleset !== ruleset) return Option.none()
    const { document, fetchedAt, lifetimeMillis, remainingMillis } = found
    return Option.some({ document, tier: "postgres" as const, remainingMillis, lifetimeMillis, fetchedAt })
  })

/** {@link servable} for a read that a caller asked for: a row that cannot be served is counted. */
export const entryUnder = (ruleset: string) => (found: Option.Option<Found | Damaged>): Option.Option<Entry> => {
  const entry = servable(ruleset)(found)
  if (Option.isSome(found) && Option.isNone(entry)) {
    const rows = found.value.document === undefined ? metrics.damagedRows : metrics.otherRulesetRows
    rows.unsafeUpdate(1, [])
  }
  return entry
}

// A client may parse numbers, or leave them as text.
type Instants = [fetched: number | string, expires: number | string, now: number | string]
type Row = readonly [clientId: string, ruleset: string, document: string, judgement: string, ...Instants]

/** The decoded rows, by client. */
const decode = (rows: PreparedQuery.Rows): Map<string, Found | Damaged> =>
  // The query selects `columns`, which are those of a `Row`.
  new Map((rows as unknown as ReadonlyArray<Row>).map((row) => [row[0], decodeSafely(row) ?? damaged]))

const damaged: Damaged = { document: undefined }

/** A row that throws must not fail the others of its batch. */
const decodeSafely = (row: Row): Found | undefined => {
  try {
    return decodeRow(row)
  } catch {
    return undefined
  }
}

const decodeRow = ([clientId, ruleset, text, judgementText, ...instants]: Row): Found | undefined => {
  const [fetched, expires, now] = instants.map(Number) as [number, number, number]
  // An instant of Postgres can be infinite.
  if (!Number.isFinite(fetched) || !Number.isFinite(expires)) return undefined
  const json = decodeJson(clientId, text)
  const judgement = decodeJudgement(judgementText)
  return json === undefined || judgement === undefined ? undefined : {
    document: Accepted.make({
      clientId: clientId as ClientId,
      json,
      authMethods: judgement.authMethods,
      redirectUris: redirectUris(json, judgement.neverMatched),
      warnings: judgement.warnings,
      ruleset
    }),
    fetchedAt: BigInt(Math.round(fetched * 1_000_000)),
    remainingMillis: (expires - now) * 1000,
    lifetimeMillis: (expires - fetched) * 1000
  }
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
