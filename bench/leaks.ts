/**
 * Runs ten thousand fetches to a thousand hosts, half of which hang, and counts what they leave behind: sockets,
 * timers, listeners, heap.
 *
 * Fetches with a response have a timeout of an hour, so that a timer that was not cleared is still there when they are
 * counted. The heap is compared with that after the first half, so that code and tables that are made once do not
 * count. The origin records every request, so it has a process of its own. The run takes three to four minutes: use
 * `npm run bench:leaks`.
 */
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ChildProcess } from "node:child_process"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { clientId } from "../test/support/clientId.js"

const fetches = 10_000
const hosts = 1000

/** A leaked timer, socket or listener has several hundred bytes; less than this is noise. */
const maxBytes = 100

type Place = { readonly port: number; readonly ca: string }

/** What the process of the origin sends: first its place, then the number of open connections for each request. */
type Message = Place | { readonly open: number }

const origin = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  yield* origin.serve("/hang", { raw: "", end: "hang" })
  yield* origin.serve("/answer", { body: "{}" })
  process.send?.({ port: origin.port, ca: origin.ca } satisfies Message)
  process.on("message", () => {
    process.send?.({ open: Effect.runSync(origin.connections).open } satisfies Message)
  })
  return yield* Effect.never
})

const nextMessage = (child: ChildProcess) =>
  Effect.async<Message>((resume) => {
    child.once("message", (message: Message) => resume(Effect.succeed(message)))
  })

const listenersOfProcess = () => process.eventNames().reduce((count, event) => count + process.listenerCount(event), 0)

/** Counts the resources of this process and the open connections of the origin. */
const count = (child: ChildProcess) =>
  Effect.gen(function*() {
    const resources = process.getActiveResourcesInfo()
    const of = (kind: string) => resources.filter((name) => name === kind).length
    child.send("open?")
    return {
      sockets: of("TCPSocketWrap") + of("TLSWrap"),
      timers: of("Timeout"),
      listeners: listenersOfProcess(),
      heap: process.memoryUsage().heapUsed,
      ...(yield* nextMessage(child))
    }
  })

const countCollected = (child: ChildProcess) =>
  Effect.gen(function*() {
    yield* Effect.sleep("1 second")
    for (let pass = 0; pass < 10; pass++) {
      yield* Effect.promise(async () => globalThis.gc?.())
      yield* Effect.sleep(50)
    }
    return yield* count(child)
  })

const fetchAll = (place: Place, path: string, options: Fetcher.Options, size: number) =>
  Effect.gen(function*() {
    const fetcher = yield* Fetcher.Fetcher
    return yield* Effect.forEach(
      Array.from({ length: size }, (_, index) => clientId(`https://h${index % hosts}.example/${path}`)),
      (target) =>
        Effect.match(fetcher.fetch(target), {
          onFailure: (error) => error._tag === "FetchTimeout" ? `timeout in ${error.phase}` : error._tag,
          onSuccess: () => "answered"
        }),
      { concurrency: 64 }
    )
  }).pipe(Effect.provide(world(place, options)))

const world = ({ ca, port }: Place, options: Fetcher.Options) =>
  Fetcher.layerWithoutDependencies({ ca, concurrency: 64, backoff: { initial: 0, maximum: 0 }, ...options }).pipe(
    Layer.provide(Layer.effect(
      Dialer.Dialer,
      Effect.map(Dialer.Dialer, ({ dial }) => ({ dial: () => dial("127.0.0.1", port) }))
    )),
    Layer.provide([Dialer.layer, NameLookupTest.layer(() => Effect.succeed(Origin.publicAddresses))]),
    Layer.provide(HostPolicy.layerPublic)
  )

const main = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(fileURLToPath(import.meta.url), ["origin"])),
    (child) => Effect.sync(() => child.kill())
  )
  const place = yield* nextMessage(child)
  if (!("port" in place)) return yield* Effect.dieMessage("The origin did not send its port")
  const answer = (size: number) => fetchAll(place, "answer", { timeout: "1 hour" }, size)
  const hang = (size: number) => fetchAll(place, "hang", { timeout: "2 seconds" }, size)

  yield* answer(100)
  const first = yield* countCollected(child)
  const outcomes = new Map<string, number>()
  const tally = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  const rounds = yield* Effect.replicateEffect(
    Effect.gen(function*() {
      for (const outcome of yield* answer(fetches / 8)) tally(outcome)
      yield* Effect.sleep(100)
      const answered = yield* count(child)
      for (const outcome of yield* hang(fetches / 8)) tally(outcome)
      return [answered, yield* countCollected(child)] as const
    }),
    4
  )

  const counts = [first, ...rounds.flat()]
  console.table(counts)
  console.table(Object.fromEntries(outcomes))
  const heapAfter = (round: number) => rounds[round]?.[1].heap ?? Number.NaN
  const grown = (heapAfter(3) - heapAfter(1)) / (fetches / 2)
  console.log(
    `${fetches} fetches to ${hosts} hosts; in the second half the heap grew by ${grown.toFixed(1)} bytes a fetch`
  )

  return outcomes.get("answered") === fetches / 2 && outcomes.get("timeout in headers") === fetches / 2 &&
    grown < maxBytes && counts.every((now) =>
      "open" in now && now.open === 0 && now.sockets <= first.sockets && now.timers <= first.timers &&
      now.listeners <= first.listeners
    )
}).pipe(Effect.scoped)

if (process.argv[2] === "origin") {
  await Effect.runPromise(Effect.provide(origin, Origin.layer))
} else if (globalThis.gc === undefined) {
  throw new Error("Run it with npm run bench:leaks")
} else {
  process.exitCode = await Effect.runPromise(main) ? 0 : 1
}
