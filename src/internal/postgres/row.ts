import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { Instant } from "../../Cache.js"
import type * as ClientId from "../../ClientId.js"
import type { AcceptedDocument, JsonObject } from "../../ClientMetadata.js"
import { Issue } from "../../Issue.js"
import * as Accepted from "../rules/acceptedDocument.js"
import * as Members from "../rules/memberTypes.js"
import type { Rows } from "./preparedQuery.js"

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

const damaged: Damaged = { document: undefined }

/**
 * What is selected of a row: as text, so that no setting of the client's type parsers or name transforms reaches the
 * document. The instants are seconds since 1970, as doubles: those tell microseconds apart for centuries, and Postgres
 * computes one in a fraction of the time of an exact number.
 */
export const columns = `client_id, ruleset, document::text, judgement::text,
  date_part('epoch', fetched_at), date_part('epoch', expires_at), date_part('epoch', now())`

// A client may parse numbers, or leave them as text.
type Instants = [fetched: number | string, expires: number | string, now: number | string]
type Row = readonly [clientId: string, ruleset: string, document: string, judgement: string, ...Instants]

// What the validator found out beside the document itself, so that a read need not judge it again.
const Judgement = Schema.Struct({ authMethods: Schema.Array(Schema.String), warnings: Schema.Array(Issue) })
const decodeJudgement = Schema.decodeUnknownOption(Schema.parseJson(Judgement))

// Most documents have one of a few judgements, so their texts are decoded once.
const maxJudgements = 100
const judgements = new Map<string, typeof Judgement.Type>()

const readJudgement = (text: string): typeof Judgement.Type | undefined => {
  const known = judgements.get(text)
  if (known !== undefined) return known
  const judgement = Option.getOrUndefined(decodeJudgement(text))
  if (judgement !== undefined && judgements.size < maxJudgements) judgements.set(text, judgement)
  return judgement
}

/** The JSON object that the validator had accepted; none if the row was damaged since. */
const readJson = (clientId: string, text: string): JsonObject | undefined => {
  const json: unknown = JSON.parse(text)
  return Predicate.isRecord(json) && json.client_id === clientId && Members.haveTheirTypes(json)
    // What came out of JSON.parse as an object is one.
    ? json as JsonObject
    : undefined
}

const read = ([clientId, ruleset, text, judgementText, ...instants]: Row): Found | undefined => {
  const [fetched, expires, now] = instants.map(Number) as [number, number, number]
  // Postgres knows instants that are infinite.
  if (!Number.isFinite(fetched) || !Number.isFinite(expires)) return undefined
  const json = readJson(clientId, text)
  const judgement = readJudgement(judgementText)
  return json === undefined || judgement === undefined ? undefined : {
    document: Accepted.make({
      clientId: clientId as ClientId.ClientId,
      json,
      authMethods: judgement.authMethods,
      warnings: judgement.warnings,
      ruleset
    }),
    fetchedAt: BigInt(Math.round(fetched * 1_000_000)),
    remainingMillis: (expires - now) * 1000,
    lifetimeMillis: (expires - fetched) * 1000
  }
}

/** The others of a batch must not fail with a row that nobody foresaw. */
const readSafely = (row: Row): Found | undefined => {
  try {
    return read(row)
  } catch {
    return undefined
  }
}

/** What the rows hold, by client. */
export const readable = (rows: Rows): Map<string, Found | Damaged> =>
  // They are the columns that were asked for.
  new Map((rows as unknown as ReadonlyArray<Row>).map((row) => [row[0], readSafely(row) ?? damaged]))
