import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import manifest from "../../package.json" with { type: "json" }
import { normalize } from "./arguments.js"
import { audit } from "./audit.js"
import * as CorrectedConsole from "./console.js"
import { allow, approve, block, disallow, reject, unblock, unpin } from "./decisions.js"
import { evict } from "./evict.js"
import { codes, exitCodeOf, UsageError } from "./exitCode.js"
import { lint } from "./lint.js"
import { match } from "./match.js"
import { migrate } from "./migrate.js"
import { nodes } from "./nodes.js"
import { pin } from "./pin.js"
import { requests } from "./requests.js"
import { resolve } from "./resolve.js"
import { show } from "./show.js"
import { sweep } from "./sweep.js"

const cimd = Command.make(
  "cimd",
  {},
  () => Effect.fail(new UsageError({ message: "A command is missing. cimd help lists the commands." }))
).pipe(
  Command.withDescription("OAuth Client ID Metadata Documents: resolve, lint and match them, and decide about clients"),
  Command.withSubcommands([
    resolve,
    lint,
    match,
    show,
    evict,
    block,
    unblock,
    allow,
    disallow,
    requests,
    approve,
    reject,
    pin,
    unpin,
    audit,
    migrate,
    sweep,
    nodes
  ])
)

const isCommand = (name: string): boolean => HashMap.has(Command.getSubcommands(cimd), name)

/** Where to read how a command is called. */
const helpLine = (command = ""): string => `See: cimd help${isCommand(command) ? ` ${command}` : ""}`

const footer = HelpDoc.p(
  "Exit codes: 0 yes, or done; 1 no, and the reasons are printed; 2 the command was called wrongly; 3 the command could " +
    "not find out, or not do it, because the network or the database fails."
)

// A pipe that its reader has closed is reported to whoever writes, so it must not end the process as well.
for (const stream of [process.stdout, process.stderr]) stream.on("error", constVoid)

const run = Command.run(cimd, { name: "cimd", version: manifest.version, footer })

// The wizard would wait for keys that never come.
const program = process.argv.includes("--wizard") && !process.stdin.isTTY
  ? Effect.fail(new UsageError({ message: "--wizard needs a terminal. cimd help lists the commands." }))
  : run(normalize(process.argv, isCommand))

program.pipe(
  Effect.tapError((error) =>
    error._tag === "UsageError" || error._tag === "OutputError"
      ? Console.error(`cimd: ${error.message}`)
      : ValidationError.isValidationError(error)
      ? Console.error(helpLine(process.argv[2]))
      : Effect.void
  ),
  Effect.tapDefect((cause) => Console.error(`cimd: internal error\n${Cause.pretty(cause)}`)),
  CorrectedConsole.corrected,
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
      process.exitCode = exitCodeOf(exit)
      // A shell reports an end by this signal as 130. `process.exit` would wait for a pipe that is not opened.
      if (process.exitCode === codes.interrupted) process.kill(process.pid, "SIGINT")
      onExit(0)
    }
  })
)
