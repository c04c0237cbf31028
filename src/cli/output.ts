import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { visible } from "../internal/rules/text.js"

/** The command was called wrongly: an invalid flag, an unreadable file, no database. Exit code 2. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

/** The result is negative, and it has been printed. Exit code 1. */
export class NegativeResult extends Data.TaggedError("NegativeResult") {}

/** The result of a command. `json` and `lines` are two forms of the same content. */
export interface Result {
  readonly json: { readonly ok: boolean; readonly [member: string]: unknown }
  readonly lines: ReadonlyArray<string>
}

export const json = Options.boolean("json").pipe(Options.withDescription("Print the result as one line of JSON"))

/** Prints a result on stdout. Fails if the result is negative. */
export const print = (result: Result, options: { readonly json: boolean }): Effect.Effect<void, NegativeResult> =>
  Effect.zipRight(
    // The result may quote an untrusted document.
    Console.log(options.json ? visible(JSON.stringify(result.json)) : result.lines.map(visible).join("\n")),
    result.json.ok ? Effect.void : Effect.fail(new NegativeResult())
  )
