/**
 * The authorization server under attack, in a process of its own and with default settings. It resolves what it is told
 * over IPC, until its parent leaves.
 */
import {
  Cache,
  ClientId,
  ClientRegistry,
  Fetcher,
  HostPolicy,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Validator
} from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { performance } from "node:perf_hooks"
import pg from "pg"
import * as Network from "../../test/support/attack/network.js"
import { documentOf } from "../document.js"

export interface Setup extends Network.Places {
  /** The database of its cache and registry. Without one, both are in memory. */
  readonly databaseUrl?: string | undefined
}

export type Command =
  | { readonly _tag: "Resolve"; readonly clientId: string }
  /** Confirms a client whose document has expired. */
  | { readonly _tag: "Confirm"; readonly clientId: string }
  | { readonly _tag: "Status" }
  /** Collects garbage first. */
  | { readonly _tag: "Collect" }

/** The tag of an error, and its reason if it has one; or `answered`. */
export interface Outcome {
  readonly outcome: string
}

export interface Status {
  /** Milliseconds in which the event loop was active, since the start. */
  readonly activeMillis: number
  /** Bytes that the heap holds. */
  readonly heapBytes: number
  /** Bytes outside of it, such as those of buffers. */
  readonly externalBytes: number
  /** The most bytes that were read from one connection to a host of the attacker, and to an honest origin. */
  readonly mostBytesRead: { readonly attackers: number; readonly origins: number }
  /** Heartbeats of the cache: those that were sent, and those that are done. Each is a transaction of its own. */
  readonly heartbeats: { readonly sent: number; readonly done: number }
}

const setup: Setup = JSON.parse(process.argv[2] ?? "{}")

const mostBytesRead = { attackers: 0, origins: 0 }
const network = Network.layer(setup, (party, bytes) => {
  mostBytesRead[party] = Math.max(mostBytesRead[party], bytes)
})

const heartbeats = { sent: 0, done: 0 }
pg.Client.prototype.query = new Proxy(pg.Client.prototype.query, {
  apply: (query, client, input: Array<unknown>) => {
    const result: unknown = Reflect.apply(query, client, input)
    if (typeof input[0] === "string" && input[0].startsWith("SELECT pg_notify(") && result instanceof Promise) {
      heartbeats.sent++
      const done = () => {
        heartbeats.done++
      }
      result.then(done, done)
    }
    return result
  }
})

const Stores = setup.databaseUrl === undefined
  ? Layer.merge(Cache.layerMemory(), ClientRegistry.layerMemory())
  : Layer.provide(
    Layer.merge(PostgresCache.layerTiered(), PostgresRegistry.layer()),
    PostgresClient.layer({ url: Redacted.make(setup.databaseUrl) })
  )

const Server = Resolver.layer().pipe(
  Layer.provideMerge(Layer.mergeAll(
    Layer.provide(Fetcher.layerWithoutDependencies({ ca: [setup.origins.ca, setup.attackers.ca] }), network),
    Validator.layer(),
    Stores
  )),
  Layer.provide(HostPolicy.layerPublic)
)

const resolve = (clientId: string) =>
  Effect.map(
    Effect.either(Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(clientId))),
    Either.match({
      onLeft: (error): Outcome => ({ outcome: "reason" in error ? `${error._tag} ${error.reason}` : error._tag }),
      onRight: (): Outcome => ({ outcome: "answered" })
    })
  )

const confirm = (text: string) =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    const { validate } = yield* Validator.Validator
    const clientId = yield* ClientId.parse(text)
    const document = yield* validate(clientId, documentOf(clientId))
    const fetchedAt = yield* cache.now
    yield* cache.put(document, { fetchedAt, timeToLive: 1 })
    yield* (yield* ClientRegistry.ClientRegistry).confirm({ document, fetchedAt })
    return { outcome: "answered" } satisfies Outcome
  }).pipe(Effect.orDie)

const status = Effect.sync((): Status => {
  const { external, heapUsed } = process.memoryUsage()
  return {
    activeMillis: performance.eventLoopUtilization().active,
    heapBytes: heapUsed,
    externalBytes: external,
    mostBytesRead: { ...mostBytesRead },
    heartbeats: { ...heartbeats }
  }
})

type Services = Resolver.Resolver | Cache.Cache | ClientRegistry.ClientRegistry | Validator.Validator

const run = (command: Command): Effect.Effect<Outcome | Status, never, Services> => {
  switch (command._tag) {
    case "Resolve":
      return resolve(command.clientId)
    case "Confirm":
      return confirm(command.clientId)
    case "Status":
      return status
    case "Collect":
      return Effect.zipRight(Effect.promise(async () => globalThis.gc?.()), status)
  }
}

await Effect.runPromise(
  Effect.gen(function*() {
    const context = yield* Effect.context<Services>()
    process.on("message", ({ command, id }: { readonly id: number; readonly command: Command }) => {
      void Effect.runPromise(Effect.provide(run(command), context)).then((result) => process.send?.({ id, result }))
    })
    process.send?.("ready")
    yield* Effect.async<void>((resume) => {
      process.once("disconnect", () => resume(Effect.void))
    })
  }).pipe(Effect.provide(Server))
)
