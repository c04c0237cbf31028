import { describe, expect, it } from "@effect/vitest"
import type { Fetcher, InvalidOptions } from "effect-cimd"
import { Cache, ClientId, ClientRegistry, HostPolicy, PostgresCache, Resolver, Validator } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { policyWith } from "./support/hostPolicy.js"
import * as Postgres from "./support/postgres.js"
import { recording } from "./support/recording.js"
import * as ShiftedClock from "./support/shiftedClock.js"

const client = "https://app.example/client.json"
const operator = { by: "operator", reason: "a test" }
const documentOf = (url: string, members: object = {}) => ({
  client_id: url,
  client_name: "App",
  redirect_uris: ["https://app.example/callback"],
  ...members
})

interface World {
  readonly cache?: Layer.Layer<Cache.Cache, InvalidOptions.InvalidOptions>
  readonly registry?: Layer.Layer<ClientRegistry.ClientRegistry, InvalidOptions.InvalidOptions>
  readonly policy?: Layer.Layer<HostPolicy.HostPolicy>
  readonly profile?: Validator.Profile
  readonly fetcher?: Fetcher.Options
}

/** One node over a scripted origin, with every guard in force. */
const node = ({ cache, fetcher, policy, profile, registry }: World = {}) =>
  Resolver.layer({ freshness: { minimum: "1 milli" } }).pipe(
    Layer.provideMerge(Layer.mergeAll(
      FetcherTest.layer(fetcher),
      Validator.layer(profile),
      cache ?? Cache.layerMemory(),
      registry ?? ClientRegistry.layerMemory()
    )),
    Layer.provide(policy ?? HostPolicy.layerPublic)
  )

const withNode = (world?: World) => Effect.provide(Layer.provideMerge(node(world), Origin.layer))

/** Makes nodes, each with rules of its own, over one cache and one registry. */
const cluster = (world: World = {}) =>
  Effect.gen(function*() {
    const cache = Layer.succeedContext(yield* Layer.build(world.cache ?? Cache.layerMemory()))
    const registry = yield* Layer.build(ClientRegistry.layerMemory())
    const nodeOf = (profile: Validator.Profile = {}) =>
      Effect.map(
        Layer.build(Layer.fresh(node({ ...world, profile, cache, registry: Layer.succeedContext(registry) }))),
        Context.get(Resolver.Resolver)
      )
    return { nodeOf, registry: Context.get(registry, ClientRegistry.ClientRegistry) }
  })

const idOf = (url: string) => Effect.orDie(ClientId.parse(url))
const resolve = (url = client) => Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(url))
const refresh = (url = client) => Effect.flatMap(Resolver.Resolver, (resolver) => resolver.refresh(url))
const recall = (url = client) => Effect.flatMap(Resolver.Resolver, (resolver) => resolver.recall(url))
const serve = (answer: Parameters<Origin.Origin["Type"]["serve"]>[1], url = client) =>
  Effect.flatMap(Origin.Origin, (origin) => origin.serve(url, answer))
const serveDocument = (headers: Record<string, string> = {}, members: object = {}, url = client) =>
  Effect.flatMap(Origin.Origin, (origin) => origin.document(url, documentOf(url, members), headers))
const requestCount = Effect.flatMap(Origin.Origin, (origin) => Effect.map(origin.requests, ({ length }) => length))
const untilRequests = (wanted: number) =>
  Effect.timeout(
    Effect.repeat(Effect.delay(requestCount, "5 millis"), { until: (count) => count === wanted }),
    "5 seconds"
  )

/** Resolves a client and confirms it, as a user's consent does. */
const consent = (url = client) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    const resolution = yield* resolve(url)
    yield* registry.confirm(resolution)
    return resolution
  })

const acceptedFor = (url: string, members: object = {}) =>
  Effect.gen(function*() {
    const body = new TextEncoder().encode(JSON.stringify(documentOf(url, members)))
    return yield* Effect.orDie(Validator.make().validate(yield* idOf(url), body))
  })

const pin = (url = client, members: object = { client_name: "Pinned" }) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    yield* registry.pin(yield* acceptedFor(url, members), operator)
  })

type Call<R> = Effect.Effect<{ readonly source: string }, Resolver.ResolveError | Resolver.RecallError, R>

/** Returns the source of a document, or the error. */
const outcomeOf = <R = never>(call: Call<R>): Effect.Effect<string, never, R> =>
  Effect.match(call, {
    onFailure: (error) => error._tag === "NotRecalled" ? `NotRecalled ${error.reason}` : error._tag,
    onSuccess: ({ source }) => source
  })

const inApprovalMode = ClientRegistry.layerMemory({ admission: "approve" })

describe("decisions", () => {
  const facts = ["blocked", "refused", "pinned", "unapproved", "cached"] as const
  type Fact = typeof facts[number]

  const subsets = Array.from(
    { length: 2 ** facts.length },
    (_, bits) => new Set<Fact>(facts.filter((_, i) => (bits >> i) % 2 === 1))
  )

  const policy = policyWith((clientId) =>
    clientId.startsWith("https://refused")
      ? new HostPolicy.HostRefused({ clientId, host: ClientId.host(clientId), reason: "closed by a test" })
      : Effect.void
  )

  /** Makes a client of which these facts are true, and no other. */
  const clientWith = (about: ReadonlySet<Fact>, number: number) =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const cache = yield* Cache.Cache
      const clientId = yield* idOf(`https://${about.has("refused") ? "refused" : "app"}-${number}.example/c`)
      const document = yield* acceptedFor(clientId)
      yield* serveDocument({}, {}, clientId)
      yield* registry.confirm({ document, fetchedAt: yield* cache.now, lifetimeMillis: 3_600_000 })
      if (about.has("cached")) {
        const reader = yield* Validator.Validator
        const body = new TextEncoder().encode(JSON.stringify(document.json))
        const own = yield* reader.validate(clientId, body)
        yield* cache.put(own, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
      }
      if (about.has("blocked")) yield* registry.block(clientId, operator)
      if (about.has("pinned")) yield* registry.pin(document, operator)
      if (!about.has("unapproved")) yield* registry.approve(clientId, operator)
      return clientId
    })

  it.live("REG-10: applies block, host policy, pin, approval and cache in this order, for every set of them", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      for (const [number, about] of subsets.entries()) {
        const clientId = yield* clientWith(about, number)
        const refused = about.has("blocked") ? "ClientBlocked" : about.has("refused") ? "HostRefused" : undefined
        const fetched = refused ??
          (about.has("pinned") ? "pin" : about.has("unapproved") ? "ClientUnapproved" : "origin")
        const expected = {
          resolve: fetched === "origin" && about.has("cached") ? "memory" : fetched,
          recall: fetched === "ClientBlocked" ? "NotRecalled blocked" : fetched,
          refresh: fetched
        }
        const before = yield* requestCount
        expect({
          resolve: yield* outcomeOf(resolver.resolve(clientId)),
          recall: yield* outcomeOf(resolver.recall(clientId)),
          refresh: yield* outcomeOf(resolver.refresh(clientId)),
          about: [...about]
        }).toEqual({ ...expected, about: [...about] })
        const fetches = [expected.resolve, expected.refresh].filter((source) => source === "origin").length
        expect((yield* requestCount) - before).toBe(fetches)
      }
    }).pipe(withNode({ policy, registry: inApprovalMode })))

  it.live("REG-10: a decision applies to the next call, also to one from memory, and ends with its end", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      yield* serveDocument()
      yield* resolve()
      expect(yield* outcomeOf(resolve())).toBe("memory")
      yield* registry.block("*.example", operator)
      expect(yield* Effect.flip(resolve())).toMatchObject({
        _tag: "ClientBlocked",
        subject: "*.example/",
        by: "operator",
        reason: "a test",
        oauthError: { error: "invalid_client" }
      })
      yield* registry.unblock("*.example", operator)
      expect(yield* outcomeOf(resolve())).toBe("memory")
      yield* pin()
      expect(yield* outcomeOf(resolve())).toBe("pin")
      yield* registry.unpin(yield* idOf(client), operator)
      expect(yield* outcomeOf(resolve())).toBe("memory")
      expect(yield* requestCount).toBe(1)
    }).pipe(withNode()))

  it.live("REG-12: a client that is not approved is refused before any fetch, and resolve records no request", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      yield* serveDocument()
      expect(yield* Effect.flip(resolve())).toMatchObject({
        _tag: "ClientUnapproved",
        rejected: false,
        oauthError: { error: "unauthorized_client" }
      })
      expect((yield* Effect.flip(refresh()))._tag).toBe("ClientUnapproved")
      expect(yield* registry.requests).toEqual([])
      yield* registry.reject(yield* idOf(client), operator)
      expect(yield* Effect.flip(resolve())).toMatchObject({ rejected: true })
      expect(yield* requestCount).toBe(0)
      yield* registry.approve(yield* idOf(client), operator)
      expect(yield* outcomeOf(resolve())).toBe("origin")
    }).pipe(withNode({ registry: inApprovalMode })))

  for (const [name, call] of [["resolve", resolve], ["refresh", refresh]] as const) {
    /** Starts a call, makes a decision while its fetch is in progress, and returns how the call ended. */
    const deciding = <E>(decide: Effect.Effect<unknown, E, ClientRegistry.ClientRegistry>) =>
      Effect.gen(function*() {
        yield* serve({ body: JSON.stringify(documentOf(client)), delay: "200 millis" })
        const calling = yield* Effect.fork(outcomeOf(call()))
        yield* untilRequests(1)
        yield* decide
        return yield* Fiber.join(calling)
      })

    it.live(`REG-10: a block during the fetch of ${name} applies to its result`, () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        expect(yield* deciding(registry.block("app.example", operator))).toBe("ClientBlocked")
      }).pipe(withNode()))

    it.live(`REG-09: a pin during the fetch of ${name} is returned`, () =>
      Effect.gen(function*() {
        expect(yield* deciding(pin())).toBe("pin")
      }).pipe(withNode()))

    it.live(`REG-12: a rejection during the fetch of ${name} applies to its result`, () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = yield* idOf(client)
        yield* registry.approve(clientId, operator)
        expect(yield* deciding(registry.reject(clientId, operator))).toBe("ClientUnapproved")
      }).pipe(withNode({ registry: inApprovalMode })))
  }
})

describe("pins", () => {
  /** A profile with a rule that counts its runs. */
  const counting = (check: Validator.Rule["check"] = () => Effect.succeed([])) => {
    const runs: Array<string> = []
    const profile: Validator.Profile = {
      rules: [{
        id: "count-1",
        check: (metadata, clientId) =>
          Effect.suspend(() => {
            runs.push(clientId)
            return check(metadata, clientId)
          })
      }]
    }
    return { runs, profile }
  }

  const refusing: Validator.Rule["check"] = () =>
    Effect.succeed([{ rule: "count-1", severity: "error", path: "", message: "No.", source: "a test" }])

  /** Calls everything that reads a pin, some of it at the same time. */
  const strangers = Effect.gen(function*() {
    const resolver = yield* Resolver.Resolver
    const calls: ReadonlyArray<Call<never>> = [
      ...Array.from({ length: 50 }, () => resolver.resolve(client)),
      ...Array.from({ length: 10 }, () => resolver.refresh(client)),
      resolver.recall(client)
    ]
    const outcomes = yield* Effect.forEach(calls, (call) => outcomeOf(call), { concurrency: "unbounded" })
    return new Set([...outcomes, ...(yield* Effect.forEach(calls, (call) => outcomeOf(call)))])
  })

  for (const [time, delay] of [["at once", 0], ["slowly", 50]] as const) {
    const slowly = (check: Validator.Rule["check"]): Validator.Rule["check"] => (metadata, clientId) =>
      delay === 0 ? check(metadata, clientId) : Effect.delay(check(metadata, clientId), delay)

    it.live(`REG-09: a pinned document is never fetched, and validated once, by rules that run ${time}`, () => {
      const { profile, runs } = counting(slowly(() => Effect.succeed([])))
      return Effect.gen(function*() {
        yield* serveDocument()
        yield* consent()
        yield* pin()
        runs.length = 0
        expect(yield* strangers).toEqual(new Set(["pin"]))
        expect(yield* resolve()).toMatchObject({
          source: "pin",
          stale: false,
          fetchedAt: undefined,
          lifetimeMillis: undefined,
          document: { metadata: { client_name: "Pinned" } }
        })
        expect(yield* recall()).toMatchObject({ source: "pin", expired: false, changed: "display" })
        expect(runs).toEqual([client])
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ profile }))
    })

    it.live(`REG-09: the refusal of a pinned document is remembered, by rules that run ${time}`, () => {
      let refused = false
      const { profile, runs } = counting(
        slowly((metadata, clientId) => refused ? refusing(metadata, clientId) : Effect.succeed([]))
      )
      return Effect.gen(function*() {
        yield* serveDocument()
        yield* consent()
        yield* pin()
        refused = true
        runs.length = 0
        expect(yield* strangers).toEqual(new Set(["InvalidDocument"]))
        expect(runs).toEqual([client])
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ profile }))
    })
  }

  it.live("REG-09: a pin that this node refuses withdraws nothing, and other nodes serve it", () =>
    Effect.gen(function*() {
      const { nodeOf, registry } = yield* cluster({ cache: Cache.layerMemory({ staleIfError: "1 hour" }) })
      const plain = yield* nodeOf()
      const strict = yield* nodeOf({ required: ["software_id"] })
      const supporting = yield* nodeOf({ authMethods: ["private_key_jwt"] })
      yield* serveDocument({ "Cache-Control": "max-age=1" })
      yield* registry.confirm(yield* plain.resolve(client))
      yield* registry.pin(yield* acceptedFor(client), operator)
      for (
        const [resolver, outcome] of [
          [strict, "InvalidDocument"],
          [supporting, "UnauthorizedClient"],
          [plain, "pin"]
        ] as const
      ) {
        expect(yield* outcomeOf(resolver.resolve(client))).toBe(outcome)
        expect(yield* outcomeOf(resolver.refresh(client))).toBe(outcome)
        expect(yield* outcomeOf(resolver.recall(client))).toBe(outcome)
      }
      expect(yield* requestCount).toBe(1)
      const clientId = yield* idOf(client)
      expect((yield* registry.show(clientId)).withdrawals).toEqual([])
      yield* registry.unpin(clientId, operator)
      yield* serve({ status: 503 })
      yield* Effect.sleep("1100 millis")
      // A withdrawal would forbid the stale document.
      expect(yield* plain.resolve(client)).toMatchObject({ stale: true })
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

  it.live("REG-09: the defect of a custom rule is not remembered", () => {
    let broken = true
    const { profile, runs } = counting(() => broken ? Effect.die("broken") : Effect.succeed([]))
    return Effect.gen(function*() {
      yield* pin()
      expect((yield* Effect.exit(resolve()))._tag).toBe("Failure")
      broken = false
      expect(yield* outcomeOf(resolve())).toBe("pin")
      expect(runs).toHaveLength(2)
    }).pipe(withNode({ profile }))
  })

  it.live("REG-09: a new pin is validated again", () =>
    Effect.gen(function*() {
      yield* pin(client, { client_name: "One" })
      expect((yield* resolve()).document.metadata.client_name).toBe("One")
      yield* pin(client, { client_name: "Two" })
      expect((yield* resolve()).document.metadata.client_name).toBe("Two")
    }).pipe(withNode()))

  it.live("REG-09: a pin outlives an eviction from registry and cache", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const cache = yield* Cache.Cache
      const clientId = yield* idOf(client)
      yield* pin()
      yield* registry.confirm(yield* resolve())
      yield* registry.evict(clientId, operator)
      yield* cache.evict(clientId)
      expect([yield* outcomeOf(resolve()), yield* outcomeOf(recall())]).toEqual(["pin", "pin"])
      expect(yield* requestCount).toBe(0)
    }).pipe(withNode()))
})

describe("a registry that fails", () => {
  const away = Effect.fail(new ClientRegistry.RegistryError({ operation: "admission", cause: new Error("away") }))

  /** The registry in memory, with other methods as long as `failing.now` is true. */
  const breakable = (
    methods: (registry: ClientRegistry.ClientRegistry["Type"]) => {
      readonly [Method in keyof ClientRegistry.ClientRegistry["Type"]]?: ClientRegistry.ClientRegistry["Type"][Method]
    }
  ) => {
    const failing = { now: false }
    const registry = Layer.provide(
      Layer.effect(
        ClientRegistry.ClientRegistry,
        Effect.map(
          ClientRegistry.ClientRegistry,
          (registry) =>
            new Proxy(registry, {
              get: (target, name, receiver) =>
                Reflect.get(failing.now ? { ...target, ...methods(target) } : target, name, receiver)
            })
        )
      ),
      ClientRegistry.layerMemory()
    )
    return { failing, registry }
  }

  it.live("REG-14: nothing is served, neither from memory nor from the origin, and clients keep their credentials", () => {
    const { failing, registry } = breakable(() => ({ peekAdmission: () => undefined, admission: () => away }))
    return Effect.gen(function*() {
      yield* serveDocument()
      yield* consent()
      failing.now = true
      const calls: ReadonlyArray<Call<Resolver.Resolver>> = [
        resolve(),
        refresh(),
        recall(),
        resolve("https://other.example/c")
      ]
      for (const call of calls) {
        expect(yield* Effect.flip(call)).toMatchObject({
          _tag: "RegistryError",
          oauthError: { error: "temporarily_unavailable" }
        })
      }
      expect(yield* requestCount).toBe(1)
      failing.now = false
      expect(yield* outcomeOf(resolve())).toBe("memory")
    }).pipe(withNode({ registry }))
  })

  it.live("REG-14: a registry that fails during the fetch fails the resolve", () => {
    const { failing, registry } = breakable(() => ({ peekAdmission: () => undefined, admission: () => away }))
    return Effect.gen(function*() {
      yield* serve({ body: JSON.stringify(documentOf(client)), delay: "200 millis" })
      const resolving = yield* Effect.fork(outcomeOf(resolve()))
      yield* untilRequests(1)
      failing.now = true
      expect(yield* Fiber.join(resolving)).toBe("RegistryError")
    }).pipe(withNode({ registry }))
  })

  it.live("REG-14: a recall that the registry cannot answer fails for now, without a request", () => {
    const { failing, registry } = breakable(() => ({ recall: () => away }))
    return Effect.gen(function*() {
      yield* serveDocument()
      yield* consent()
      failing.now = true
      expect(yield* Effect.flip(recall())).toMatchObject({ _tag: "RegistryError" })
      expect(yield* requestCount).toBe(1)
    }).pipe(withNode({ registry }))
  })

  it.live("REG-10: a decision that is not in memory is waited for", () => {
    const { failing, registry } = breakable((registry) => ({
      peekAdmission: () => undefined,
      admission: (clientId) => Effect.delay(registry.admission(clientId), "20 millis")
    }))
    return Effect.gen(function*() {
      yield* serveDocument()
      yield* resolve()
      failing.now = true
      expect(yield* outcomeOf(resolve())).toBe("memory")
      yield* Effect.flatMap(ClientRegistry.ClientRegistry, (registry) => registry.block(client, operator))
      expect(yield* outcomeOf(resolve())).toBe("ClientBlocked")
    }).pipe(withNode({ registry }))
  })

  it.live("REG-02, REG-07: a failed record of a fetch or a withdrawal is a warning, and the resolve succeeds", () => {
    const { failing, registry } = breakable(() => ({ recordFetch: () => away, withdraw: () => away }))
    const warnings: Array<string> = []
    const logger = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ logLevel, message }) => {
        warnings.push(`${logLevel.label} ${String(message)}`)
      })
    )
    return Effect.gen(function*() {
      failing.now = true
      yield* serveDocument()
      expect(yield* outcomeOf(resolve())).toBe("origin")
      expect(yield* outcomeOf(resolve())).toBe("memory")
      yield* serve({ status: 404 })
      expect((yield* Effect.flip(refresh()))._tag).toBe("UnexpectedStatus")
      expect(warnings).toEqual([
        "WARN Could not record a fetch in the client registry",
        "WARN Could not record a withdrawal in the client registry"
      ])
    }).pipe(withNode({ registry }), Effect.provide(logger))
  })

  it.live("a memory hit asks the registry once, without waiting", () => {
    const asked: Array<string> = []
    const { failing, registry } = breakable((registry) => ({
      peekAdmission: (clientId) => {
        asked.push("peekAdmission")
        return registry.peekAdmission(clientId)
      },
      admission: () => Effect.dieMessage("A memory hit does not wait")
    }))
    return Effect.gen(function*() {
      yield* serveDocument()
      yield* resolve()
      failing.now = true
      const hit = Effect.runSync(yield* Effect.map(Resolver.Resolver, (resolver) => resolver.resolve(client)))
      expect(hit.source).toBe("memory")
      expect(asked).toEqual(["peekAdmission"])
    }).pipe(withNode({ registry }))
  })
})

describe("recall", () => {
  const day = { "Cache-Control": "max-age=86400" }

  it.live("REG-05: right after the consent, the document is recalled and not expired, from any source", () =>
    Effect.gen(function*() {
      yield* serveDocument(day)
      const fetched = yield* consent()
      expect(fetched.source).toBe("origin")
      // The time since the response arrived is subtracted.
      expect(fetched.lifetimeMillis).toBeGreaterThan(86_390_000)
      expect(fetched.lifetimeMillis).toBeLessThanOrEqual(86_400_000)
      expect(yield* recall()).toEqual({
        document: fetched.document,
        source: "origin",
        fetchedAt: fetched.fetchedAt,
        expired: false,
        changed: "none"
      })
      const cached = yield* consent()
      expect(cached).toEqual({ ...fetched, source: "memory" })
      expect(yield* recall()).toMatchObject({ fetchedAt: fetched.fetchedAt, expired: false })
      expect(yield* requestCount).toBe(1)
    }).pipe(withNode()))

  it.live("REG-05: an invalid client identifier and a client that nobody confirmed cause no request", () =>
    Effect.gen(function*() {
      yield* serveDocument()
      expect((yield* Effect.flip(recall("my-client")))._tag).toBe("InvalidClientId")
      yield* resolve()
      expect(yield* Effect.flip(recall())).toMatchObject({
        reason: "unconfirmed",
        oauthError: { error: "temporarily_unavailable" }
      })
      yield* Effect.sleep("50 millis")
      expect(yield* requestCount).toBe(1)
    }).pipe(withNode()))

  for (const [fault, answer] of [["fails", { status: 503 }], ["is silent", { delay: "1 minute" }]] as const) {
    it.live(`REG-05: while the origin ${fault}, a document is recalled past its lifetime, without waiting`, () => {
      const { forward, run } = ShiftedClock.make()
      return Effect.gen(function*() {
        yield* serveDocument(day)
        yield* consent()
        yield* serve(answer)
        yield* forward("20 days")
        for (let i = 0; i < 3; i++) {
          expect(yield* Effect.timeout(recall(), "500 millis")).toMatchObject({
            source: "origin",
            expired: true,
            changed: "none",
            document: { clientId: client }
          })
        }
        yield* untilRequests(2)
      }).pipe(withNode(), run)
    })
  }

  it.live("REG-05: an expired document is refreshed in the background, at most once a minute", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      yield* serveDocument(day)
      yield* consent()
      yield* serve({ status: 503 })
      yield* forward("2 days")
      const recalls = Effect.all(Array.from({ length: 50 }, () => recall()), { concurrency: "unbounded" })
      yield* recalls
      yield* untilRequests(2)
      yield* Effect.zipRight(recalls, Effect.delay(recalls, "50 millis"))
      yield* forward("59 seconds")
      yield* Effect.zipRight(recalls, Effect.sleep("50 millis"))
      expect(yield* requestCount).toBe(2)
      yield* forward("1 second")
      yield* serveDocument(day, { client_name: "Renamed" })
      expect(yield* recall()).toMatchObject({ expired: true, document: { metadata: { client_name: "App" } } })
      yield* untilRequests(3)
      yield* Effect.sleep("50 millis")
      expect(yield* recall()).toMatchObject({
        expired: false,
        changed: "display",
        document: { metadata: { client_name: "Renamed" } }
      })
      yield* Effect.zipRight(recalls, Effect.sleep("50 millis"))
      expect(yield* requestCount).toBe(3)
    }).pipe(withNode(), run)
  })

  it.live("REG-05: the refresh in the background keeps to the limits of the fetcher", () => {
    const { forward, run } = ShiftedClock.make()
    const { exits, spans, tracer } = recording()
    return Effect.gen(function*() {
      yield* serveDocument(day)
      yield* consent()
      yield* forward("2 days")
      yield* serve({ status: 503 })
      yield* Effect.flip(refresh())
      expect(yield* requestCount).toBe(2)
      yield* recall().pipe(Effect.withTracer(tracer))
      yield* Effect.sleep("100 millis")
      expect(spans.map(({ name }) => name)).toContain("cimd.refreshRecalled")
      expect(JSON.stringify(exits)).toContain("Throttled")
      expect(yield* requestCount).toBe(2)
    }).pipe(withNode({ fetcher: { backoff: { initial: "1 hour", maximum: "1 hour" } } }), run)
  })

  it.live("REG-05: nodes that recall an expired document share one fetch", () => {
    const cache = Layer.orDie(Layer.provide(PostgresCache.layer(), Postgres.migrated))
    return Effect.gen(function*() {
      const { nodeOf, registry } = yield* cluster({ cache })
      const [one, two, three] = [yield* nodeOf(), yield* nodeOf(), yield* nodeOf()]
      yield* serveDocument({ "Cache-Control": "max-age=0" })
      yield* registry.confirm(yield* one.resolve(client))
      yield* Effect.sleep("50 millis")
      yield* serve({
        headers: day,
        body: JSON.stringify(documentOf(client, { client_name: "Renamed" })),
        delay: "300 millis"
      })
      yield* Effect.forEach([one, two, three], (each) => each.recall(client), { concurrency: "unbounded" })
      const renamed = Effect.map(
        three.recall(client),
        ({ document, expired }) => [document.metadata.client_name, expired] as const
      )
      yield* Effect.repeat(Effect.delay(renamed, "10 millis"), { until: ([name]) => name === "Renamed" }).pipe(
        Effect.timeout("5 seconds")
      )
      expect(yield* renamed).toEqual(["Renamed", false])
      expect(yield* requestCount).toBe(2)
    }).pipe(Effect.scoped, Effect.provide(Origin.layer))
  })

  it.live("REG-05: a fresh document of the cache is recorded if the registry does not have it yet", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const { validate } = yield* Validator.Validator
      yield* serveDocument(day)
      yield* consent()
      yield* forward("2 days")
      const body = new TextEncoder().encode(JSON.stringify(documentOf(client, { client_name: "Renamed" })))
      const fetchedAt = yield* cache.now
      yield* cache.put(yield* validate(yield* idOf(client), body), { fetchedAt, timeToLive: "1 hour" })
      expect(yield* recall()).toMatchObject({ expired: true })
      yield* Effect.sleep("50 millis")
      expect(yield* recall()).toMatchObject({ expired: false, fetchedAt, changed: "display" })
      // It expires when the entry of the cache does.
      yield* forward("61 minutes")
      expect(yield* recall()).toMatchObject({ expired: true })
      yield* untilRequests(2)
    }).pipe(withNode(), run)
  })

  it.live("REG-05, REG-08: a client that is too old is not recalled, until the refresh in the background has fetched it", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const cache = yield* Cache.Cache
      const clientId = yield* idOf(client)
      const tooOld = { _tag: "NotRecalled", reason: "tooOld", oauthError: { error: "temporarily_unavailable" } }
      yield* serveDocument(day)
      yield* consent()
      yield* forward("31 days")
      expect(yield* Effect.flip(recall())).toMatchObject(tooOld)
      yield* untilRequests(2)
      yield* Effect.sleep("50 millis")
      expect(yield* recall()).toMatchObject({ expired: false })
      yield* registry.evict(clientId, operator)
      yield* cache.evict(clientId)
      yield* forward("1 minute")
      expect(yield* Effect.flip(recall())).toMatchObject(tooOld)
      yield* untilRequests(3)
      yield* Effect.sleep("50 millis")
      expect(yield* recall()).toMatchObject({ expired: false })
    }).pipe(withNode(), run)
  })

  it.live("REG-07: two fetches a minute apart that find the document gone end recall, and a good one begins it again", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      yield* serveDocument(day)
      yield* consent()
      yield* serve({ status: 404 })
      yield* Effect.flip(refresh())
      expect(yield* outcomeOf(recall())).toBe("origin")
      yield* forward("50 seconds")
      yield* Effect.flip(refresh())
      expect(yield* outcomeOf(recall())).toBe("origin")
      yield* forward("11 seconds")
      yield* Effect.flip(refresh())
      expect(yield* Effect.flip(recall())).toMatchObject({
        _tag: "NotRecalled",
        reason: "withdrawn",
        oauthError: { error: "invalid_client" }
      })
      yield* serveDocument(day)
      yield* refresh()
      expect(yield* outcomeOf(recall())).toBe("origin")
    }).pipe(withNode(), run)
  })

  it.live("REG-07: a failure that is no verdict on the client withdraws nothing", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      yield* serveDocument(day)
      yield* consent()
      for (const answer of [{ status: 503 }, { status: 403 }, { body: "<p>" }, { status: 302 }] as const) {
        yield* serve(answer)
        yield* Effect.flip(refresh())
        yield* forward("2 minutes")
      }
      expect(yield* outcomeOf(recall())).toBe("origin")
    }).pipe(withNode(), run)
  })

  it.live("REG-07: a document that one profile refuses is withdrawn for its nodes, and recalled by the others", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      const { nodeOf, registry } = yield* cluster()
      const [plain, mcp] = [yield* nodeOf(), yield* nodeOf(Validator.mcp)]
      yield* serveDocument(day)
      yield* registry.confirm(yield* plain.resolve(client))
      yield* serveDocument(day, { client_name: undefined })
      for (const _ of [1, 2]) {
        yield* Effect.flip(mcp.refresh(client))
        yield* forward("61 seconds")
      }
      expect(yield* outcomeOf(mcp.recall(client))).toBe("NotRecalled withdrawn")
      expect(yield* outcomeOf(plain.recall(client))).toBe("origin")
      // Once another node has fetched it, this node refuses the document itself.
      yield* plain.refresh(client)
      expect(yield* outcomeOf(mcp.recall(client))).toBe("InvalidDocument")
      expect(yield* plain.recall(client)).toMatchObject({ changed: "display" })
    }).pipe(Effect.scoped, Effect.provide(Origin.layer), run)
  })

  it.live("REG-06: redirect URIs that someone else put there are recalled as a change of security", () =>
    Effect.gen(function*() {
      yield* serveDocument(day)
      yield* consent()
      yield* serveDocument(day, { redirect_uris: ["https://evil.example/callback"] })
      yield* refresh()
      const { changed, document } = yield* recall()
      expect(changed).toBe("security")
      expect(document.metadata.redirect_uris).toEqual(["https://evil.example/callback"])
      yield* consent()
      expect(yield* recall()).toMatchObject({ changed: "none" })
    }).pipe(withNode()))

  it.live("REG-03: a client whose document must not be stored is confirmed and recalled", () => {
    const { forward, run } = ShiftedClock.make()
    return Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "no-store" })
      expect(yield* consent()).toMatchObject({ lifetimeMillis: 0 })
      expect(yield* recall()).toMatchObject({ source: "origin", expired: true, changed: "none" })
      yield* untilRequests(2)
      yield* Effect.sleep("50 millis")
      yield* serveDocument({ "Cache-Control": "no-store" }, { redirect_uris: ["https://app.example/new"] })
      yield* forward("1 minute")
      yield* recall()
      yield* untilRequests(3)
      yield* Effect.sleep("50 millis")
      expect(yield* recall()).toMatchObject({ changed: "security" })
    }).pipe(withNode(), run)
  })

  it.live("REG-02: a fetch of a client that nobody confirmed writes nothing", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const clientId = yield* idOf(client)
      yield* serveDocument()
      yield* resolve()
      yield* serve({ status: 404 })
      yield* Effect.flip(refresh())
      expect(yield* registry.show(clientId)).toMatchObject({
        consented: undefined,
        accepted: undefined,
        withdrawals: [],
        usedAt: undefined
      })
    }).pipe(withNode()))
})

describe("events", () => {
  it.live("REG-13: each refusal is an event with the error, and what may pass is not", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const at = (path: string) => `https://app.example/${path}`
      const receiving = yield* Effect.fork(
        registry.events.pipe(
          Stream.filterMap((event) => event._tag === "Refused" ? Option.some(event) : Option.none()),
          Stream.takeUntil(({ clientId }) => clientId === "the last one"),
          Stream.runCollect
        )
      )
      yield* Effect.sleep("50 millis")
      yield* serve({ status: 503 }, at("503"))
      yield* serve({ body: "{}" }, at("invalid"))
      yield* serveDocument({ "Cache-Control": "max-age=0" }, {}, at("withdrawn"))
      yield* registry.block(at("blocked"), operator)
      const calls: ReadonlyArray<Call<Resolver.Resolver>> = [
        resolve(at("503")),
        resolve(at("404")),
        refresh(at("404")),
        resolve(at("invalid")),
        recall(at("unconfirmed")),
        resolve("https://127.0.0.1/"),
        recall("no URL"),
        resolve(at("blocked")),
        recall(at("blocked")),
        resolve("x".repeat(1_000_000)),
        // Programs without types pass whatever a request contains.
        resolve(null as unknown as string)
      ]
      for (const call of calls) yield* Effect.flip(call)
      yield* Effect.flip(resolve("the last one"))
      const received = Chunk.toReadonlyArray(yield* Fiber.join(receiving))
      expect(received.map(({ clientId, error }) => [clientId, error])).toEqual([
        [at("404"), "UnexpectedStatus"],
        [at("404"), "UnexpectedStatus"],
        [at("invalid"), "InvalidDocument"],
        ["https://127.0.0.1/", "InvalidClientId"],
        ["no URL", "InvalidClientId"],
        [at("blocked"), "ClientBlocked"],
        [at("blocked"), "NotRecalled"],
        ["x".repeat(2048), "InvalidClientId"],
        ["null", "InvalidClientId"],
        ["the last one", "InvalidClientId"]
      ])
    }).pipe(withNode()))

  it.live("REG-13: a client in memory that the host policy refuses by now is an event", () => {
    let open = true
    const policy = policyWith((clientId) =>
      Effect.suspend(() =>
        open ? Effect.void : new HostPolicy.HostRefused({ clientId, host: "app.example", reason: "closed" })
      )
    )
    return Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      yield* serveDocument()
      yield* resolve()
      const receiving = yield* Effect.fork(Stream.runHead(registry.events))
      yield* Effect.sleep("50 millis")
      open = false
      expect(yield* outcomeOf(resolve())).toBe("HostRefused")
      expect(Option.getOrUndefined(yield* Fiber.join(receiving))).toMatchObject({
        _tag: "Refused",
        clientId: client,
        error: "HostRefused"
      })
    }).pipe(withNode({ policy }))
  })
})
