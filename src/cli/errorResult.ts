import * as Effect from "effect/Effect"
import { InvalidOptions } from "../InvalidOptions.js"
import type * as Issue from "../Issue.js"
import * as Issues from "./issues.js"
import type { Result } from "./output.js"
import { UsageError } from "./output.js"

interface TaggedError {
  readonly _tag: string
  readonly message: string
  readonly cause?: unknown
  readonly issues?: ReadonlyArray<Issue.Issue> | undefined
}

/**
 * Turns every error except a `UsageError` into a negative result with its code, its message, and its issues if it has
 * some. The options of the services come from the command line, so `InvalidOptions` becomes a `UsageError`.
 */
export const orResult = <E extends TaggedError, R>(
  effect: Effect.Effect<Result, E | InvalidOptions, R>
): Effect.Effect<Result, UsageError, R> =>
  Effect.catchAll(effect, (error) => {
    if (error instanceof UsageError) return Effect.fail(error)
    return error instanceof InvalidOptions
      ? new UsageError({ message: error.message })
      : Effect.succeed(toResult(error))
  })

const toResult = (error: TaggedError): Result => {
  const { _tag: code, issues, message } = error
  const cause = causeOf(error)
  return {
    json: {
      ok: false,
      error: {
        code,
        message,
        ...(cause === undefined ? {} : { cause }),
        ...(issues === undefined ? {} : { issues: issues.map(Issues.toJson) })
      }
    },
    lines: issues === undefined
      ? [`failed: ${code}`, ...indented(message), ...(cause === undefined ? [] : indented(`cause: ${cause}`))]
      : [...Issues.toLines(issues), `failed: ${code}, ${Issues.summary(issues)}`]
  }
}

const indented = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n").map((line) => `  ${line}`)

// Errors wrap one another. The innermost one has the message of the server or the system.
const causeOf = (error: unknown): string | undefined => {
  let message: string | undefined
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error;
    cause = cause.cause
  ) {
    if (cause.message !== "") message = cause.message
  }
  return message
}
