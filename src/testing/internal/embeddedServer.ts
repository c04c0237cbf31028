import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { readFile } from "node:fs/promises"
import { createServer } from "node:net"
import * as Path from "node:path"
import * as ChildProcess from "./childProcess.js"
import type { EmbeddedBinaries } from "./embeddedBinaries.js"
import * as EmbeddedData from "./embeddedData.js"
import { attempt, type EmbeddedFailure } from "./embeddedFailure.js"
import type { ServerUser } from "./serverUser.js"

/** A loopback port that nothing listens on. */
export const freePort: Effect.Effect<number, EmbeddedFailure> = attempt(
  "There is no free port on 127.0.0.1.",
  () =>
    new Promise<number>((resolve, reject) => {
      const server = createServer()
      server.on("error", reject)
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
      })
    })
)

// The log cannot show it: the settings may send it elsewhere. The pid file of a server that was killed holds another pid.
const isReady = (data: string, pid: number | undefined) =>
  Effect.promise(async () => {
    const lines = await readFile(Path.join(data, "postmaster.pid"), "utf8").then((text) => text.split("\n"), () => [])
    return lines[0] === String(pid) && lines[7]?.trim() === "ready"
  })

const stop = ({ child, exited }: ChildProcess.Running) =>
  (process.platform === "win32"
    // There it cannot be asked, and leaves its own processes behind.
    ? Effect.ignore(ChildProcess.run("taskkill", ["/pid", String(child.pid), "/f", "/t"]))
    : Effect.sync(() => child.kill("SIGINT"))).pipe(Effect.zipRight(Effect.promise(() => exited)))

/** Starts the server, and waits until it accepts connections. It is stopped when the scope closes. */
export const start = (options: {
  readonly binaries: EmbeddedBinaries
  readonly user: ServerUser | undefined
  readonly folder: string
  readonly port: number
  readonly settings: Readonly<Record<string, string>>
  readonly onStart: (pid: number) => void
}): Effect.Effect<void, EmbeddedFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const { binaries, folder, port, settings, user } = options
    const data = EmbeddedData.dataOf(folder)
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    const server = yield* Effect.acquireRelease(
      ChildProcess.start(binaries.postgres, ["-D", data, "-p", String(port), ...flags], { user, input: "" }),
      stop
    )
    if (server.child.pid !== undefined) options.onStart(server.child.pid)
    const ready = Effect.repeat(Effect.delay(isReady(data, server.child.pid), "10 millis"), { until: (ready) => ready })
    const ended = Effect.promise(() => server.closed).pipe(
      Effect.zipRight(Effect.suspend(() => EmbeddedData.didNotStart(folder, server.output())))
    )
    yield* Effect.raceFirst(ready, ended).pipe(
      Effect.timeoutFail({
        duration: "60 seconds",
        onTimeout: () =>
          EmbeddedData.didNotStart(folder, `It accepts no connections after 60 seconds. ${server.output()}`)
      })
    )
  })
