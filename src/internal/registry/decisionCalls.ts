/** The calls by which an operator decides. They are the same for every registry, which provides what they write. */
import * as Effect from "effect/Effect"
import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"
import * as ClientPattern from "../rules/clientPattern.js"
import type { DecisionOptions } from "./decisionOptions.js"
import { issuesOf } from "./decisionOptions.js"
import type { StoredDocument } from "./documentRecord.js"
import * as Stored from "./documentRecord.js"
import type { Slot } from "./standingDecisions.js"

/** The slot that a decision changes, and what it puts there. One that ends a decision puts nothing there. */
export const effects = {
  block: { slot: "block", puts: "blocked" },
  unblock: { slot: "block", puts: undefined },
  allow: { slot: "approval", puts: "allowed" },
  approve: { slot: "approval", puts: "allowed" },
  reject: { slot: "approval", puts: "rejected" },
  disallow: { slot: "approval", puts: undefined },
  pin: { slot: "pin", puts: "pinned" },
  unpin: { slot: "pin", puts: undefined },
  // It changes the record of a client.
  evict: { slot: undefined, puts: undefined }
} as const

export type Decision = keyof typeof effects

/** What a decision puts into force. */
export type Puts =
  | { readonly decision: "blocked" | "allowed" | "rejected" }
  | { readonly decision: "pinned"; readonly document: StoredDocument }

/** How a registry writes decisions. The subjects and options are well formed. */
export interface DecisionWrites<E> {
  /** Puts a decision into force, which ends a request for the client. */
  readonly enforce: (
    decision: Decision,
    slot: Slot,
    subject: string,
    options: DecisionOptions,
    puts: Puts
  ) => Effect.Effect<void, E>
  /** Ends a decision. Returns whether there was one. */
  readonly end: (
    decision: Decision,
    slot: Slot,
    subject: string,
    options: DecisionOptions
  ) => Effect.Effect<boolean, E>
  /** Changes the record of a client as `evict` of clientRecord.ts does. */
  readonly evict: (clientId: string, options: DecisionOptions) => Effect.Effect<void, E>
}

export const make = <Invalid, E>(
  invalid: (issues: ReadonlyArray<Issue>) => Effect.Effect<never, Invalid>,
  { end, enforce, evict }: DecisionWrites<E>
) => {
  /** Continues with the one spelling of a subject, unless there are issues. */
  const checked = <A>(
    subject: ClientPattern.Subject | ReadonlyArray<Issue>,
    options: DecisionOptions,
    write: (subject: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, Invalid | E> =>
    Effect.suspend((): Effect.Effect<A, Invalid | E> => {
      const issues = issuesOf(options)
      if (!("_tag" in subject)) return invalid([...subject, ...issues])
      return issues.length > 0 ? invalid(issues) : write(ClientPattern.keyOf(subject))
    })

  const client = (clientId: ClientId): ClientPattern.Subject => ({ _tag: "Client", clientId })
  type Given = Parameters<typeof checked>[0]

  const puts = (decision: "block" | "allow" | "approve" | "reject") => (subject: Given, options: DecisionOptions) =>
    checked(
      subject,
      options,
      (subject) => enforce(decision, effects[decision].slot, subject, options, { decision: effects[decision].puts })
    )
  const ends = (decision: "unblock" | "disallow" | "unpin") => (subject: Given, options: DecisionOptions) =>
    checked(subject, options, (subject) => end(decision, effects[decision].slot, subject, options))

  return {
    block: (subject: string, options: DecisionOptions) => puts("block")(ClientPattern.parse(subject), options),
    unblock: (subject: string, options: DecisionOptions) => ends("unblock")(ClientPattern.parse(subject), options),
    allow: (subject: string, options: DecisionOptions) => puts("allow")(ClientPattern.parse(subject), options),
    disallow: (subject: string, options: DecisionOptions) => ends("disallow")(ClientPattern.parse(subject), options),
    approve: (clientId: ClientId, options: DecisionOptions) => puts("approve")(client(clientId), options),
    reject: (clientId: ClientId, options: DecisionOptions) => puts("reject")(client(clientId), options),
    pin: (document: AcceptedDocument, options: DecisionOptions) =>
      Effect.suspend(() => {
        const stored = Stored.store(document)
        return checked(
          client(document.clientId),
          options,
          (subject) => enforce("pin", effects.pin.slot, subject, options, { decision: "pinned", document: stored })
        )
      }),
    unpin: (clientId: ClientId, options: DecisionOptions) => ends("unpin")(client(clientId), options),
    evict: (clientId: ClientId, options: DecisionOptions) =>
      checked(client(clientId), options, (subject) => evict(subject, options))
  }
}
