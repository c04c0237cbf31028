/**
 * What the registry keeps of one client, and how each call changes it. Each transition depends on the instants that it is
 * given and not on the order of arrival, except where two calls of the host contradict each other.
 */
import type * as StoredDocument from "./documentRecord.js"

/** In microseconds since the Unix epoch. */
type Instant = bigint

export interface Consent {
  readonly document: StoredDocument.StoredDocument
  readonly at: Instant
}

/** A document that was fetched and accepted. */
export interface Fetched {
  readonly document: StoredDocument.StoredDocument
  /** When the fetch started. */
  readonly fetchedAt: Instant
  readonly expiresAt: Instant
}

/** The fetches since the last good one that found the document gone, or invalid under a rule set (REG-07). */
export interface Withdrawal {
  /** `undefined` if the document is gone, which concerns every rule set. */
  readonly ruleset: string | undefined
  readonly firstAt: Instant
  readonly latestAt: Instant
}

export interface ClientRecord {
  readonly consent: Consent | undefined
  readonly usedAt: Instant
  readonly accepted: Fetched | undefined
  readonly withdrawals: ReadonlyArray<Withdrawal>
  /** When the client was last evicted. Fetches that started before are not recorded (REG-08). */
  readonly evictedAt: Instant
}

export const empty: ClientRecord = {
  consent: undefined,
  usedAt: 0n,
  accepted: undefined,
  withdrawals: [],
  evictedAt: 0n
}

/** A redeploy may remove a document for a moment, and must not end every session. */
const withdrawalMicros = 60_000_000n

/** Maximum number of rule sets whose withdrawals are kept: those of two versions, and of two profiles each. */
const maxWithdrawals = 4

/** How long the eviction of a client that is not confirmed is kept. It outlives every consent page that was shown before. */
const evictionMicros = 86_400_000_000n

/**
 * Returns the record as it counts at an instant: the consent of a client that was not used for `forgetAfter` has lapsed
 * (REG-04). Every reader and every transition starts here, so a sweep changes nothing that can be seen.
 */
export const at = (record: ClientRecord, now: Instant, forgetAfter: Instant): ClientRecord =>
  record.consent === undefined || record.usedAt + forgetAfter <= now ? forget(record) : record

/** Whether the record says nothing at an instant, so that a sweep can delete it. */
export const isEmpty = (record: ClientRecord, now: Instant): boolean =>
  record.consent === undefined && record.evictedAt + evictionMicros <= now

export const forget = (record: ClientRecord): ClientRecord => ({ ...empty, evictedAt: record.evictedAt })

export const evict = (record: ClientRecord, now: Instant): ClientRecord => ({
  ...record,
  accepted: undefined,
  withdrawals: [],
  evictedAt: now
})

const outdated = (record: ClientRecord, fetchedAt: Instant): boolean =>
  fetchedAt <= record.evictedAt || (record.accepted !== undefined && fetchedAt < record.accepted.fetchedAt)

const accept = (record: ClientRecord, fetched: Fetched): ClientRecord =>
  outdated(record, fetched.fetchedAt) ? record : {
    ...record,
    accepted: fetched,
    // If some of the fetches were before this one, it is unknown when the first one after it was. The latest delays the
    // withdrawal and never hastens it.
    withdrawals: record.withdrawals
      .filter(({ latestAt }) => latestAt > fetched.fetchedAt)
      .map((each) => each.firstAt > fetched.fetchedAt ? each : { ...each, firstAt: each.latestAt })
  }

/** `fetched` is `undefined` for a document that was not fetched. */
export const confirm = (
  record: ClientRecord,
  document: StoredDocument.StoredDocument,
  fetched: Fetched | undefined,
  now: Instant
): ClientRecord => {
  const confirmed = { ...record, consent: { document, at: now }, usedAt: now }
  return fetched === undefined ? confirmed : accept(confirmed, fetched)
}

export const use = (record: ClientRecord, now: Instant): ClientRecord =>
  record.consent === undefined ? record : { ...record, usedAt: now }

/** Records a good fetch, for a confirmed client only (REG-02). */
export const recordFetch = (record: ClientRecord, fetched: Fetched): ClientRecord =>
  record.consent === undefined ? record : accept(record, fetched)

/** Records a fetch that found the document gone or invalid, for a confirmed client only. */
export const withdraw = (record: ClientRecord, fetchedAt: Instant, ruleset: string | undefined): ClientRecord => {
  if (record.consent === undefined || outdated(record, fetchedAt)) return record
  const known = record.withdrawals.find((each) => each.ruleset === ruleset)
  const withdrawal: Withdrawal = {
    ruleset,
    firstAt: known === undefined || fetchedAt < known.firstAt ? fetchedAt : known.firstAt,
    latestAt: known === undefined || fetchedAt > known.latestAt ? fetchedAt : known.latestAt
  }
  const others = record.withdrawals.filter((each) => each !== known)
  return { ...record, withdrawals: [...others, withdrawal].slice(-maxWithdrawals) }
}

/** Whether the document is withdrawn for a node of a rule set. */
export const isWithdrawn = (record: ClientRecord, ruleset: string): boolean =>
  record.withdrawals.some((each) =>
    (each.ruleset === undefined || each.ruleset === ruleset) && each.latestAt - each.firstAt >= withdrawalMicros
  )
