/**
 * Ten thousand fetches to a thousand hosts, half of them hanging, and what is left of them: sockets, timers, heap.
 *
 * The heap is compared with what it was after the first half, so that code and tables that are made once do not count.
 * The origin, which remembers every request, has a process of its own. Takes a minute and a half; run it with
 * `node --expose-gc --import tsx bench/leaks.ts`.
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

/** What the process of the origin says: first where it is, then how many connections are open whenever it is asked. */
type Told = { readonly port: number; readonly ca: string } | { readonly open: number }

const origin = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  yield* origin.serve("/hang", { raw: "", end: "hang" })
  yield* origin.serve("/answer", { body: "{}" })
  process.send?.({ port: origin.port, ca: origin.ca } satisfies Told)
  process.on("message", () => {
    process.send?.({ open: Effect.runSync(origin.connections).open } satisfies Told)
  })
  return yield* Effect.never
})

const told = (child: ChildProcess) =>
  Effect.async<Told>((resume) => {
    child.once("message", (message: Told) => resume(Effect.succeed(message)))
  })

const left = (child: ChildProcess) =>
  Effect.gen(function*() {
    yield* Effect.sleep("1 second")
    for (let pass = 0; pass < 5; pass++) {
      yield* Effect.promise(async () => globalThis.gc?.())
      yield* Effect.sleep(20)
    }
    child.send("open?")
    const resources = process.getActiveResourcesInfo()
    const count = (kind: string) => resources.filter((name) => name === kind).length
    return {
      sockets: count("TCPSocketWrap") + count("TLSWrap"),
      timers: count("Timeout"),
      heap: process.memoryUsage().heapUsed,
      ...(yield* told(child))
    }
  })

const round = (from: number, to: number) =>
  Effect.gen(function*() {
    const fetcher = yield* Fetcher.Fetcher
    const targets = Array.from({ length: to - from }, (_, index) => {
      const host = (from + index) % hosts
      return clientId(`https://h${host}.example/${host % 2 === 0 ? "hang" : "answer"}`)
    })
    const results = yield* Effect.forEach(targets, (target) => Effect.either(fetcher.fetch(target)), {
      concurrency: 64
    })
    return results.filter(({ _tag }) => _tag === "Right").length
  })

const world = ({ ca, port }: { readonly ca: string; readonly port: number }) =>
  Fetcher.layerWithoutDependencies({ ca, timeout: "1 second", concurrency: 64 }).pipe(
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
  const place = yield* told(child)
  if (!("port" in place)) return yield* Effect.dieMessage("The origin did not say where it is")

  return yield* Effect.gen(function*() {
    const first = yield* left(child)
    const answered = yield* round(0, fetches / 2)
    const middle = yield* left(child)
    const alsoAnswered = yield* round(fetches / 2, fetches)
    const last = yield* left(child)
    console.table({ first, middle, last })
    console.log(`${fetches} fetches to ${hosts} hosts, of which ${answered + alsoAnswered} were answered`)
    return answered + alsoAnswered === fetches / 2 && "open" in last && last.open === 0 &&
      last.sockets <= first.sockets && last.timers <= first.timers && last.heap <= middle.heap * 1.05
  }).pipe(Effect.provide(world(place)))
}).pipe(Effect.scoped)

if (process.argv[2] === "origin") {
  await Effect.runPromise(Effect.provide(origin, Origin.layer))
} else if (globalThis.gc === undefined) {
  throw new Error("Run it with node --expose-gc --import tsx bench/leaks.ts")
} else {
  process.exitCode = await Effect.runPromise(main) ? 0 : 1
}
