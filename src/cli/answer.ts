import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

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

// What is printed may come from a stranger's document, and a terminal obeys control characters. Bidirectional marks
// would let text show as something it is not.
const unprintable = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Text with what a terminal would obey shown as an escape, which also is valid inside a JSON string. */
const printable = (text: string): string =>
  text.replace(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** Prints an answer on stdout, and fails if it is no. */
export const give = (answer: Answer, options: { readonly json: boolean }): Effect.Effect<void, AnswerIsNo> =>
  Effect.zipRight(
    Console.log(options.json ? printable(JSON.stringify(answer.json)) : answer.lines.map(printable).join("\n")),
    answer.json.ok ? Effect.void : Effect.fail(new AnswerIsNo())
  )
