import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { stripVTControlCharacters } from "node:util"

const plain = (stream: NodeJS.WriteStream) => {
  // `hasColors` also reads NO_COLOR and FORCE_COLOR. A stream to a file or a pipe does not have the method.
  const hasColors = stream.isTTY && stream.hasColors()
  return (value: unknown) => typeof value === "string" && !hasColors ? stripVTControlCharacters(value) : value
}

/** Removes colors unless the stream is a terminal that shows them, because the parser's help text always has colors. */
export const onTerminalsOnly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Console.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      log: (...values) => console.log(...values.map(plain(process.stdout))),
      error: (...values) => console.error(...values.map(plain(process.stderr)))
    })
  )
