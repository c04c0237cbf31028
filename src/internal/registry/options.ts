import * as Duration from "effect/Duration"
import type * as OptionReader from "../optionReader.js"
import type { Mode } from "./decisionIndex.js"

/** Options of every registry. */
export interface RegistryOptions {
  /**
   * Which clients are admitted: `"open"` admits every client that is not blocked, `"approve"` only those that are
   * allowed, approved or pinned. Defaults to `"open"`.
   */
  readonly admission?: Mode | undefined
  /** After how long without a `used` a client no longer counts as confirmed (REG-04). Defaults to `"90 days"`. */
  readonly forgetAfter?: Duration.DurationInput | undefined
  /** For how long after the last good fetch a document is recalled (REG-05). Defaults to `"30 days"`. */
  readonly recallFor?: Duration.DurationInput | undefined
  /** For how long the audit is kept (REG-13). Defaults to `"365 days"`. */
  readonly auditFor?: Duration.DurationInput | undefined
}

/** `RegistryOptions`, complete and checked. Times are in microseconds, the unit of instants. */
export interface RegistrySettings {
  readonly admission: Mode
  readonly forgetAfter: bigint
  readonly recallFor: bigint
  readonly auditFor: bigint
}

const most = Duration.toMillis("3650 days")

const toMicros = (millis: number): bigint => Number.isFinite(millis) ? BigInt(Math.round(millis * 1000)) : 0n

/** Reads the options that every registry has. */
export const read = ({ millis, report }: OptionReader.Reader, options: RegistryOptions): RegistrySettings => {
  const admission = options.admission ?? "open"
  if (admission !== "open" && admission !== "approve") {
    report(`\`admission\` must be "open" or "approve", but is ${JSON.stringify(admission)}`)
  }
  return {
    admission,
    forgetAfter: toMicros(millis("forgetAfter", options.forgetAfter, "90 days", { most })),
    recallFor: toMicros(millis("recallFor", options.recallFor, "30 days", { most })),
    auditFor: toMicros(millis("auditFor", options.auditFor, "365 days", { most }))
  }
}

/** How many requests for an approval are kept (REG-12). */
export const requestBounds = { total: 1000, perSite: 5 }

/** How many events a subscriber may fall behind before it loses the oldest ones. */
export const maxEvents = 1024
