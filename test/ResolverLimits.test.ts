import { describe, expect, it } from "@effect/vitest"
import type { ClientId, InvalidOptions } from "effect-cimd"
import { Cache, ClientRegistry, Fetcher, FetchError, HostPolicy, PostgresCache, Resolver, Validator } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { inspect } from "node:util"
import { SharedDocuments } from "../src/internal/sharedDocuments.js"
import { accepted } from "./support/documents.js"
import * as Postgres from "./support/postgres.js"

const client = "https://app.example/client.json" as ClientId.ClientId
const sibling = "https://app.example/other.json" as ClientId.ClientId
const stranger = "https://stranger.example/client.json" as ClientId.ClientId

type CacheLayer = Layer.Layer<Cache.Cache, InvalidOptions.InvalidOptions>

interface World {
  readonly cache?: CacheLayer
  readonly registry?: Layer.Layer<ClientRegistry.ClientRegistry, InvalidOptions.InvalidOptions>
  readonly resolver?: Resolver.Options
  readonly limits?: Fetcher.Options
  /** Changes how permits are acquired. */
  readonly permit?: (real: Permit) => Permit
}

type Permit = Fetcher.Fetcher["Type"]["permit"]

const caches = [
  ["memory", (options?: Cache.MemoryOptions): CacheLayer => Cache.layerMemory(options)],
  [
    "Postgres",
    (options?: PostgresCache.Options): CacheLayer =>
      Layer.orDie(Layer.provide(PostgresCache.layer(options), Postgres.migrated))
  ]
] as const

// The time of a handshake counts as further starts, and may be long on a busy machine.
const unlimited = { rateLimit: { limit: 10_000, window: "1 second" } } as const

const withNode = (
  {
    cache = Cache.layerMemory(),
    limits,
    permit = (real) => real,
    registry = ClientRegistry.layerMemory(),
    resolver = {}
  }: World
) => {
  const fetcher = Layer.effect(
    Fetcher.Fetcher,
    Effect.map(Fetcher.Fetcher, (real) => ({ ...real, permit: permit(real.permit) }))
  ).pipe(Layer.provide(FetcherTest.layer({ ...unlimited, ...limits })))
  return Effect.provide(
    Resolver.layer({ freshness: { minimum: "1 milli" }, ...resolver }).pipe(
      Layer.provideMerge(Layer.mergeAll(fetcher, Validator.layer(), cache, registry)),
      Layer.provide(HostPolicy.layerPublic),
      Layer.provideMerge(Origin.layer)
    )
  )
}

const serve = (url: string, headers: Record<string, string> = {}, client_name = "App") =>
  Effect.flatMap(
    Origin.Origin,
    (origin) =>
      origin.document(url, { client_id: url, client_name, redirect_uris: [`${new URL(url).origin}/callback`] }, headers)
  )
const expiring = { "Cache-Control": "max-age=0" }
const resolve = (url: string, requester?: string) =>
  Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(url, { requester }))
const refresh = (url: string, requester?: string) =>
  Effect.flatMap(Resolver.Resolver, (resolver) => resolver.refresh(url, { requester }))
const requestCount = Effect.flatMap(Origin.Origin, (origin) => Effect.map(origin.requests, ({ length }) => length))

/** A fetcher's permits, and for whom they were acquired. */
const recordingPermits = () => {
  const asked: Array<readonly [known: Fetcher.Known | undefined, requester: string | undefined]> = []
  const permit = (real: Permit): Permit => (clientId, options) =>
    Effect.suspend(() => {
      asked.push([options?.known, options?.requester])
      return real(clientId, options)
    })
  return { asked, permit }
}

for (const [name, cache] of caches) {
  describe(`what the limits learn of a fetch, over the cache in ${name}`, () => {
    it.live("FET-30: a fetch has the share of a confirmed, an accepted or an unknown client", () => {
      const { asked, permit } = recordingPermits()
      return Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        for (const url of [client, sibling, stranger]) yield* serve(url, expiring)
        const knownOf = (url: string, call = resolve) =>
          Effect.gen(function*() {
            yield* Effect.sleep("20 millis")
            yield* call(url)
            return asked.at(-1)?.[0]
          })
        expect(yield* knownOf(client)).toBe("nothing")
        expect(yield* knownOf(stranger)).toBe("nothing")
        expect(yield* knownOf(sibling)).toBe("site")
        expect(yield* knownOf(client)).toBe("accepted")
        const { document, fetchedAt } = yield* resolve(client)
        yield* registry.confirm({ document, fetchedAt })
        expect(yield* knownOf(client)).toBe("confirmed")
        expect(yield* knownOf(client, refresh)).toBe("confirmed")
        expect(yield* knownOf(sibling)).toBe("accepted")
        yield* registry.forget(client)
        expect(yield* knownOf(client, refresh)).toBe("accepted")
        yield* Effect.flatMap(Cache.Cache, ({ evictAll }) => evictAll)
        expect(yield* knownOf(client)).toBe("nothing")
      }).pipe(withNode({ cache: cache(), permit }))
    })

    it.live("FET-30: a hit asks nothing", () => {
      const { asked, permit } = recordingPermits()
      return Effect.gen(function*() {
        yield* serve(client)
        yield* resolve(client, "192.0.2.1")
        for (let i = 0; i < 3; i++) yield* resolve(client, "192.0.2.2")
        expect(asked).toEqual([["nothing", "192.0.2.1"]])
      }).pipe(withNode({ cache: cache(), permit }))
    })

    it.live("FET-16: a kept document comes before a refusal by the limits of this server", () =>
      Effect.gen(function*() {
        yield* serve(client, expiring)
        // The client uses up the rate of its site by itself, because another client of the site may use only half of it.
        yield* Effect.repeat(Effect.delay(resolve(client), "5 millis"), { until: ({ stale }) => stale, times: 10 })
        expect(yield* requestCount).toBe(3)
        expect(yield* Effect.flip(resolve(sibling))).toMatchObject({ _tag: "Throttled", reason: "rate" })
        for (let i = 0; i < 3; i++) {
          expect(yield* resolve(client)).toMatchObject({ stale: true, document: { clientId: client } })
        }
        // A refresh asks for a new document, so an old one is no answer to it.
        expect(yield* Effect.flip(refresh(client))).toMatchObject({ _tag: "Throttled", reason: "rate" })
      }).pipe(withNode({
        cache: cache({ staleIfError: "1 minute" }),
        limits: { rateLimit: { limit: 3, window: "1 hour" } }
      })))

    it.live("FET-16: a kept document comes before the end of a queue", () =>
      Effect.gen(function*() {
        yield* serve(client, expiring)
        yield* resolve(client)
        const origin = yield* Origin.Origin
        const hanging = Array.from({ length: 12 }, (_, i) => `https://hanging.example/${i}`)
        for (const url of hanging) yield* origin.serve(url, { delay: "20 seconds" })
        const before = yield* requestCount
        const callers = yield* Effect.forEach(hanging, (url) => Effect.fork(resolve(url)))
        yield* Effect.repeat(Effect.delay(requestCount, "5 millis"), { until: (count) => count > before })
        expect(yield* resolve(client)).toMatchObject({ stale: true, document: { clientId: client } })
        expect(yield* Effect.flip(refresh(client))).toMatchObject({ _tag: "Throttled", reason: "busy" })
        yield* Fiber.interruptAll(callers)
      }).pipe(withNode({ cache: cache({ staleIfError: "1 minute" }), limits: { concurrency: 1 } })))

    it.live("FET-16: without a kept document, a refusal by the limits is an error", () =>
      Effect.gen(function*() {
        yield* serve(client, expiring)
        yield* resolve(client)
        yield* Effect.sleep("20 millis")
        expect(yield* Effect.flip(resolve(client))).toMatchObject({
          _tag: "Throttled",
          reason: "rate",
          oauthError: { error: "temporarily_unavailable" }
        })
      }).pipe(withNode({ cache: cache(), limits: { rateLimit: { limit: 1, window: "1 hour" } } })))
  })

  describe(`shareFor, over the cache in ${name}`, () => {
    const noStore = { "Cache-Control": "no-store" }
    const nameOf = (url = client) => Effect.map(resolve(url), ({ document }) => document.metadata.client_name)
    const shared = Effect.gen(function*() {
      yield* serve(client, noStore, "Old")
      expect(yield* nameOf()).toBe("Old")
      yield* serve(client, noStore, "New")
      expect(yield* nameOf()).toBe("Old")
    })
    const world = (): World => ({ cache: cache(), resolver: { shareFor: "10 seconds" } })

    for (const directive of ["no-store", "private", "no-cache"]) {
      it.live(`CAC-19: a document with ${directive} serves the calls that come within shareFor after its fetch`, () =>
        Effect.gen(function*() {
          yield* serve(client, { "Cache-Control": directive })
          const first = yield* resolve(client)
          for (let i = 0; i < 3; i++) expect(yield* resolve(client)).toBe(first)
          expect(first).toMatchObject({ source: "origin", lifetimeMillis: 0, stale: false })
          expect(yield* requestCount).toBe(1)
          yield* Effect.sleep("1100 millis")
          expect((yield* resolve(client)).source).toBe("origin")
          expect(yield* requestCount).toBe(2)
          expect(yield* Effect.flatMap(Cache.Cache, (cache) => cache.knows(client))).toBe("nothing")
        }).pipe(withNode({ cache: cache(), resolver: { shareFor: "1 second" } })))
    }

    for (const call of ["evict", "evictAll"] as const) {
      it.live(`CAC-19: is not served after ${call}`, () =>
        Effect.gen(function*() {
          yield* shared
          const cache = yield* Cache.Cache
          yield* call === "evict" ? cache.evict(client) : cache.evictAll
          expect(yield* nameOf()).toBe("New")
          expect(yield* nameOf()).toBe("New")
          expect(yield* requestCount).toBe(2)
        }).pipe(withNode(world())))
    }

    it.live("CAC-19: is not served after a refresh, whatever that found", () =>
      Effect.gen(function*() {
        yield* shared
        yield* refresh(client)
        expect(yield* nameOf()).toBe("New")
        yield* serve(client, {}, "Storable")
        yield* refresh(client)
        expect(yield* nameOf()).toBe("Storable")
        yield* serve(client, noStore, "Last")
        yield* refresh(client)
        yield* Effect.flatMap(Origin.Origin, (origin) => origin.serve(client, { status: 404 }))
        expect(yield* nameOf()).toBe("Last")
        yield* Effect.flip(refresh(client))
        expect((yield* Effect.flip(resolve(client)))._tag).toBe("UnexpectedStatus")
      }).pipe(withNode(world())))

    it.live("CAC-19: is not served after a block, and serves no other client", () =>
      Effect.gen(function*() {
        yield* shared
        yield* serve(sibling)
        expect((yield* resolve(sibling)).document.clientId).toBe(sibling)
        const registry = yield* ClientRegistry.ClientRegistry
        yield* registry.block(client, { reason: "a test" })
        expect((yield* Effect.flip(resolve(client)))._tag).toBe("ClientBlocked")
      }).pipe(withNode(world())))
  })
}

describe("shareFor", () => {
  it.scopedLive("CAC-19: is not served after another node evicted the client or fetched it later", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const other = Context.get(
        yield* Layer.build(Layer.provide(PostgresCache.layer(), Postgres.clientOf(Effect.succeed(url)))),
        Cache.Cache
      )
      yield* Effect.gen(function*() {
        const invalidations = [
          other.evict(client),
          other.evictAll,
          Effect.flatMap(
            other.now,
            (fetchedAt) => other.put(accepted(client, { client_name: "stored" }), { fetchedAt, timeToLive: "1 milli" })
          )
        ]
        for (const invalidate of invalidations) {
          yield* serve(client, { "Cache-Control": "no-store" })
          yield* resolve(client)
          const before = yield* requestCount
          yield* resolve(client)
          expect(yield* requestCount).toBe(before)
          yield* invalidate
          yield* Effect.sleep("20 millis")
          yield* resolve(client)
          expect(yield* requestCount).toBe(before + 1)
        }
      }).pipe(withNode({
        cache: Layer.orDie(Layer.provide(PostgresCache.layer(), Postgres.clientOf(Effect.succeed(url)))),
        resolver: { shareFor: "10 seconds" }
      }))
    }))

  it.live.each(["11 seconds", -1, Number.NaN, Number.POSITIVE_INFINITY])(
    "refuses %s",
    (shareFor) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.void.pipe(withNode({ resolver: { shareFor: shareFor as number } })))
        expect(String(error)).toContain("`shareFor` must be a duration between 0 ms and 10000 ms")
      })
  )

  it("CAC-19: the latest fetch of a client wins, whatever its outcome was, and all take at most 1 MiB", () => {
    const documents = new SharedDocuments<{ document: ReturnType<typeof accepted> }>()
    const shared = { document: accepted(client, { padding: "x".repeat(4000) }) }
    documents.set(client, { shared, fetchedAt: 2n, sharedUntil: 10n })
    documents.set(client, { shared: undefined, fetchedAt: 1n, sharedUntil: 10n })
    expect(documents.get(client, 9n)).toEqual({ shared, fetchedAt: 2n })
    expect(documents.get(client, 10n)).toBeUndefined()
    documents.set(client, { shared: undefined, fetchedAt: 3n, sharedUntil: 10n })
    documents.set(client, { shared, fetchedAt: 2n, sharedUntil: 10n })
    expect(documents.get(client, 9n)).toBeUndefined()
    for (let i = 0; i < 1000; i++) documents.set(`${client}${i}`, { shared, fetchedAt: 1n, sharedUntil: 10n })
    const kept = Array.from({ length: 1000 }, (_, i) => documents.get(`${client}${i}`, 9n)).filter(Boolean).length
    expect(kept).toBeGreaterThan(150)
    expect(kept).toBeLessThan(250)
  })
})

describe("a requester", () => {
  /** Permits that are refused to one requester, after a while. */
  const refusing = (requester: string) => {
    const { asked, permit } = recordingPermits()
    return {
      asked,
      permit: (real: Permit): Permit => (clientId, options) =>
        options?.requester === requester
          ? Effect.zipRight(
            Effect.sleep("200 millis"),
            Effect.suspend(() => {
              asked.push([options.known, requester])
              return new FetchError.Throttled({ clientId, reason: "rate", retryAfterMillis: 1000 })
            })
          )
          : permit(real)(clientId, options)
    }
  }

  it.live("FET-31: whose call starts a fetch pays for it, and those that join it do not", () => {
    const { asked, permit } = recordingPermits()
    return Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const body = JSON.stringify({ client_id: client, redirect_uris: ["https://app.example/callback"] })
      yield* origin.serve(client, { body, delay: "200 millis" })
      const requesters = Array.from({ length: 10 }, (_, i) => `192.0.2.${i}`)
      yield* Effect.forEach(requesters, (requester) => resolve(client, requester), { concurrency: "unbounded" })
      expect(asked).toEqual([["nothing", "192.0.2.0"]])
      yield* Effect.forEach(requesters, (requester) => refresh(client, requester), { concurrency: "unbounded" })
      // Those that come during a refresh share the next one.
      expect(asked.slice(1)).toEqual([["accepted", "192.0.2.0"], ["accepted", "192.0.2.1"]])
    }).pipe(withNode({ permit }))
  })

  for (const [name, call] of [["resolve", resolve], ["refresh", refresh]] as const) {
    it.live(`FET-31: that is refused fails no call of another one that joined it, by ${name}`, () => {
      const { asked, permit } = refusing("attacker")
      return Effect.gen(function*() {
        yield* serve(client)
        const attack = yield* Effect.fork(Effect.flip(call(client, "attacker")))
        yield* Effect.sleep("50 millis")
        const honest = yield* Effect.all([call(client, "honest"), call(client, "other")], { concurrency: "unbounded" })
        expect(honest.map(({ document }) => document.clientId)).toEqual([client, client])
        expect((yield* Fiber.join(attack))._tag).toBe("Throttled")
        expect(yield* requestCount).toBe(1)
        expect(asked.filter(([, requester]) => requester === "attacker")).toHaveLength(1)
      }).pipe(withNode({ permit }))
    })
  }

  it.live("FET-31: tries once for itself, so that a refusal takes no longer the more callers there are", () => {
    const { asked, permit } = refusing("attacker")
    return Effect.gen(function*() {
      yield* serve(client)
      const callers = Array.from({ length: 20 }, () => Effect.flip(resolve(client, "attacker")))
      const errors = yield* Effect.all(callers, { concurrency: "unbounded" })
      expect(new Set(errors.map(({ _tag }) => _tag))).toEqual(new Set(["Throttled"]))
      expect(asked).toHaveLength(2)
    }).pipe(withNode({ permit }))
  })

  it.live("FET-31: does not pay for the fetches in the background, by which all callers profit", () => {
    const { asked, permit } = recordingPermits()
    return Effect.gen(function*() {
      yield* serve(client, { "Cache-Control": "max-age=2" })
      yield* resolve(client, "192.0.2.1")
      yield* Effect.sleep("1300 millis")
      yield* resolve(client, "192.0.2.2")
      yield* Effect.repeat(Effect.delay(requestCount, "5 millis"), { until: (count) => count === 2 })
      expect(asked).toEqual([["nothing", "192.0.2.1"], ["accepted", undefined]])
    }).pipe(withNode({ permit, resolver: { refreshAhead: 0.5 } }))
  })

  it.live("FET-30: a permit is returned as soon as its fetch has ended, before the document is stored", () => {
    let held = 0
    const heldAt: Array<number> = []
    const permit = (real: Permit): Permit => (clientId, options) =>
      Effect.zipRight(
        Effect.acquireRelease(Effect.sync(() => held++), () => Effect.sync(() => held--)),
        real(clientId, options)
      )
    const cache = Layer.effect(
      Cache.Cache,
      Effect.map(Cache.Cache, (real): Cache.Cache["Type"] => ({
        ...real,
        put: (document, options) =>
          Effect.suspend(() => {
            heldAt.push(held)
            return real.put(document, options)
          })
      }))
    ).pipe(Layer.provide(Cache.layerMemory()))
    return Effect.gen(function*() {
      yield* serve(client)
      yield* resolve(client)
      yield* refresh(client)
      expect([held, ...heldAt]).toEqual([0, 0, 0])
    }).pipe(withNode({ cache, permit }))
  })

  it.live("FET-30: a registry or cache that cannot tell what is known costs a client its share, and no more", () => {
    const { asked, permit } = recordingPermits()
    const messages: Array<string> = []
    const logger = Logger.make<unknown, void>(({ cause, message }) =>
      void messages.push(inspect([message, cause], { depth: 9 }))
    )
    const failing = { knows: true, isConfirmed: true }
    const cache = Layer.effect(
      Cache.Cache,
      Effect.map(Cache.Cache, (real): Cache.Cache["Type"] => ({
        ...real,
        knows: (clientId) =>
          failing.knows
            ? new Cache.CacheError({ operation: "knows", cause: new Error("cache away") })
            : real.knows(clientId)
      }))
    ).pipe(Layer.provide(Cache.layerMemory()))
    const registry = Layer.effect(
      ClientRegistry.ClientRegistry,
      Effect.map(ClientRegistry.ClientRegistry, (real): ClientRegistry.ClientRegistry["Type"] => ({
        ...real,
        isConfirmed: (clientId) =>
          failing.isConfirmed
            ? new ClientRegistry.RegistryError({ operation: "isConfirmed", cause: new Error("registry away") })
            : real.isConfirmed(clientId)
      }))
    ).pipe(Layer.provide(ClientRegistry.layerMemory()))
    return Effect.gen(function*() {
      yield* serve(client)
      const { document, fetchedAt } = yield* resolve(client)
      yield* (yield* ClientRegistry.ClientRegistry).confirm({ document, fetchedAt })
      yield* refresh(client)
      expect(messages.filter((message) => message.includes("cache away"))).toHaveLength(2)
      expect(messages.filter((message) => message.includes("registry away"))).toHaveLength(2)
      failing.knows = false
      yield* refresh(client)
      failing.isConfirmed = false
      yield* refresh(client)
      expect(asked.map(([known]) => known)).toEqual(["nothing", "nothing", "accepted", "confirmed"])
    }).pipe(
      withNode({ cache, registry, permit }),
      Logger.withMinimumLogLevel(LogLevel.Debug),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })
})
