/**
 * An experiment: what a fetch costs the main thread, and what it would cost there if a worker thread fetched.
 *
 * The origin has a process of its own. The active time of the event loop is what other requests wait for. Run it with
 * `npm run build` and `npx tsx --tsconfig bench/tsconfig.json bench/worker.ts`.
 */
import { Dialer, Fetcher, HostPolicy } from "effect-cimd"
import { NameLookupTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { fork } from "node:child_process"
import { once } from "node:events"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { clientId } from "../test/support/clientId.js"

interface Place {
  readonly port: number
  readonly ca: string
}

const url = "https://app.example/client.json"
const warmup = 300
const rounds = 500
const file = fileURLToPath(import.meta.url)

const world = ({ ca, port }: Place) =>
  Fetcher.layerWithoutDependencies({ ca, rateLimit: { limit: 1_000_000, window: 1 } }).pipe(
    Layer.provide(Layer.effect(
      Dialer.Dialer,
      Effect.map(Dialer.Dialer, ({ dial }) => ({ dial: () => dial("127.0.0.1", port) }))
    )),
    Layer.provide([Dialer.layer, NameLookupTest.layer(() => Effect.succeed(Origin.publicAddresses))]),
    Layer.provide(HostPolicy.layerPublic)
  )

/** Returns the function that fetches once. */
const fetcherOf = (place: Place) =>
  Effect.runPromise(
    Effect.map(Fetcher.Fetcher, ({ fetch }) => () => Effect.runPromise(fetch(clientId(url)))).pipe(
      Effect.provide(world(place))
    )
  )

const measure = async (fetch: () => Promise<unknown>) => {
  for (let round = 0; round < warmup; round++) await fetch()
  const before = performance.eventLoopUtilization()
  const start = performance.now()
  for (let round = 0; round < rounds; round++) await fetch()
  const { active } = performance.eventLoopUtilization(before)
  return { "main thread, ms": active / rounds, "whole, ms": (performance.now() - start) / rounds }
}

const main = async () => {
  const child = fork(file, ["origin"])
  const [place]: Array<Place> = await once(child, "message")
  if (place === undefined) throw new Error("The origin did not send its port")
  const direct = await measure(await fetcherOf(place))
  const memory = process.memoryUsage.rss()
  const started = performance.now()
  // The loader of tsx does not reach the first file of a worker by itself.
  const load = `import(${JSON.stringify(import.meta.resolve("tsx/esm/api"))}).then(({ tsImport }) => tsImport(${
    JSON.stringify(import.meta.url)
  }, import.meta.url))`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(load)}`), { workerData: place })
  await once(worker, "message")
  const startMillis = performance.now() - started
  const through = await measure(() => {
    worker.postMessage(url)
    return once(worker, "message")
  })
  console.table({ "main thread": direct, "worker": through })
  console.log(
    `The worker started in ${startMillis.toFixed(0)} ms and took ${
      ((process.memoryUsage.rss() - memory) / 2 ** 20).toFixed(0)
    } MiB.`
  )
  await worker.terminate()
  child.kill()
}

if (process.argv[2] === "origin") {
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const { ca, document, port } = yield* Origin.make
    yield* document(url, { client_id: url, redirect_uris: ["https://app.example/callback"] })
    process.on("disconnect", () => process.exit())
    process.send?.({ ca, port } satisfies Place)
    return yield* Effect.never
  })))
} else if (isMainThread) {
  await main()
} else {
  const place: Place = workerData
  const fetch = await fetcherOf(place)
  const answer = async () => {
    const { body, freshness } = await fetch()
    parentPort?.postMessage({ body, freshness })
  }
  parentPort?.on("message", () => void answer())
  parentPort?.postMessage("ready")
}
