import * as Effect from "effect/Effect"
import { rm } from "node:fs/promises"
import * as ChildProcess from "./childProcess.js"

/**
 * Removes a folder and all in it. `rm` goes down by file descriptors; Node goes down by paths, and the server's user
 * could swap one for a symbolic link while root removes what it names.
 */
export const removeFolder = (folder: string): Effect.Effect<void> =>
  process.platform === "win32"
    ? Effect.ignoreLogged(Effect.tryPromise(() => rm(folder, { recursive: true, force: true, maxRetries: 5 })))
    : Effect.ignoreLogged(ChildProcess.run("rm", ["-rf", "--", folder]))
