import * as Effect from "effect/Effect"
import type * as Issue from "../Issue.js"
import type { Answer } from "./answer.js"
import { WrongCall } from "./answer.js"
import * as Issues from "./issues.js"

interface Failure {
  readonly _tag: string
  readonly message: string
  readonly issues?: ReadonlyArray<Issue.Issue> | undefined
}

/** Turns every error but a wrong call into an answer: its code, what to do, and every issue if it has some. */
export const orAnswer = <E extends Failure, R>(
  effect: Effect.Effect<Answer, E, R>
): Effect.Effect<Answer, WrongCall, R> =>
  Effect.catchAll(
    effect,
    (error) => error instanceof WrongCall ? Effect.fail(error) : Effect.succeed(toAnswer(error))
  )

const toAnswer = (error: Failure): Answer => {
  const { _tag: code, issues } = error
  return {
    json: {
      ok: false,
      error: { code, message: error.message, ...(issues === undefined ? {} : { issues: issues.map(Issues.toJson) }) }
    },
    lines: issues === undefined
      ? [`refused: ${code}`, `  ${error.message}`]
      : [...Issues.toLines(issues), `refused: ${code}, ${Issues.summary(issues)}`]
  }
}
