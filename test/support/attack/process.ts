import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Connections, Place } from "./world.js"

/** The hosts of the attacker, in a process of their own. It ends when the scope closes. */
export const start = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      fork(fileURLToPath(new URL("./hosts.ts", import.meta.url)), {
        execArgv: ["--import", "tsx"],
        stdio: ["ignore", "ignore", "inherit", "ipc"]
      })
    ),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )
  const next = Effect.map(Effect.promise((signal) => once(child, "message", { signal })), ([message]) => message)
  const place: Place = yield* next
  /** The number of connections that its hosts have. */
  const connections: Effect.Effect<Connections> = Effect.zipRight(Effect.sync(() => child.send("open?")), next)
  return { ...place, connections }
})
