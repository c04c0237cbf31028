/** What a client's record and the decisions on it say to a reader. Pure, so that every registry says the same. */
import type { ClientRecord } from "./clientRecord.js"
import * as Record from "./clientRecord.js"
import type { Admission, Standing } from "./decisionIndex.js"
import * as Stored from "./documentRecord.js"

/** In microseconds since the Unix epoch. */
type Instant = bigint

/** Returns the document to recall at an instant, or why the client cannot be recalled (REG-05). */
export const recall = (
  record: ClientRecord,
  admission: Admission,
  ruleset: string,
  { now, recallFor }: { readonly now: Instant; readonly recallFor: Instant }
) => {
  if (admission._tag === "Blocked") return "blocked"
  if (record.consent === undefined) return "unconfirmed"
  if (admission._tag === "Pinned") {
    const { at, document } = admission.pin
    const { change } = Stored.difference(record.consent.document, document)
    return { document, source: "pin", fetchedAt: at, expired: false, changed: change } as const
  }
  if (Record.isWithdrawn(record, ruleset)) return "withdrawn"
  const { accepted } = record
  if (accepted === undefined || accepted.fetchedAt + recallFor <= now) return "tooOld"
  const { document, expiresAt, fetchedAt } = accepted
  const { change } = Stored.difference(record.consent.document, document)
  return { document, source: "origin", fetchedAt, expired: expiresAt <= now, changed: change } as const
}

/** Returns all that is known of a client. `request` counts while nothing is decided. */
export const show = <ClientId extends string, Request>(
  clientId: ClientId,
  { accepted, consent, evictedAt, usedAt, withdrawals }: ClientRecord,
  { admission, decisions, request }: {
    readonly admission: Admission
    readonly decisions: ReadonlyArray<Standing>
    readonly request: Request | undefined
  }
) => {
  const difference = consent !== undefined && accepted !== undefined
    ? Stored.difference(consent.document, accepted.document)
    : undefined
  return {
    clientId,
    admission,
    decisions,
    request: isUndecided(admission) ? request : undefined,
    consented: consent,
    usedAt: consent === undefined ? undefined : usedAt,
    accepted,
    changed: difference?.change,
    changedMembers: difference?.members ?? [],
    withdrawals,
    evictedAt: evictedAt === 0n ? undefined : evictedAt
  }
}

/** Whether an approval can be requested for a client (REG-12). */
export const isUndecided = (admission: Admission): boolean =>
  admission._tag === "Unapproved" && admission.rejection === undefined
