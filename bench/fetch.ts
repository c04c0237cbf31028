/**
 * The cost of the checks of a fetch: a guarded fetch beside a bare undici request, to the same origin on loopback.
 *
 * Both open a new connection each time, with a full TLS handshake and the same secure context settings, which are made
 * once for each. They alternate, so that a busy machine slows both.
 */
import { Fetcher, HostPolicy } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createSecureContext } from "node:tls"
import { pathToFileURL } from "node:url"
import { Client } from "undici"
import { clientId } from "../test/support/clientId.js"
import type { Row } from "./row.js"
import { atMost, median, print } from "./row.js"

// A server runs for a long time, so the code is measured after the compiler has optimized it.
const warmup = 1000
const rounds = 500
const limit = 1.3

const url = clientId("https://app.example/client.json")
const document = {
  client_id: url,
  client_name: "Example",
  redirect_uris: ["https://app.example/callback"],
  token_endpoint_auth_method: "none"
}

const bareRequest = async (origin: string, secureContext: ReturnType<typeof createSecureContext>) => {
  const client = new Client(origin, { connect: { secureContext, servername: "app.example" } })
  const { body, statusCode } = await client.request({
    method: "GET",
    path: "/client.json",
    headers: { host: "app.example", accept: "application/json" }
  })
  const bytes = await body.arrayBuffer()
  await client.destroy()
  return statusCode === 200 ? bytes.byteLength : 0
}

const milliseconds = async (work: () => Promise<unknown>): Promise<number> => {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e6
}

/** Waits until the previous connection is closed, because its end must not count for the next one. */
const settled = async (origin: Origin.Origin["Type"]): Promise<void> => {
  do {
    await new Promise((resolve) => setTimeout(resolve, 1))
  } while (Effect.runSync(origin.connections).open > 0)
}

const measure = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  const fetcher = yield* Fetcher.Fetcher
  yield* origin.document(url, document)
  const secureContext = createSecureContext({ ca: origin.ca })
  const guarded = () => Effect.runPromise(fetcher.fetch(url))
  const bare = () => bareRequest(`https://127.0.0.1:${origin.port}`, secureContext)

  return yield* Effect.promise(async () => {
    const ours: Array<number> = []
    const theirs: Array<number> = []
    const mine = [guarded, ours] as const
    const other = [bare, theirs] as const
    for (let round = 0; round < warmup; round++) {
      await guarded()
      await bare()
    }
    for (let round = 0; round < rounds; round++) {
      for (const [work, times] of round % 2 === 0 ? [mine, other] : [other, mine]) {
        await settled(origin)
        times.push(await milliseconds(work))
      }
    }
    return { ours: median(ours), theirs: median(theirs) }
  })
})

const World = FetcherTest.layer({ rateLimit: { limit: 1_000_000, window: 1 } }).pipe(
  Layer.provideMerge(Origin.layer),
  Layer.provide(HostPolicy.layerPublic)
)

/** Measures the ratio of the medians. */
export const fetch = async (): Promise<ReadonlyArray<Row>> => {
  const { ours, theirs } = await Effect.runPromise(Effect.provide(measure, World))
  return [atMost(
    "guarded fetch, beside a bare undici request",
    ours / theirs,
    limit,
    `${ours.toFixed(2)} ms against ${theirs.toFixed(2)} ms, each with a new TLS connection`
  )]
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await fetch())
