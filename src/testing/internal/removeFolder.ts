import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { rm } from "node:fs/promises"
import * as ChildProcess from "./childProcess.js"

// A process that nobody waits for, such as the `initdb` of a parent that was killed, may still write into the folder.
// It soon fails, because its files are gone.
const untilNobodyWrites = Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(50))

/**
 * Removes a folder and all in it. `rm` goes down by file descriptors; Node goes down by paths, and the server's user
 * could swap one for a symbolic link while root removes what it names.
 */
export const removeFolder = (folder: string): Effect.Effect<void> =>
  process.platform === "win32"
    ? Effect.ignoreLogged(Effect.tryPromise(() => rm(folder, { recursive: true, force: true, maxRetries: 5 })))
    : ChildProcess.run("rm", ["-rf", "--", folder]).pipe(
      Effect.retry({ schedule: untilNobodyWrites, while: ({ message }) => /not empty/i.test(message) }),
      Effect.ignoreLogged
    )
