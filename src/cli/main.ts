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
import { normalize } from "./arguments.js"
import * as Color from "./color.js"
import { lint } from "./lint.js"
import { match } from "./match.js"
import { migrate } from "./migrate.js"
import { UsageError } from "./output.js"
import { resolve } from "./resolve.js"
import { sweep } from "./sweep.js"

const cimd = Command.make(
  "cimd",
  {},
  () => Effect.fail(new UsageError({ message: "A command is missing. cimd --help lists the commands." }))
).pipe(
  Command.withDescription("OAuth Client ID Metadata Documents: resolve, lint and match them"),
  Command.withSubcommands([resolve, lint, match, migrate, sweep])
)

// 0 is a positive result, 1 a negative one, 2 a usage error, 70 a bug of this program, 130 an interruption.
const exitCode = <A, E>(exit: Exit.Exit<A, E>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.isInterruptedOnly(exit.cause)) return 130
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (ValidationError.isValidationError(error) || error instanceof UsageError) return 2
  return error === undefined ? 70 : 1
}

Command.run(cimd, { name: "cimd", version: manifest.version })(normalize(process.argv)).pipe(
  Effect.tapErrorTag("UsageError", (error) => Console.error(`cimd: ${error.message}`)),
  Effect.tapDefect((cause) => Console.error(`cimd: internal error\n${Cause.pretty(cause)}`)),
  Color.onTerminalsOnly,
  Effect.provide(
    Layer.mergeAll(
      NodeFileSystem.layer,
      NodePath.layer,
      NodeTerminal.layer,
      // Results go to stdout, so that they can be piped, and logs go to stderr.
      Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))
    )
  ),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    disablePrettyLogger: true,
    // Setting the exit code, instead of calling `process.exit`, lets output to a slow pipe finish.
    teardown: (exit, onExit) => {
      process.exitCode = exitCode(exit)
      onExit(process.exitCode === 130 ? 130 : 0)
    }
  })
)
