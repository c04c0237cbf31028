import * as Effect from "effect/Effect"
import { InvalidOptions } from "../InvalidOptions.js"
import type * as Issue from "../Issue.js"
import type { Answer } from "./answer.js"
import { WrongCall } from "./answer.js"
import * as Issues from "./issues.js"

interface Failure {
  readonly _tag: string
  readonly message: string
  readonly cause?: unknown
  readonly issues?: ReadonlyArray<Issue.Issue> | undefined
}

/**
 * Turns every error but a wrong call into an answer: its code, what to do, and every issue if it has some. The options of
 * the services come from the command line, so invalid ones are a wrong call.
 */
export const orAnswer = <E extends Failure, R>(
  effect: Effect.Effect<Answer, E | InvalidOptions, R>
): Effect.Effect<Answer, WrongCall, R> =>
  Effect.catchAll(effect, (error) => {
    if (error instanceof WrongCall) return Effect.fail(error)
    return error instanceof InvalidOptions
      ? new WrongCall({ message: error.message })
      : Effect.succeed(toAnswer(error))
  })

const toAnswer = (error: Failure): Answer => {
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
      ? [`refused: ${code}`, ...indented(message), ...(cause === undefined ? [] : indented(`cause: ${cause}`))]
      : [...Issues.toLines(issues), `refused: ${code}, ${Issues.summary(issues)}`]
  }
}

const indented = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n").map((line) => `  ${line}`)

// Errors wrap one another; the innermost is what the server or the system said.
const causeOf = (error: unknown): string | undefined => {
  let said: string | undefined
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error;
    cause = cause.cause
  ) {
    if (cause.message !== "") said = cause.message
  }
  return said
}
