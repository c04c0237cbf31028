/**
 * The requests at the origin of a client that nobody has met, when many ask for it at once: this library beside
 * @better-auth/cimd, oidc-provider, and a read-through over Keyv on Postgres, in one process and in four over one database.
 *
 * All fetch over real TLS from the same origin. Every caller has to be answered, or the row does not hold. The peers are
 * installed apart: `npm ci --prefix differential --ignore-scripts`.
 */
import { Origin, Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { ChildProcess } from "node:child_process"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Burst, Outcome } from "./burst/node.js"
import type { World } from "./burst/subjects.js"
import { subjects } from "./burst/subjects.js"
import type { Row } from "./row.js"
import { print } from "./row.js"

const own = "effect-cimd"
const callers = 1000
const originDelay = "50 millis"

/** What a process says next; an error, with what it had printed, if it ends instead. */
const message = async (child: ChildProcess, print: () => string): Promise<Outcome> => {
  const ended = new AbortController()
  try {
    const [told] = await Promise.race([
      once(child, "message", { signal: ended.signal }),
      once(child, "exit", { signal: ended.signal }).then(() => {
        throw new Error(`A process of the burst ended. ${print()}`)
      })
    ])
    return told
  } finally {
    ended.abort()
  }
}

const spawn = (subject: string, world: World, prepares: boolean) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(
        fileURLToPath(new URL("./burst/node.ts", import.meta.url)),
        [JSON.stringify({ subject, world, prepares })],
        { execArgv: ["--import", "tsx"], silent: true }
      )
      let output = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (chunk) => {
          output = (output + String(chunk)).slice(-4000)
        })
      }
      await message(child, () => output)
      return {
        child,
        burst: (burst: Burst) => {
          child.send(burst)
          return message(child, () => output)
        }
      }
    }),
    ({ child }) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )

/** How many requests a burst made, over so many processes. */
const measure = (subject: string, processes: number) =>
  Effect.gen(function*() {
    const origin = yield* Origin.make
    const databaseUrl = Redacted.value(yield* Postgres.database(yield* Postgres.url))
    const world = { databaseUrl, origin: { port: origin.port, ca: origin.ca } }
    const clientId = "https://app.example/client.json"
    yield* origin.serve(clientId, {
      delay: originDelay,
      headers: { "Cache-Control": "max-age=3600" },
      body: JSON.stringify({
        client_id: clientId,
        client_name: "Burst",
        redirect_uris: ["https://app.example/callback"],
        token_endpoint_auth_method: "none"
      })
    })
    const first = yield* spawn(subject, world, true)
    const others = yield* Effect.replicateEffect(spawn(subject, world, false), processes - 1)
    const at = Date.now() + 200
    const outcomes = yield* Effect.promise(() =>
      Promise.all([first, ...others].map(({ burst }) => burst({ clientId, callers: callers / processes, at })))
    )
    return {
      requests: (yield* origin.requests).length,
      answered: outcomes.reduce((sum, { answered }) => sum + answered, 0),
      fault: outcomes.find(({ fault }) => fault !== undefined)?.fault
    }
  }).pipe(Effect.scoped)

type Measured = Effect.Effect.Success<ReturnType<typeof measure>>

const told = ({ answered, requests }: Measured): string =>
  `${requests}${answered === callers ? "" : ` (${callers - answered} callers not answered)`}`

/** The rows of the cold burst. */
export const burst = (): Promise<ReadonlyArray<Row>> =>
  Effect.forEach([1, 4], (processes) =>
    Effect.gen(function*() {
      const ours = yield* measure(own, processes)
      return yield* Effect.forEach(Object.keys(subjects).filter((name) => name !== own), (peer) =>
        Effect.map(measure(peer, processes), (theirs): Row => ({
          name: `requests of a cold burst in ${
            processes === 1 ? "one process" : `${processes} processes`
          }, beside ${peer}`,
          ratio: ours.requests / theirs.requests,
          limit: 1,
          holds: ours.requests === 1 && ours.answered === callers && theirs.answered === callers,
          detail: `${told(ours)} against ${told(theirs)}, of ${callers} callers`
        })))
    })).pipe(Effect.map((rows) => rows.flat()), Effect.runPromise)

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await burst())
