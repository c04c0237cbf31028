import * as Command from "@effect/cli/Command"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import manifest from "../../package.json" with { type: "json" }
import { WrongCall } from "./answer.js"
import { normalize } from "./arguments.js"
import * as Colour from "./colour.js"
import { lint } from "./lint.js"
import { match } from "./match.js"
import { migrate } from "./migrate.js"
import { resolve } from "./resolve.js"
import { sweep } from "./sweep.js"

const cimd = Command.make(
  "cimd",
  {},
  () => Effect.fail(new WrongCall({ message: "Choose a command; cimd --help lists them." }))
).pipe(
  Command.withDescription("OAuth Client ID Metadata Documents: resolve, lint and match them"),
  Command.withSubcommands([resolve, lint, match, migrate, sweep])
)

// 0 is yes, 1 is no, 2 is a wrong call. What is none of these is a fault of this program.
const exitCode = <A, E>(exit: Exit.Exit<A, E>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.isInterruptedOnly(exit.cause)) return 130
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (ValidationError.isValidationError(error) || error instanceof WrongCall) return 2
  return error === undefined ? 70 : 1
}

Command.run(cimd, { name: "cimd", version: manifest.version })(normalize(process.argv)).pipe(
  Effect.tapErrorTag("WrongCall", (error) => Console.error(`cimd: ${error.message}`)),
  Effect.tapDefect((cause) => Console.error(`cimd: a fault of this program\n${Cause.pretty(cause)}`)),
  Colour.whereWanted,
  Effect.provide(
    Layer.mergeAll(
      NodeFileSystem.layer,
      NodePath.layer,
      NodeTerminal.layer,
      // Answers go to stdout, so that they can be piped; what is logged on the way goes to stderr.
      Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))
    )
  ),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    disablePrettyLogger: true,
    // The exit code is set rather than the process ended, so that output on a slow pipe is not cut off.
    teardown: (exit, onExit) => {
      process.exitCode = exitCode(exit)
      onExit(process.exitCode === 130 ? 130 : 0)
    }
  })
)
