/** Servers of Debian's packages, which the tests of this folder start themselves. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as ChildProcess from "../../src/testing/internal/childProcess.js"
import { freePort } from "../../src/testing/internal/embeddedServer.js"
import * as ServerUser from "../../src/testing/internal/serverUser.js"

export { freePort }

/** The path of a program, if its package is installed. */
export const program = (path: string, packageName: string): Effect.Effect<string> =>
  existsSync(path)
    ? Effect.succeed(path)
    : Effect.dieMessage(`There is no ${path}. Install it with: apt-get install ${packageName}`)

/** The user that servers run as: that of this process, or `postgres` if that is root. */
const user = Effect.orDie(ServerUser.find)

/** A folder of that user, closed to others, which is removed when the scope closes. */
export const folder: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const owner = yield* user
  const path = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(Path.join(tmpdir(), "effect-cimd-verify-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 }))
  )
  if (owner !== undefined) yield* Effect.orDie(ChildProcess.run("chown", [`${owner.uid}:${owner.gid}`, path]))
  return path
})

/** Runs a program to its end, as the user of the servers. */
export const run = (file: string, args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.flatMap(user, (user) => Effect.orDie(ChildProcess.run(file, args, { user })))

/** Writes a file that only the user of the servers can read. */
export const write = (path: string, text: string): Effect.Effect<void> =>
  Effect.flatMap(user, (user) =>
    Effect.orDie(
      ChildProcess.run("sh", ["-c", "umask 077 && cat > \"$1\"", "sh", path], { user, input: text })
    ))

export interface Server {
  /** Ends the process on the spot. */
  readonly kill: Effect.Effect<void>
  readonly output: () => string
}

/** Starts a program, as the user of the servers. It is ended by its process id when the scope closes. */
export const start = (file: string, args: ReadonlyArray<string>): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const owner = yield* user
    const { child, exited, output } = yield* Effect.acquireRelease(
      Effect.orDie(ChildProcess.start(file, args, { user: owner, input: "" })),
      ({ child, exited }) =>
        Effect.promise(() => {
          child.kill("SIGINT")
          return exited
        })
    )
    return {
      output,
      kill: Effect.promise(() => {
        child.kill("SIGKILL")
        return exited
      })
    }
  })
