import * as Effect from "effect/Effect"
import { rm } from "node:fs/promises"
import * as ChildProcess from "./childProcess.js"
import { attempt, type EmbeddedFailure } from "./embeddedFailure.js"

const removed = (folder: string): Effect.Effect<unknown, EmbeddedFailure> =>
  process.platform === "win32"
    ? attempt(`${folder} cannot be removed.`, () => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
    : ChildProcess.run("rm", ["-rf", "--", folder])

/**
 * Removes a folder and all in it. `rm` goes down by file descriptors; Node goes down by paths, and the server's user
 * could swap one for a symbolic link while root removes what it names.
 */
export const removeFolder = (folder: string): Effect.Effect<void> => Effect.ignoreLogged(removed(folder))
