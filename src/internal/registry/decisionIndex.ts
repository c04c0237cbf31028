/**
 * All decisions of the operator, as every node holds them in memory. An index is never changed: a new decision makes a
 * new one, so callers always read a consistent state.
 */
import * as ClientPattern from "../rules/clientPattern.js"
import type { StoredDocument } from "./documentRecord.js"

/** Who made a decision, when, and why. */
export interface Decided {
  readonly by: string
  /** In microseconds since the Unix epoch, by the registry's clock. */
  readonly at: bigint
  readonly reason: string
}

/** A block, approval or pin that is in force. `subject` is its one spelling. */
export type Standing =
  | Decided & { readonly decision: "blocked" | "allowed" | "rejected"; readonly subject: string }
  | Decided & { readonly decision: "pinned"; readonly subject: string; readonly document: StoredDocument }

export type Pin = Extract<Standing, { readonly decision: "pinned" }>

/** What the decisions say about a client. */
export type Admission =
  | { readonly _tag: "Admitted" }
  | { readonly _tag: "Blocked"; readonly block: Standing }
  | { readonly _tag: "Pinned"; readonly pin: Pin }
  | { readonly _tag: "Unapproved"; readonly rejection: Standing | undefined }

/** Whether a client needs an approval. */
export type Mode = "open" | "approve"

export interface DecisionIndex {
  /** Returns what the decisions say about a client: block, then pin, then approval (REG-10). */
  readonly admission: (clientId: string) => Admission
  /** Returns every standing decision that names the client or matches it. */
  readonly matching: (clientId: string) => ReadonlyArray<Standing>
}

const admitted: Admission = { _tag: "Admitted" }
const unapproved: Admission = { _tag: "Unapproved", rejection: undefined }

/** Maximum number of clients whose admission an index remembers. */
const maxRemembered = 10_000

/** The decisions of one kind: by client, and by pattern. */
const listOf = (standing: ReadonlyArray<Standing>) => {
  const clients = new Map<string, Standing>()
  const patterns = new Map<ClientPattern.ClientPattern, Standing>()
  for (const each of standing) {
    const slash = each.subject.indexOf("/")
    if (each.subject.startsWith("https://")) clients.set(each.subject, each)
    else patterns.set({ host: each.subject.slice(0, slash), path: each.subject.slice(slash) }, each)
  }
  const matcher = ClientPattern.matcher(patterns.keys())
  const standingOf = (pattern: ClientPattern.ClientPattern | undefined) =>
    pattern === undefined ? undefined : patterns.get(pattern)
  return {
    exact: (clientId: string) => clients.get(clientId),
    any: (clientId: string) => standingOf(matcher.any(clientId)),
    every: (clientId: string) => standingOf(matcher.every(clientId))
  }
}

export const make = (standing: ReadonlyArray<Standing>, mode: Mode): DecisionIndex => {
  const blocks = listOf(standing.filter(({ decision }) => decision === "blocked"))
  const approvals = listOf(standing.filter(({ decision }) => decision === "allowed" || decision === "rejected"))
  const pins = new Map(
    standing.flatMap((each) => each.decision === "pinned" ? [[each.subject, each] as const] : [])
  )

  const approvalOf = (clientId: string) => approvals.exact(clientId) ?? approvals.every(clientId)

  const decide = (clientId: string): Admission => {
    const block = blocks.exact(clientId) ?? blocks.any(clientId)
    if (block !== undefined) return { _tag: "Blocked", block }
    const pin = pins.get(clientId)
    if (pin !== undefined) return { _tag: "Pinned", pin }
    if (mode === "open") return admitted
    const approval = approvalOf(clientId)
    if (approval === undefined) return unapproved
    return approval.decision === "rejected" ? { _tag: "Unapproved", rejection: approval } : admitted
  }

  const remembered = new Map<string, Admission>()
  return {
    admission: (clientId) => {
      // Without decisions an open registry admits everyone, which then costs no look-up.
      if (standing.length === 0) return mode === "open" ? admitted : unapproved
      const known = remembered.get(clientId)
      if (known !== undefined) return known
      // Strangers choose the clients, so the memory is bounded. The admission of a client can be computed again.
      if (remembered.size >= maxRemembered) remembered.clear()
      const admission = decide(clientId)
      remembered.set(clientId, admission)
      return admission
    },
    matching: (clientId) =>
      [
        blocks.exact(clientId),
        blocks.any(clientId),
        pins.get(clientId),
        approvals.exact(clientId),
        approvals.every(clientId)
      ].filter((each) => each !== undefined)
  }
}
