import * as ValidationError from "@effect/cli/ValidationError"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { OAuthError } from "../OAuthError.js"

/** What a command found out: that it is so, that it is not, or nothing. */
export type Verdict = "yes" | "no" | "unknown"

/** The command was called wrongly: an invalid flag, an unreadable file, no database. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

/** The result is not a yes, and it has been printed. */
export class NegativeResult extends Data.TaggedError("NegativeResult")<{ readonly verdict: Exclude<Verdict, "yes"> }> {}

/** The result could not be printed. */
export class OutputError extends Data.TaggedError("OutputError")<{ readonly message: string }> {}

/** The exit code of each outcome. The README has the same table. */
export const codes = { yes: 0, no: 1, usage: 2, unknown: 3, bug: 70, interrupted: 130 } as const

/**
 * The verdict behind an error. An authorization server that says "not now" to the client, as it does while the network
 * or the database fails, does not know either (FET-12). Other errors without an `oauthError` have issues, or are those of
 * a database.
 */
export const verdictOf = (
  error: { readonly oauthError?: OAuthError; readonly issues?: ReadonlyArray<unknown> | undefined }
): Exclude<Verdict, "yes"> =>
  error.oauthError === undefined
    ? error.issues === undefined ? "unknown" : "no"
    : error.oauthError.error === "temporarily_unavailable"
    ? "unknown"
    : "no"

/** The exit code of the process. */
export const exitCodeOf = <A, E>(exit: Exit.Exit<A, E>): number => {
  if (Exit.isSuccess(exit)) return codes.yes
  if (Cause.isInterruptedOnly(exit.cause)) return codes.interrupted
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (error instanceof NegativeResult) return codes[error.verdict]
  if (error instanceof UsageError || ValidationError.isValidationError(error)) return codes.usage
  return error === undefined ? codes.bug : codes.unknown
}
