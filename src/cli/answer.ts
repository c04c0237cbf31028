import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { visible } from "../internal/rules/text.js"

/** The question itself was wrong: a bad flag, an unreadable file, no database chosen. Exit code 2. */
export class WrongCall extends Data.TaggedError("WrongCall")<{ readonly message: string }> {}

/** The answer was no, and it has been printed. Exit code 1. */
export class AnswerIsNo extends Data.TaggedError("AnswerIsNo") {}

/** An answer in both its forms; `json` and `lines` say the same. */
export interface Answer {
  readonly json: { readonly ok: boolean; readonly [member: string]: unknown }
  readonly lines: ReadonlyArray<string>
}

export const json = Options.boolean("json").pipe(Options.withDescription("Print the answer as one line of JSON"))

/** Prints an answer on stdout, and fails if it is no. */
export const give = (answer: Answer, options: { readonly json: boolean }): Effect.Effect<void, AnswerIsNo> =>
  Effect.zipRight(
    // What is printed may come from a stranger's document.
    Console.log(options.json ? visible(JSON.stringify(answer.json)) : answer.lines.map(visible).join("\n")),
    answer.json.ok ? Effect.void : Effect.fail(new AnswerIsNo())
  )
