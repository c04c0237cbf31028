import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { chmod, lstat, mkdtemp, readdir, rename } from "node:fs/promises"
import * as Path from "node:path"
import { attempt, type EmbeddedFailure } from "./embeddedFailure.js"
import { removeFolder } from "./removeFolder.js"

// Process ids are used again, so after this time a staging folder counts as abandoned whatever runs under its id.
const longestBuildMillis = 10 * 60_000

const exists = (path: string) => Effect.promise(() => lstat(path).then(() => true, () => false))

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && "code" in error && error.code !== "ESRCH"
  }
}

const prefixOf = (place: string) => `.${Path.basename(place)}-new-`

/** Whether a file of this name is a staging folder of that place. */
export const isStaging = (place: string, name: string): boolean => name.startsWith(prefixOf(place))

// A process that was killed leaves its staging folder.
const removeAbandoned = (place: string) =>
  Effect.gen(function*() {
    const parent = Path.dirname(place)
    const now = yield* Clock.currentTimeMillis
    for (const name of yield* Effect.tryPromise(() => readdir(parent))) {
      if (!isStaging(place, name)) continue
      const folder = Path.join(parent, name)
      const pid = Number.parseInt(name.slice(prefixOf(place).length), 10)
      const age = now - (yield* Effect.tryPromise(() => lstat(folder))).mtimeMs
      if (!isRunning(pid) || age > longestBuildMillis) yield* removeFolder(folder)
    }
  }).pipe(Effect.ignore)

const open = (place: string) =>
  attempt(`${Path.dirname(place)} must be a folder that this process can write.`, async () => {
    const staging = await mkdtemp(Path.join(Path.dirname(place), `${prefixOf(place)}${process.pid}-`))
    // The server's user must get through, and cannot list it.
    await chmod(staging, 0o711)
    return staging
  })

/**
 * Makes a folder in a staging folder beside its place, and renames it there: the place holds a complete folder or none,
 * also after this process was killed. Returns false, and makes nothing, if the place holds one. The parent must be a
 * folder that only the user of this process can write.
 */
export const build = (
  place: string,
  make: (folder: string, staging: string) => Effect.Effect<void, EmbeddedFailure>
): Effect.Effect<boolean, EmbeddedFailure> =>
  Effect.gen(function*() {
    yield* removeAbandoned(place)
    if (yield* exists(place)) return false
    return yield* Effect.acquireUseRelease(
      open(place),
      (staging) =>
        Effect.gen(function*() {
          const folder = Path.join(staging, Path.basename(place))
          yield* make(folder, staging)
          return yield* attempt(`${folder} cannot be renamed to ${place}.`, () => rename(folder, place)).pipe(
            Effect.as(true),
            // Another process was first.
            Effect.catchAll((error) =>
              Effect.if(exists(place), {
                onTrue: () => Effect.succeed(false),
                onFalse: () => error
              })
            )
          )
        }),
      removeFolder
    )
  })
