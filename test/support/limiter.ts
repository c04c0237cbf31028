import { FetchError } from "effect-cimd"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Limiter from "../../src/internal/fetch/limiter.js"
import type { Refusal } from "../../src/internal/fetch/refusal.js"
import { noUsage } from "../../src/internal/fetch/transport.js"
import { clientId } from "./clientId.js"

/** Limits that a test lowers one by one. */
export const limits: Limiter.Limits = {
  concurrency: 16,
  confirmedConcurrency: 8,
  concurrencyPerSite: 4,
  rateLimit: { limit: 1000, windowMillis: 1000 },
  queueTimeoutMillis: 3_600_000,
  timeoutMillis: 24 * 3_600_000,
  backoff: { initialMillis: 1000, maximumMillis: 60_000 },
  maxTrackedKeys: 100
}

export type Known = "confirmed" | "accepted" | "site" | "nothing"

export interface Asked {
  readonly known?: Known
  readonly requester?: string
  readonly handshakeMillis?: number
}

/** A client of a site of its own, which is also its domain. */
export const id = (host: number | string, path: number | string = 0) => clientId(`https://h${host}.example/${path}`)

export const notFound = (clientId: string) => new FetchError.UnexpectedStatus({ clientId, status: 404 })

/** Waits for a permit, and fetches with it. */
export const run = <A>(
  limiter: Limiter.Limiter,
  client: ReturnType<typeof id>,
  fetch: Effect.Effect<A, FetchError.FetchError | Refusal>,
  { handshakeMillis = 0, known = "nothing", requester }: Asked = {}
) =>
  Effect.scoped(
    Effect.flatMap(
      limiter.acquire({ clientId: client, known, requester }),
      ({ use }) => use({ ...noUsage(), handshakeMillis }, fetch)
    )
  )

/** A fetch that ends at once. */
export const start = (limiter: Limiter.Limiter, client: ReturnType<typeof id>, asked?: Asked) =>
  Effect.exit(run(limiter, client, Effect.void, asked))

export const errorOf = (exit: Exit.Exit<unknown, FetchError.FetchError>) =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined

export const started = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) => exits.filter(Exit.isSuccess).length

/** Makes fetches of a given duration, and counts those that run. */
export const gauge = () => {
  const running = new Map<string, number>()
  let most = 0
  const add = (key: string, change: number) => running.set(key, (running.get(key) ?? 0) + change)
  return {
    running: (key = "all") => running.get(key) ?? 0,
    most: () => most,
    fetch: (key: string, time: Duration.DurationInput) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          add("all", 1)
          add(key, 1)
          most = Math.max(most, running.get("all") ?? 0)
        }),
        () => Effect.sleep(time),
        () =>
          Effect.sync(() => {
            add("all", -1)
            add(key, -1)
          })
      )
  }
}

export const settle = Effect.yieldNow().pipe(Effect.repeatN(50))
