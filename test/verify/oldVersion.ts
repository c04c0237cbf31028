/** The package as it was when its tables had version 1, built from the history of this repository. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile, spawnSync } from "node:child_process"
import { mkdtemp, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** The last commit of that version. */
const commit = "075af58"

/** Whether the repository has that commit. A shallow clone, or a copy without its history, does not. */
export const isInHistory: boolean =
  spawnSync("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: root, stdio: "ignore" }).status === 0

/** Why the tests cannot run without it, and what helps. */
export const notice = `The commit ${commit} is not in this repository, so nothing was upgraded from it. ` +
  "Fetch the whole history with: git fetch --unshallow"

const run = (file: string, args: ReadonlyArray<string>, cwd: string) =>
  Effect.promise(() => promisify(execFile)(file, args, { cwd }))

/** Checks out that version into a temporary folder, with the packages of this one, and builds it. Returns the folder. */
export const checkout: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(Path.join(tmpdir(), "effect-cimd-old-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const archive = Path.join(folder, "old.tar")
  yield* run("git", ["archive", "--output", archive, commit], root)
  yield* run("tar", ["-xf", archive], folder)
  yield* Effect.promise(() => symlink(Path.join(root, "node_modules"), Path.join(folder, "node_modules")))
  yield* run("npm", ["run", "--silent", "build"], folder)
  return folder
})

/** Runs the command of that version on a database. Returns what it printed; fails unless it says yes. */
export const cimd = (folder: string, databaseUrl: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.map(
    run(process.execPath, ["dist/cimd.js", ...args, "--database-url", databaseUrl], folder),
    ({ stdout }) => stdout
  )
