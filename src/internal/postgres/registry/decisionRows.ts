/**
 * How decisions stand in rows. A decision that this version cannot read must admit nobody: its subject counts as blocked
 * until the decision is made again or ended.
 */
import type { AuditEntry } from "../../../ClientRegistry.js"
import { effects } from "../../registry/decisionCalls.js"
import type { Standing } from "../../registry/decisionIndex.js"
import * as Stored from "../../registry/documentRecord.js"
import type { Slot } from "../../registry/standingDecisions.js"
import * as ClientPattern from "../../rules/clientPattern.js"
import { quote } from "../../rules/text.js"
import { instantOf, seconds, textOf } from "./statements.js"

/** The columns of {@link readStanding}. */
export const standingColumns = `subject, slot, decision, document, digest, decided_by, ${seconds("decided_at")}, reason`

export type StandingRow = readonly [
  subject: string,
  slot: string,
  decision: unknown,
  document: unknown,
  digest: unknown,
  by: unknown,
  at: unknown,
  reason: unknown
]

/** A row of decisions whose subject this version cannot read, so it is not known whom it blocks. */
export class UnreadableDecision extends Error {
  constructor(subject: string) {
    super(
      `This version cannot read the subject ${quote(subject)} of a decision. Update this program, or delete the row.`
    )
    this.name = "UnreadableDecision"
  }
}

const slots = new Set<string>(["block", "approval", "pin"] satisfies ReadonlyArray<Slot>)

export const isSlot = (slot: string): slot is Slot => slots.has(slot)

const isReadable = (subject: string): boolean => {
  const parsed = ClientPattern.parse(subject)
  return "_tag" in parsed && ClientPattern.keyOf(parsed) === subject
}

const decisionOf = (slot: string, decision: unknown): "blocked" | "allowed" | "rejected" | undefined =>
  slot === "block" && decision === "blocked"
    ? decision
    : slot === "approval" && (decision === "allowed" || decision === "rejected")
    ? decision
    : undefined

/** Reads a row. Throws {@link UnreadableDecision} if it is not known whom the decision concerns. */
export const readStanding = ([subject, slot, decision, document, digest, by, at, reason]: StandingRow): Standing => {
  if (!isReadable(subject)) throw new UnreadableDecision(subject)
  const decided = { subject, by: textOf(by) ?? "", at: instantOf(at) ?? 0n, reason: textOf(reason) ?? "" }
  if (slot === "pin" && decision === "pinned") {
    const pinned = Stored.read(textOf(document) ?? "", textOf(digest) ?? "")
    if (pinned !== undefined) return { ...decided, decision: "pinned", document: pinned }
  }
  const known = decisionOf(slot, decision)
  return known === undefined
    ? {
      ...decided,
      decision: "blocked",
      reason: `This version cannot read the decision ${quote(String(decision))}. Make it again, or end it.`
    }
    : { ...decided, decision: known }
}

/** The columns of {@link readEntry}, of a table that the statement names `audit`. */
export const entryColumns = `audit.generation::text, audit.decision, audit.subject, audit.decided_by, ${
  seconds("audit.decided_at")
}, audit.reason, audit.digest`

export type EntryRow = readonly [
  generation: string,
  decision: string,
  subject: string,
  by: unknown,
  at: unknown,
  reason: unknown,
  digest: unknown
]

const isDecision = (decision: string): decision is AuditEntry["decision"] => Object.hasOwn(effects, decision)

/** Reads a row of the audit. Returns `undefined` for a decision of a kind that this version does not know. */
export const readEntry = (
  [, decision, subject, by, at, reason, digest]: EntryRow
): AuditEntry | undefined =>
  isDecision(decision)
    ? {
      decision,
      subject,
      by: textOf(by) ?? "",
      at: instantOf(at) ?? 0n,
      reason: textOf(reason) ?? "",
      digest: textOf(digest)
    }
    : undefined
