import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { visible } from "../internal/rules/text.js"
import type { Verdict } from "./exitCode.js"
import { NegativeResult, OutputError } from "./exitCode.js"

/** The result of a command. `json` and `lines` are two forms of the same content. */
export interface Result {
  readonly verdict: Verdict
  readonly json: { readonly [member: string]: unknown }
  readonly lines: ReadonlyArray<string>
}

export const json = Options.boolean("json").pipe(Options.withDescription("Print the result as one line of JSON"))

const write = (text: string): Effect.Effect<void, OutputError> =>
  Effect.async((resume) => {
    process.stdout.write(text, (error) => {
      // A reader that has seen enough, such as `head`, closes the pipe. The exit code still has the verdict.
      const isClosed = error === null || error === undefined || ("code" in error && error.code === "EPIPE")
      resume(isClosed ? Effect.void : new OutputError({ message: `The result could not be printed: ${error.message}` }))
    })
  })

/** Prints a result on stdout. Fails unless the verdict is yes. */
export const print = (
  { json, lines, verdict }: Result,
  options: { readonly json: boolean }
): Effect.Effect<void, NegativeResult | OutputError> =>
  Effect.zipRight(
    // The result may quote an untrusted document.
    write(
      options.json
        ? `${visible(JSON.stringify({ ok: verdict === "yes", ...json }))}\n`
        : lines.map((line) => `${visible(line)}\n`).join("")
    ),
    verdict === "yes" ? Effect.void : new NegativeResult({ verdict })
  )
