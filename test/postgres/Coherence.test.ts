import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it, vi } from "@effect/vitest"
import { Cache, ClientRegistry, HostPolicy, PostgresCache, Resolver, Validator } from "effect-cimd"
import type * as ClientMetadata from "effect-cimd/ClientMetadata"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as metrics from "../../src/internal/metrics.js"
import * as MemoryTier from "../../src/internal/postgres/memoryTier.js"
import * as Proxy from "../cluster/proxy.js"
import { accepted, reader, ruleset } from "../support/documents.js"
import * as Postgres from "../support/postgres.js"

/** A node with a memory tier, its own pool and its own LISTEN connection. */
const tiered = (url: Redacted.Redacted, options?: PostgresCache.TieredOptions) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresCache.layerTiered(options), PgClient.layer({ url })))),
    (context) => Context.get(context, Cache.Cache)
  )

/** Waits until the node serves from memory what it read more than `disconnectedTtl` ago. */
const untilConnected = (cache: Cache.Cache["Type"]) =>
  Effect.gen(function*() {
    const document = accepted("https://app.example/connected.json")
    yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
    yield* Effect.sleep("1100 millis")
    yield* cache.get(document.clientId, reader)
    yield* Effect.sleep("1100 millis")
    return cache.peek(document.clientId, ruleset) !== undefined
  }).pipe(Effect.repeat({ until: (isConnected) => isConnected }), Effect.timeout("10 seconds"))

const within = <A>(effect: Effect.Effect<A>, holds: (value: A) => boolean) =>
  Effect.suspend(() => {
    const start = performance.now()
    return effect.pipe(
      Effect.delay("1 millis"),
      Effect.repeat({ until: holds }),
      Effect.timeout("5 seconds"),
      Effect.map(() => performance.now() - start)
    )
  })

describe("memory tiers of two nodes", () => {
  const rounds = Number(process.env["COHERENCE_ROUNDS"] ?? 50)

  it.live(`CAC-10, CAC-12: what one node puts or evicts, the other forgets within a second (${rounds} rounds)`, () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const [a, b] = yield* Effect.all([tiered(url), tiered(url)])
      yield* untilConnected(a)
      yield* untilConnected(b)
      const delays: Array<number> = []
      for (let round = 0; round < rounds; round++) {
        const client = `https://app.example/${round}.json`
        const put = (name: string) =>
          Effect.flatMap(
            a.now,
            (fetchedAt) => a.put(accepted(client, { client_name: name }), { fetchedAt, timeToLive: "1 hour" })
          )
        const document = accepted(client)
        const seen = Effect.sync(() => b.peek(client, ruleset)?.document.metadata.client_name)
        // The notification of a put may invalidate a read of it, which is then not remembered. So read until it is.
        const remembered = Effect.repeat(Effect.zipRight(b.get(document.clientId, reader), seen), {
          until: (name) => name !== undefined
        })
        yield* put("old")
        expect(yield* remembered).toBe("old")
        yield* put("new")
        delays.push(yield* within(seen, (name) => name !== "old"))
        expect(yield* remembered).toBe("new")
        yield* a.evict(document.clientId)
        delays.push(yield* within(seen, (name) => name === undefined))
        expect((yield* b.get(document.clientId, reader))._tag).toBe("None")
      }
      expect(Math.max(...delays)).toBeLessThan(1000)
    }).pipe(Effect.scoped))

  it.live("CAC-12: also after its LISTEN connection was terminated, and it reconnects", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const [a, b] = yield* Effect.all([tiered(url), tiered(url)])
      yield* untilConnected(b)
      const document = accepted("https://app.example/killed.json")
      yield* a.put(document, { fetchedAt: yield* a.now, timeToLive: "1 hour" })
      yield* b.get(document.clientId, reader)
      yield* Effect.flatMap(PgClient.PgClient, (sql) =>
        sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT pg_notify)'`).pipe(
          Effect.provide(PgClient.layer({ url }))
        )
      yield* a.evict(document.clientId)
      const delay = yield* within(
        Effect.sync(() => b.peek(document.clientId, ruleset)),
        (entry) => entry === undefined
      )
      expect(delay).toBeLessThan(1000)
      yield* untilConnected(b)
    }).pipe(Effect.scoped))

  it.live("CAC-12: a node whose connection is cut without notice reports itself as not listening within the trusted time", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value(yield* Postgres.migratedUrl))
      const proxy = yield* Proxy.make(Number(url.port))
      url.port = String(proxy.port)
      yield* tiered(Redacted.make(url.href))
      const listening = Effect.map(Metric.value(metrics.listening), ({ value }) => value)
      yield* within(listening, (value) => value === 1)
      yield* proxy.swallow
      // It detects the cut after two seconds, and closes the connection then.
      expect(yield* within(listening, (value) => value === 0)).toBeLessThan(1700)
    }).pipe(Effect.scoped))

  const abandoned = {
    evict: (cache: Cache.Cache["Type"], document: ClientMetadata.AcceptedDocument) => cache.evict(document.clientId),
    evictAll: (cache: Cache.Cache["Type"]) => cache.evictAll,
    supersede: (cache: Cache.Cache["Type"], document: ClientMetadata.AcceptedDocument) =>
      Effect.flatMap(cache.now, (fetchedAt) => cache.supersede(document.clientId, fetchedAt)),
    put: (cache: Cache.Cache["Type"], document: ClientMetadata.AcceptedDocument) =>
      Effect.flatMap(
        cache.now,
        (fetchedAt) =>
          cache.put(accepted(document.clientId, { client_name: "new" }), { fetchedAt, timeToLive: "1 hour" })
      )
  }
  for (const [name, write] of Object.entries(abandoned)) {
    it.live(`CAC-10, CAC-12: a node handles its own ${name} that is committed after its caller was interrupted`, () =>
      Effect.gen(function*() {
        const url = yield* Postgres.migratedUrl
        const cache = yield* tiered(url)
        yield* untilConnected(cache)
        const document = accepted("https://app.example/abandoned.json", { client_name: "old" })
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        yield* Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* sql`SELECT 1 FROM cimd_documents, cimd_state FOR UPDATE`
            expect(Option.isNone(yield* Effect.timeoutOption(write(cache, document), "200 millis"))).toBe(true)
            yield* cache.get(document.clientId, reader)
            expect(cache.peek(document.clientId, ruleset)?.document.metadata.client_name).toBe("old")
          }))
        }).pipe(Effect.provide(PgClient.layer({ url })))
        const delay = yield* within(
          Effect.sync(() => cache.peek(document.clientId, ruleset)?.document.metadata.client_name),
          (name) => name !== "old"
        )
        expect(delay).toBeLessThan(1000)
        // The write was committed, and not only forgotten here.
        const now = Option.map(
          yield* cache.get(document.clientId, reader),
          (entry) => entry.document.metadata.client_name
        )
        expect(now).toEqual(name === "put" ? Option.some("new") : Option.none())
      }).pipe(Effect.scoped))
  }

  it.live("CAC-12: without notifications memory serves a document for a second at most", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const [a, b] = yield* Effect.all([tiered(url, { notifications: false }), tiered(url, { notifications: false })])
      const document = accepted("https://app.example/disconnected.json")
      yield* a.put(document, { fetchedAt: yield* a.now, timeToLive: "1 hour" })
      yield* b.get(document.clientId, reader)
      expect(b.peek(document.clientId, ruleset)).toBeDefined()
      yield* a.evict(document.clientId)
      const delay = yield* within(
        Effect.sync(() => b.peek(document.clientId, ruleset)),
        (entry) => entry === undefined
      )
      expect(delay).toBeLessThan(1100)
    }).pipe(Effect.scoped))
})

describe("a read into memory", () => {
  it.effect("leaks no entry when its caller is interrupted as it begins", () =>
    Effect.gen(function*() {
      const { clientId } = accepted("https://app.example/leaving.json")
      const behind = Context.get(yield* Layer.build(Cache.layerMemory()), Cache.Cache)
      const tier = MemoryTier.make(behind, () => Effect.never, {
        maxEntries: 10,
        disconnectedTtlNanos: 0n,
        connectedUntil: () => 0n,
        // The clock is read as a read begins.
        nanos: () => {
          Option.map(Fiber.getCurrentFiber(), (fiber) => fiber.unsafeInterruptAsFork(FiberId.none))
          return 0n
        }
      })
      const set = vi.spyOn(Map.prototype, "set")
      const exit = yield* Effect.exit(Effect.fork(tier.cache.get(clientId, reader)).pipe(Effect.flatMap(Fiber.join)))
      const registered = set.mock.contexts.filter((_, call) => set.mock.calls[call]?.[0] === clientId)
      set.mockRestore()
      expect(Exit.isInterrupted(exit)).toBe(true)
      expect(registered).toEqual([new Map()])
    }).pipe(Effect.scoped))
})

interface Write {
  readonly document: ReturnType<typeof accepted>
  readonly fetchedAt: bigint
}

describe("writes into memory", () => {
  it.effect("CAC-05: a write that ends after a later one does not replace it", () =>
    Effect.gen(function*() {
      const behind = Context.get(yield* Layer.build(Cache.layerMemory()), Cache.Cache)
      const [earlier, later, refused] = [1, 2, 0].map((fetch) => ({
        document: accepted("https://app.example/writes.json", { client_name: `fetch ${fetch}` }),
        fetchedAt: BigInt(fetch)
      })) as [Write, Write, Write]
      const answer = yield* Deferred.make<boolean>()
      const tier = MemoryTier.make(
        {
          ...behind,
          put: (document) =>
            document === earlier.document ? Deferred.await(answer) : Effect.succeed(document === later.document)
        },
        () => Effect.never,
        { maxEntries: 10, disconnectedTtlNanos: 1_000_000_000n, connectedUntil: () => 0n, nanos: () => 0n }
      )
      const put = ({ document, fetchedAt }: Write) => tier.cache.put(document, { fetchedAt, timeToLive: "1 hour" })
      const slow = yield* Effect.fork(put(earlier))
      yield* Effect.yieldNow()
      expect([yield* put(later), yield* put(refused)]).toEqual([true, false])
      yield* Deferred.succeed(answer, true)
      yield* Fiber.join(slow)
      expect(tier.cache.peek(earlier.document.clientId, ruleset)).toBeUndefined()
    }).pipe(Effect.scoped))
})

describe("one fetch for the cluster", () => {
  const client = "https://app.example/client.json"

  const nodes = (count: number, cache: typeof PostgresCache.layer) =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const node = Resolver.layer().pipe(
        Layer.provide(
          Layer.mergeAll(FetcherTest.layer(), Validator.layer(), cache(), ClientRegistry.layerMemory())
        ),
        Layer.provide(HostPolicy.layerPublic),
        Layer.provide(PgClient.layer({ url }))
      )
      return yield* Effect.forEach(Array.from({ length: count }), () =>
        Effect.map(Layer.build(Layer.fresh(node)), (context) => Context.get(context, Resolver.Resolver)))
    })

  for (const [name, cache] of [["layer", PostgresCache.layer], ["layerTiered", PostgresCache.layerTiered]] as const) {
    it.live(`four nodes with PostgresCache.${name} that miss one client make one request`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve(client, {
          body: JSON.stringify({ client_id: client, redirect_uris: ["https://app.example/cb"] }),
          delay: "300 millis"
        })
        const resolvers = yield* nodes(4, cache)
        const callers = resolvers.flatMap((resolver) => Array.from({ length: 250 }, () => resolver.resolve(client)))
        const answers = yield* Effect.all(callers, { concurrency: "unbounded" })
        expect(answers).toHaveLength(1000)
        expect((yield* origin.requests).length).toBe(1)
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

    it.live(`CAC-11: with PostgresCache.${name} a node does not receive the failure of another rule set`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve(client, {
          body: JSON.stringify({ client_id: client, redirect_uris: ["https://app.example/cb"] }),
          delay: "300 millis"
        })
        const url = yield* Postgres.migratedUrl
        const build = (profile?: Validator.Profile) =>
          Resolver.layer().pipe(
            Layer.provide(
              Layer.mergeAll(FetcherTest.layer(), Validator.layer(profile), cache(), ClientRegistry.layerMemory())
            ),
            Layer.provide(HostPolicy.layerPublic),
            Layer.provide(PgClient.layer({ url })),
            Layer.fresh,
            Layer.build,
            Effect.map((context) => Context.get(context, Resolver.Resolver))
          )
        const [strict, plain] = [yield* build(Validator.mcp), yield* build()]
        // Both miss it. The strict one fetches first, and rejects the document, which has no name.
        const refused = yield* Effect.fork(Effect.flip(strict.resolve(client)))
        yield* Effect.sleep("100 millis")
        expect((yield* plain.resolve(client)).source).toBe("origin")
        expect((yield* Fiber.join(refused))._tag).toBe("InvalidDocument")
        expect((yield* origin.requests).length).toBe(2)
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

    it.live(`FET-14: with PostgresCache.${name} a failure releases the waiters of all nodes`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        yield* origin.serve(client, { status: 418, delay: "300 millis" })
        const resolvers = yield* nodes(4, cache)
        const errors = yield* Effect.all(resolvers.map((resolver) => Effect.flip(resolver.resolve(client))), {
          concurrency: "unbounded"
        })
        for (const error of errors) {
          expect(error).toMatchObject({ _tag: "UnexpectedStatus", status: 418, clientId: client })
        }
        expect((yield* origin.requests).length).toBe(1)
        // A later caller does not receive it.
        yield* origin.document(client, { client_id: client, redirect_uris: ["https://app.example/cb"] })
        const later = yield* Effect.forEach(resolvers.slice(0, 1), (resolver) => resolver.resolve(client))
        expect(later.map(({ source }) => source)).toEqual(["origin"])
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))
  }
})
