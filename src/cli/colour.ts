import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { stripVTControlCharacters } from "node:util"

const plain = (stream: NodeJS.WriteStream) => {
  // A terminal also answers for NO_COLOR and FORCE_COLOR; a file or a pipe does not know the question.
  const colours = stream.isTTY && stream.hasColors()
  return (value: unknown) => typeof value === "string" && !colours ? stripVTControlCharacters(value) : value
}

/** Prints without colours where the reader is no terminal or does not want them; the parser's help always has them. */
export const whereWanted = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Console.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      log: (...values) => console.log(...values.map(plain(process.stdout))),
      error: (...values) => console.error(...values.map(plain(process.stderr)))
    })
  )
