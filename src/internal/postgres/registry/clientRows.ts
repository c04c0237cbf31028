/** How the record of a client stands in a row. A row that this version cannot read says nothing, so its client is asked for again. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Instant } from "../../../Cache.js"
import type { ClientRecord, Withdrawal } from "../../registry/clientRecord.js"
import * as Record from "../../registry/clientRecord.js"
import { instantOf, seconds } from "./statements.js"

/** The columns of a record without its documents, for {@link decode}. */
export const columns = [
  seconds("consented_at"),
  seconds("used_at"),
  seconds("fetched_at"),
  seconds("expires_at"),
  "withdrawals::text",
  seconds("evicted_at"),
  seconds("clock_timestamp()")
].join(", ")

export type Columns = readonly [
  consentedAt: unknown,
  usedAt: unknown,
  fetchedAt: unknown,
  expiresAt: unknown,
  withdrawals: unknown,
  evictedAt: unknown,
  now: unknown
]

/** A record, and the instant of the database at which it was read. */
export interface Read<D> {
  readonly record: ClientRecord<D>
  readonly now: Instant
  /** Whether the row has an instant in the future, which the record has not. */
  readonly corrected: boolean
}

/**
 * Reads a row. `consented` and `accepted` are its documents; `undefined` for one that is damaged. A start of a fetch, or
 * an eviction, in the future is older than a correction of the database's clock, and counts as now. Otherwise no fetch
 * would be recorded until then.
 */
export const decode = <D>(
  [consentedAt, usedAt, fetchedAt, expiresAt, withdrawals, evictedAt, clock]: Columns,
  documents: { readonly consented: D | undefined; readonly accepted: D | undefined }
): Read<D> => {
  const now = instantOf(clock) ?? 0n
  let corrected = false
  const past = (column: unknown): Instant | undefined => {
    const at = instantOf(column)
    if (at === undefined || at <= now) return at
    corrected = true
    return now
  }
  const consented = past(consentedAt)
  const used = past(usedAt)
  const fetched = past(fetchedAt)
  const expires = instantOf(expiresAt)
  const record: ClientRecord<D> = {
    consent: consented === undefined || used === undefined || documents.consented === undefined
      ? undefined
      : { document: documents.consented, at: consented },
    usedAt: used ?? 0n,
    accepted: fetched === undefined || expires === undefined || documents.accepted === undefined
      ? undefined
      : { document: documents.accepted, fetchedAt: fetched, expiresAt: expires },
    withdrawals: decodeWithdrawals(withdrawals),
    evictedAt: past(evictedAt) ?? 0n
  }
  return { record, now, corrected }
}

/** A client that has no row. */
export const absent = (clock: unknown): Read<never> => ({
  record: Record.empty,
  now: instantOf(clock) ?? 0n,
  corrected: false
})

// Instants are in microseconds, which a double holds exactly.
const Withdrawals = Schema.parseJson(Schema.Array(Schema.Struct({
  ruleset: Schema.NullOr(Schema.String),
  firstAt: Schema.Int,
  latestAt: Schema.Int
})))
const decodeText = Schema.decodeUnknownOption(Withdrawals)

const decodeWithdrawals = (column: unknown): ReadonlyArray<Withdrawal> =>
  // Most clients have none.
  column === "[]" ? [] : Option.getOrElse(decodeText(column), () => []).map(({ firstAt, latestAt, ruleset }) => ({
    ruleset: ruleset ?? undefined,
    firstAt: BigInt(firstAt),
    latestAt: BigInt(latestAt)
  }))

export const encodeWithdrawals = (withdrawals: ReadonlyArray<Withdrawal>): string =>
  JSON.stringify(withdrawals.map(({ firstAt, latestAt, ruleset }) => ({
    ruleset: ruleset ?? null,
    firstAt: Number(firstAt),
    latestAt: Number(latestAt)
  })))
