import * as Effect from "effect/Effect"
import { printable } from "../rules/text.js"
import type { Account } from "./accounts.js"
import type { Refusal } from "./refusal.js"

/** The payers that use most. */
export interface Top {
  readonly sites: ReadonlyArray<Account>
  readonly requesters: ReadonlyArray<Account>
}

/** Logs that fetches are throttled, with the payers that use most: at once, and then once a minute at most (FET-24). */
export interface ThrottleLog {
  readonly record: (refusal: Refusal, now: number) => Effect.Effect<void>
}

const intervalMillis = 60_000

const describe = ({ all, name }: Account): string =>
  `${printable(name)} (${all.running} running, ${all.waiting} waiting)`

const listOf = (accounts: ReadonlyArray<Account>): string => accounts.map(describe).join(", ") || "none"

export const make = (top: (now: number) => Top): ThrottleLog => {
  let counts = { failed: 0, rate: 0, busy: 0 }
  let silentUntil = Number.NEGATIVE_INFINITY

  return {
    record: ({ reason }, now) =>
      Effect.suspend(() => {
        counts[reason]++
        // The back-off of a single client needs no attention, so it causes no line.
        if (reason === "failed" || now < silentUntil) return Effect.void
        const { busy, failed, rate } = counts
        counts = { failed: 0, rate: 0, busy: 0 }
        silentUntil = now + intervalMillis
        const { requesters, sites } = top(now)
        return Effect.annotateLogs(
          Effect.logWarning("Fetches of client metadata documents are throttled by the limits of this node"),
          { rate, busy, failed, sites: listOf(sites), requesters: listOf(requesters) }
        )
      })
  }
}
