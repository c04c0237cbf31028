import * as Effect from "effect/Effect"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import * as Path from "node:path"
import { EmbeddedFailure } from "./embeddedFailure.js"
import type { ServerUser } from "./serverUser.js"

/** A process that was started. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  /** The end of what it wrote. */
  readonly output: () => string
  /** Resolves when the process is gone, or did not start. */
  readonly exited: Promise<void>
  /** Resolves when everything that it and its own processes wrote is read. */
  readonly closed: Promise<void>
}

/** How a process is started. */
export interface Options {
  /** The user that it runs as. Defaults to the user of this process. */
  readonly user?: ServerUser | undefined
  readonly input?: string
}

// The server's user may be another one, so no secret of this process goes to it.
const inherited = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot", "TEMP"]

const environment = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    inherited.flatMap((name) => process.env[name] === undefined ? [] : [[name, process.env[name]]])
  ),
  // A locale that is named but not installed fails `initdb`.
  LC_ALL: "C"
})

/** Starts a process. Everything but an invalid call shows when it ends: see `run`. */
export const start = (
  file: string,
  args: ReadonlyArray<string>,
  { input, user }: Options = {}
): Effect.Effect<Running, EmbeddedFailure> =>
  Effect.try({
    try: () => {
      const child = spawn(file, args, {
        ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
        // The folder of this process may be closed to that user.
        cwd: Path.parse(process.execPath).root,
        env: environment(),
        // Otherwise Ctrl-C would reach it as well, before this process is done with it.
        detached: process.platform !== "win32",
        windowsHide: true
      })
      let output = ""
      const log = (text: string) => {
        output = (output + text).slice(-4000)
      }
      child.stdout.setEncoding("utf8").on("data", log)
      child.stderr.setEncoding("utf8").on("data", log)
      // A process that ends without reading its input is judged by its exit code.
      child.stdin.on("error", () => {})
      if (input !== undefined) child.stdin.end(input)
      const failed = new Promise<void>((resolve) =>
        child.on("error", (error) => {
          log(error.message)
          resolve()
        })
      )
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
      const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
      return {
        child,
        output: () => output.trim(),
        exited: Promise.race([failed, exited]),
        closed: Promise.race([failed, closed])
      }
    },
    catch: (cause) => new EmbeddedFailure({ message: `${file} did not start.`, cause })
  })

/** Runs a command to its end, and fails with what it wrote if it does not succeed. */
export const run = (
  file: string,
  args: ReadonlyArray<string>,
  options?: Options
): Effect.Effect<string, EmbeddedFailure> =>
  Effect.acquireUseRelease(
    start(file, args, { input: "", ...options }),
    ({ child, closed, output }) =>
      Effect.flatMap(Effect.promise(() => closed), () =>
        child.exitCode === 0 ?
          Effect.succeed(output()) :
          new EmbeddedFailure({
            message: `${Path.basename(file)} failed (${child.signalCode ?? `exit code ${child.exitCode}`}): ${output()}`
          })),
    ({ child, closed }) =>
      Effect.promise(() => {
        child.kill("SIGINT")
        return closed
      })
  )
