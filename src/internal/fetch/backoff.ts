import * as Exit from "effect/Exit"
import type { FetchError } from "../../FetchError.js"
import { isOwnLimit, meaningOf } from "../errorMeaning.js"
import { BoundedTable } from "./boundedTable.js"
import { Refusal } from "./refusal.js"

export interface BackoffLimits {
  /** The pause after the first failure. It doubles with each further failure; zero turns the back-off off. */
  readonly initialMillis: number
  /** The longest pause. */
  readonly maximumMillis: number
}

/** Back-off after a failure: no fetch of the same client starts during a pause. Times are monotonic milliseconds. */
export interface Backoff {
  /** Returns the refusal of a client whose pause is not over. */
  readonly refusalOf: (clientId: string, now: number) => Refusal | undefined
  /** Records how a fetch ended: a success ends the back-off, a failure starts or prolongs it. */
  readonly record: (clientId: string, exit: Exit.Exit<unknown, FetchError>, now: number) => void
}

interface Failure {
  readonly pauseMillis: number
  readonly until: number
  readonly originFault: boolean
}

export const make = ({ initialMillis, maximumMillis }: BackoffLimits, maxTrackedKeys: number): Backoff => {
  // A failure counts for some time after its pause, because otherwise no pause would ever follow another.
  const countsUntil = (failure: Failure): number => failure.until + maximumMillis
  const failures = new BoundedTable<string, Failure>(maxTrackedKeys, (failure, now) => now < countsUntil(failure))

  const recordFailure = (clientId: string, error: FetchError, now: number): void => {
    const before = failures.get(clientId)
    const pauseMillis = before !== undefined && now < countsUntil(before)
      ? Math.min(before.pauseMillis * 2, maximumMillis)
      : initialMillis
    if (pauseMillis > 0) {
      failures.set(clientId, { pauseMillis, until: now + pauseMillis, originFault: meaningOf(error).permitsStale }, now)
    }
  }

  return {
    refusalOf: (clientId, now) => {
      const failure = failures.get(clientId)
      if (failure === undefined || now >= failure.until) return undefined
      const { originFault, until } = failure
      return new Refusal("client", "failed", Math.ceil(until - now), { originFault })
    },
    record: (clientId, exit, now) => {
      if (Exit.isSuccess(exit)) {
        failures.delete(clientId)
      } else if (exit.cause._tag === "Fail" && !isOwnLimit(exit.cause.error)) {
        recordFailure(clientId, exit.cause.error, now)
      }
    }
  }
}
