import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { visible } from "../internal/rules/text.js"

const controlSequence = /(\u001b\[[0-9;]*m)/
const usageOfSubcommand = /^\$ (?!cimd\b)/gm
const lineOfSubcommand = /^( {2}- )([a-z]+) .* {2}(\S.*)$/gm

/** Adds the name of the program to the usage of a subcommand, and shortens the list of all to their descriptions. */
const correctedHelp = (text: string): string =>
  text.replace(usageOfSubcommand, "$ cimd ").replace(
    lineOfSubcommand,
    (_, bullet: string, name: string, description: string) => `${bullet}${name.padEnd(9)}${description}`
  )

const plain = (stream: NodeJS.WriteStream) => {
  // `hasColors` also reads NO_COLOR and FORCE_COLOR. A stream to a file or a pipe does not have the method.
  const hasColors = stream.isTTY && stream.hasColors()
  // Colors are the only control sequences of the parser and the logger. The rest may come from an untrusted document.
  const escape = (text: string): string =>
    text.split(controlSequence).map((part, index) =>
      index % 2 === 0 ? part.split("\n").map(visible).join("\n") : hasColors ? part : ""
    ).join("")
  return (value: unknown) => typeof value === "string" ? escape(correctedHelp(value)) : value
}

/**
 * Corrects what is logged and what the parser prints. It escapes what could control the terminal, and removes the colors
 * of the help text unless the stream is a terminal that shows them. The parser leaves the name of the program out of the
 * usage of a subcommand, and lists every flag beside the name of each.
 */
export const corrected = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Console.consoleWith((console) =>
    Effect.withConsole(effect, {
      ...console,
      log: (...values) => console.log(...values.map(plain(process.stdout))),
      error: (...values) => console.error(...values.map(plain(process.stderr)))
    })
  )
