/**
 * What the registry keeps of one client, and how each call changes it. Each transition depends on the instants that it is
 * given and not on the order of arrival, except where two calls of the host contradict each other.
 *
 * No transition reads the text of a document, so a registry in a database changes records that it read without the texts.
 * `D` is what it has of a document.
 */
import type * as StoredDocument from "./documentRecord.js"

/** In microseconds since the Unix epoch. */
type Instant = bigint

export interface Consent<D = StoredDocument.StoredDocument> {
  readonly document: D
  readonly at: Instant
}

/** A document that was fetched and accepted. */
export interface Fetched<D = StoredDocument.StoredDocument> {
  readonly document: D
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

export interface ClientRecord<D = StoredDocument.StoredDocument> {
  readonly consent: Consent<D> | undefined
  readonly usedAt: Instant
  readonly accepted: Fetched<D> | undefined
  readonly withdrawals: ReadonlyArray<Withdrawal>
  /** When the client was last evicted. Fetches that started before are not recorded (REG-08). */
  readonly evictedAt: Instant
}

export const empty: ClientRecord<never> = {
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
export const evictionMicros = 86_400_000_000n

/**
 * Returns the record as it counts at an instant: the consent of a client that was not used for `forgetAfter` has lapsed
 * (REG-04). Every reader and every transition starts here, so a sweep changes nothing that can be seen.
 */
export const at = <D>(record: ClientRecord<D>, now: Instant, forgetAfter: Instant): ClientRecord<D> =>
  record.consent === undefined || record.usedAt + forgetAfter <= now ? forget(record) : record

/** Whether the record says nothing at an instant, so that a sweep can delete it. */
export const isEmpty = (record: ClientRecord<unknown>, now: Instant): boolean =>
  record.consent === undefined && record.evictedAt + evictionMicros <= now

/** Returns the same record if there is nothing to forget, so that a caller writes nothing. */
export const forget = <D>(record: ClientRecord<D>): ClientRecord<D> =>
  record.consent === undefined && record.accepted === undefined ? record : { ...empty, evictedAt: record.evictedAt }

export const evict = <D>(record: ClientRecord<D>, now: Instant): ClientRecord<D> => ({
  ...record,
  accepted: undefined,
  withdrawals: [],
  evictedAt: now
})

const outdated = (record: ClientRecord<unknown>, fetchedAt: Instant): boolean =>
  fetchedAt <= record.evictedAt || (record.accepted !== undefined && fetchedAt < record.accepted.fetchedAt)

const accept = <D>(record: ClientRecord<D>, fetched: Fetched<D>): ClientRecord<D> =>
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
export const confirm = <D>(
  record: ClientRecord<D>,
  document: D,
  fetched: Fetched<D> | undefined,
  now: Instant
): ClientRecord<D> => {
  const confirmed = { ...record, consent: { document, at: now }, usedAt: now }
  return fetched === undefined ? confirmed : accept(confirmed, fetched)
}

export const use = <D>(record: ClientRecord<D>, now: Instant): ClientRecord<D> =>
  record.consent === undefined ? record : { ...record, usedAt: now }

/** Records a good fetch, for a confirmed client only (REG-02). */
export const recordFetch = <D>(record: ClientRecord<D>, fetched: Fetched<D>): ClientRecord<D> =>
  record.consent === undefined ? record : accept(record, fetched)

/** Records a fetch that found the document gone or invalid, for a confirmed client only. */
export const withdraw = <D>(
  record: ClientRecord<D>,
  fetchedAt: Instant,
  ruleset: string | undefined
): ClientRecord<D> => {
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
export const isWithdrawn = (record: ClientRecord<unknown>, ruleset: string): boolean =>
  record.withdrawals.some((each) =>
    (each.ruleset === undefined || each.ruleset === ruleset) && each.latestAt - each.firstAt >= withdrawalMicros
  )
