import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import type { ClientId, InvalidOptions } from "effect-cimd"
import { Cache, ClientRegistry, Fetcher, HostPolicy, OAuthError, PostgresCache, Resolver, Validator } from "effect-cimd"
import { DialerTest, FetcherTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Chunk from "effect/Chunk"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import { inspect } from "node:util"
import { policyWith } from "./support/hostPolicy.js"
import * as Postgres from "./support/postgres.js"
import { recording } from "./support/recording.js"

const client = "https://app.example/client.json"
const documentOf = (url: string, members: object = {}) => ({
  client_id: url,
  client_name: "App",
  redirect_uris: ["https://app.example/callback"],
  ...members
})

interface World {
  readonly cache?: Layer.Layer<Cache.Cache, InvalidOptions.InvalidOptions>
  readonly resolver?: Resolver.Options
  readonly policy?: Layer.Layer<HostPolicy.HostPolicy>
  readonly profile?: Validator.Profile
  readonly fetcher?: Layer.Layer<Fetcher.Fetcher, InvalidOptions.InvalidOptions, Origin.Origin | HostPolicy.HostPolicy>
}

const postgres = (options?: PostgresCache.Options) =>
  Layer.orDie(Layer.provide(PostgresCache.layer(options), Postgres.migrated))

/** One node over a scripted origin, with every guard in force. */
const node = (
  {
    cache = Cache.layerMemory(),
    fetcher = FetcherTest.layer(),
    policy = HostPolicy.layerPublic,
    profile,
    resolver
  }: World = {}
) =>
  Resolver.layer(resolver).pipe(
    Layer.provideMerge(Layer.mergeAll(fetcher, Validator.layer(profile), cache, ClientRegistry.layerMemory())),
    Layer.provide(policy)
  )

/** A real fetcher with little patience, whose name lookups and connections fail from when they are told to. */
const makeBreakable = () => {
  const way = { found: true, open: true, isPublic: true }
  const fetcher = Layer.unwrapEffect(
    Effect.map(
      Origin.Origin,
      ({ ca, port }) =>
        Fetcher.layerWithoutDependencies({ ca, timeout: "1 second", backoff: { initial: 0, maximum: 0 } }).pipe(
          Layer.provide(DialerTest.layerWith(() => way.open ? port : undefined)),
          Layer.provide(
            NameLookupTest.layer((host) =>
              way.found
                ? Effect.succeed(way.isPublic ? Origin.publicAddresses : ["10.0.0.1"])
                : NameLookupTest.notFound(host)
            )
          )
        )
    )
  )
  return { way, fetcher }
}

const withNode = (world: World = {}) => Effect.provide(Layer.provideMerge(node(world), Origin.layer))

const resolve = (url = client) => Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve(url))
const serve = (answer: Parameters<Origin.Origin["Type"]["serve"]>[1], url = client) =>
  Effect.flatMap(Origin.Origin, (origin) => origin.serve(url, answer))
const serveDocument = (headers: Record<string, string> = {}, members: object = {}, url = client) =>
  Effect.flatMap(Origin.Origin, (origin) => origin.document(url, documentOf(url, members), headers))
const requestCount = Effect.flatMap(Origin.Origin, (origin) => Effect.map(origin.requests, ({ length }) => length))

const short = { minimum: "1 milli" } as const

for (const [name, cache] of [["memory", () => Cache.layerMemory()], ["Postgres", () => postgres()]] as const) {
  describe(`Resolver over the cache in ${name}`, () => {
    it.live("fetches once, then returns the cached document while it is fresh", () =>
      Effect.gen(function*() {
        yield* serveDocument({ "Cache-Control": "max-age=600" })
        const first = yield* resolve()
        expect(first.source).toBe("origin")
        expect(first.document.metadata.client_name).toBe("App")
        const second = yield* resolve()
        expect(second.source).toBe(name.toLowerCase())
        expect(second.document.json).toEqual(first.document.json)
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ cache: cache() })))

    it.live("CAC-03: an expired document is fetched again", () =>
      Effect.gen(function*() {
        yield* serveDocument({ "Cache-Control": "max-age=0" })
        expect((yield* resolve()).source).toBe("origin")
        yield* serveDocument({ "Cache-Control": "max-age=600" }, { client_name: "Renamed" })
        yield* Effect.sleep("20 millis")
        const again = yield* resolve()
        expect([again.source, again.document.metadata.client_name]).toEqual(["origin", "Renamed"])
      }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))

    it.live("CAC-02: failures and invalid documents are neither stored nor replace a document", () =>
      Effect.gen(function*() {
        const resolver = yield* Resolver.Resolver
        yield* serve({ status: 500 })
        expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
        yield* serveDocument({}, { client_secret: "x" })
        expect((yield* Effect.flip(resolve()))._tag).toBe("InvalidDocument")
        yield* serveDocument()
        expect((yield* resolve()).source).toBe("origin")
        yield* serve({ status: 404 })
        expect((yield* Effect.flip(resolver.refresh(client)))._tag).toBe("UnexpectedStatus")
        yield* serveDocument({}, { client_id: "https://other.example/" })
        expect((yield* Effect.flip(resolver.refresh(client)))._tag).toBe("InvalidDocument")
        expect((yield* resolve()).source).toBe(name.toLowerCase())
      }).pipe(withNode({ cache: cache() })))

    it.live("FRS-03: a document that must not be stored serves the request and concurrent callers", () =>
      Effect.gen(function*() {
        yield* serve(() => ({
          headers: { "Cache-Control": "no-store" },
          body: JSON.stringify(documentOf(client)),
          delay: "100 millis"
        }))
        const answers = yield* Effect.all(Array.from({ length: 20 }, () => resolve()), { concurrency: "unbounded" })
        expect(new Set(answers.map(({ source }) => source))).toEqual(new Set(["origin"]))
        expect(yield* requestCount).toBe(1)
        expect((yield* resolve()).source).toBe("origin")
        expect(yield* requestCount).toBe(2)
      }).pipe(withNode({ cache: cache() })))

    it.live("FET-14: concurrent callers share one fetch and its failure", () =>
      Effect.gen(function*() {
        yield* serve({ status: 503, delay: "100 millis" })
        const errors = yield* Effect.all(Array.from({ length: 50 }, () => Effect.flip(resolve())), {
          concurrency: "unbounded"
        })
        expect(new Set(errors.map((error) => error._tag))).toEqual(new Set(["UnexpectedStatus"]))
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ cache: cache() })))

    it.live("FET-11: an interrupted caller fails nobody else", () =>
      Effect.gen(function*() {
        yield* serve({ body: JSON.stringify(documentOf(client)), delay: "200 millis" })
        const first = yield* Effect.fork(resolve())
        const others = yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.fork(resolve()))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(first)
        expect((yield* Effect.forEach(others, Fiber.join)).map(({ source }) => source)).toEqual(Array(5).fill("origin"))
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ cache: cache() })))

    it.live("FET-11: the last caller to leave closes the connection", () =>
      Effect.gen(function*() {
        yield* serve({ delay: "10 seconds" })
        const caller = yield* Effect.fork(resolve())
        yield* Effect.repeat(Effect.delay(requestCount, "5 millis"), { until: (count) => count === 1 })
        yield* Fiber.interrupt(caller)
        const origin = yield* Origin.Origin
        yield* Effect.repeat(Effect.delay(origin.connections, "5 millis"), { until: ({ open }) => open === 0 }).pipe(
          Effect.timeout("2 seconds")
        )
      }).pipe(withNode({ cache: cache() })))

    /** Resolvers of two profiles over one cache. */
    const over = (shared: Context.Context<Cache.Cache>, profile: Validator.Profile) =>
      Effect.map(
        Layer.build(Layer.fresh(node({ profile, cache: Layer.succeedContext(shared) }))),
        Context.get(Resolver.Resolver)
      )

    it.live("CAC-11: resolvers of two profiles are both served from what one of them fetched", () =>
      Effect.gen(function*() {
        const shared = yield* Layer.build(cache())
        const [plain, mcp] = [yield* over(shared, {}), yield* over(shared, Validator.mcp)]
        yield* serveDocument()
        expect((yield* plain.resolve(client)).source).toBe("origin")
        const rulesets = new Set<string>()
        for (let i = 0; i < 3; i++) {
          for (const resolver of [mcp, plain]) {
            const { document, source } = yield* resolver.resolve(client)
            expect(source).toBe(name.toLowerCase())
            rulesets.add(document.ruleset)
          }
        }
        expect(rulesets.size).toBe(2)
        expect(yield* requestCount).toBe(1)
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

    it.live("CAC-11: a document that one profile refuses is not served to it, and stays for the other one", () =>
      Effect.gen(function*() {
        const shared = yield* Layer.build(cache())
        const [plain, strict] = [yield* over(shared, {}), yield* over(shared, { required: ["software_id"] })]
        yield* serveDocument()
        yield* plain.resolve(client)
        for (let i = 0; i < 2; i++) {
          expect((yield* Effect.flip(strict.resolve(client)))._tag).toBe("InvalidDocument")
          expect((yield* Effect.flip(strict.refresh(client)))._tag).toBe("InvalidDocument")
          expect((yield* plain.resolve(client)).source).toBe(name.toLowerCase())
        }
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))
  })
}

describe("Resolver", () => {
  it.live("URL-12: an invalid client identifier is a typed error and reaches neither cache nor network", () =>
    Effect.gen(function*() {
      for (const input of ["my-client", "http://app.example/c", "https://app.example/#", "https://127.0.0.1/c"]) {
        const error = yield* Effect.flip(resolve(input))
        expect(error).toMatchObject({ _tag: "InvalidClientId", oauthError: { error: "invalid_client" } })
      }
      expect(yield* requestCount).toBe(0)
    }).pipe(withNode()))

  it.live("URL-09: the maximum length is configurable", () =>
    Effect.gen(function*() {
      expect((yield* Effect.flip(resolve()))._tag).toBe("InvalidClientId")
    }).pipe(withNode({ resolver: { maxClientIdLength: 20 } })))

  it.live("ADR-07: a changed host policy takes effect at once, before the cache", () =>
    Effect.gen(function*() {
      const open = yield* Ref.make(true)
      const policy = policyWith((clientId) =>
        Effect.if(Ref.get(open), {
          onTrue: () => Effect.void,
          onFalse: () => new HostPolicy.HostRefused({ clientId, host: "app.example", reason: "closed by a test" })
        })
      )
      yield* Effect.gen(function*() {
        yield* serveDocument()
        yield* resolve()
        expect((yield* resolve()).source).toBe("memory")
        yield* Ref.set(open, false)
        expect((yield* Effect.flip(resolve()))._tag).toBe("HostRefused")
        expect(yield* requestCount).toBe(1)
      }).pipe(withNode({ policy }))
    }))

  it.live("FET-12: the OAuth client sees one error for every verdict, and another one for every other cause", () =>
    Effect.gen(function*() {
      yield* serve({ status: 500 }, "https://app.example/500")
      yield* serve({ status: 302, headers: { Location: "http://127.0.0.1/secret" } }, "https://app.example/302")
      yield* serve({ headers: { "Content-Type": "text/html" }, body: "<p>Login" }, "https://app.example/html")
      yield* serve({ status: 410 }, "https://app.example/410")
      yield* serve({ status: 429 }, "https://app.example/429")
      yield* serve({ body: "{}" }, "https://app.example/json")
      const errorsOf = (urls: ReadonlyArray<string>) => Effect.forEach(urls, (url) => Effect.flip(resolve(url)))
      const at = (path: string) => `https://app.example/${path}`
      const verdicts = yield* errorsOf([at("json"), at("404"), at("410"), "nonsense"])
      const others = yield* errorsOf([at("500"), at("302"), at("html"), at("429")])
      const codes = (errors: ReadonlyArray<Resolver.ResolveError>) =>
        new Set(errors.map(({ oauthError }) => JSON.stringify(oauthError)))
      expect(codes(verdicts)).toEqual(new Set([JSON.stringify(OAuthError.invalidClient)]))
      expect(codes(others)).toEqual(new Set([JSON.stringify(OAuthError.temporarilyUnavailable)]))
      expect(new Set([...verdicts, ...others].map((error) => error.message)).size).toBe(8)
    }).pipe(withNode()))

  it.live("FET-12: spans hold the host of a client and nothing else of its URL", () =>
    Effect.gen(function*() {
      const { events, exits, spans, tracer } = recording()
      const url = "https://app.example/p4th.json?code=qu3ry"
      yield* serve({ body: "{" }, url)
      yield* Effect.flip(resolve(url)).pipe(Effect.withTracer(tracer))
      yield* Effect.flip(Effect.flatMap(Resolver.Resolver, ({ refresh }) => refresh(url))).pipe(
        Effect.withTracer(tracer)
      )
      expect(new Set(spans.map(({ name }) => name))).toEqual(new Set(["cimd.resolve", "cimd.refresh", "cimd.fetch"]))
      expect(spans.map(({ attributes }) => attributes.get("cimd.host"))).toEqual(spans.map(() => "app.example"))
      const told = inspect([events, exits, spans.map(({ attributes }) => attributes)], { depth: 9 })
      expect(told).toContain("InvalidDocument")
      expect(told).not.toMatch(/p4th|qu3ry/)
    }).pipe(withNode()))

  it.live("DOC-22: a client without a supported authentication method is unauthorized", () =>
    Effect.gen(function*() {
      yield* serveDocument()
      const error = yield* Effect.flip(resolve())
      expect(error).toMatchObject({ _tag: "UnauthorizedClient", oauthError: { error: "unauthorized_client" } })
    }).pipe(withNode({ profile: { authMethods: ["private_key_jwt"] } })))

  it.live("refresh fetches although the cache is fresh, and replaces the stored document", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      yield* serveDocument()
      yield* resolve()
      yield* serveDocument({}, { client_name: "Renamed" })
      expect((yield* resolver.refresh(client)).document.metadata.client_name).toBe("Renamed")
      expect((yield* resolve()).document.metadata.client_name).toBe("Renamed")
      expect(yield* requestCount).toBe(2)
    }).pipe(withNode()))

  it.live("refresh does not share a fetch that started before the call", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      yield* serve({ body: JSON.stringify(documentOf(client, { client_name: "Old" })), delay: "200 millis" })
      const first = yield* Effect.fork(resolver.refresh(client))
      yield* Effect.repeat(Effect.delay(requestCount, "5 millis"), { until: (count) => count === 1 })
      yield* serveDocument({}, { client_name: "New" })
      const later = yield* Effect.all(Array.from({ length: 10 }, () => resolver.refresh(client)), {
        concurrency: "unbounded"
      })
      expect(new Set(later.map(({ document }) => document.metadata.client_name))).toEqual(new Set(["New"]))
      expect((yield* Fiber.join(first)).document.metadata.client_name).toBe("Old")
      expect((yield* resolve()).document.metadata.client_name).toBe("New")
      expect(yield* requestCount).toBe(2)
    }).pipe(withNode()))

  it.live("FRS-03: a refresh that must not be stored removes the stored document", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      yield* serveDocument()
      yield* resolve()
      yield* serveDocument({ "Cache-Control": "no-store" }, { client_name: "New" })
      yield* resolver.refresh(client)
      const again = yield* resolve()
      expect([again.source, again.document.metadata.client_name]).toEqual(["origin", "New"])
    }).pipe(withNode()))

  it.live("reads its options from Config and fails for invalid ones", () =>
    Effect.gen(function*() {
      const under = (length: string) =>
        Effect.provide(resolve(), Resolver.layerConfig({ maxClientIdLength: Config.integer("LENGTH") })).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["LENGTH", length]])))
        )
      yield* serveDocument()
      expect((yield* Effect.flip(under(`${client.length - 1}`)))._tag).toBe("InvalidClientId")
      expect((yield* under(`${client.length}`)).document.clientId).toBe(client)
      expect((yield* Effect.flip(under("0")))._tag).toBe("InvalidOptions")
      expect((yield* Effect.flip(under("long")))._tag).toBe("ConfigError")
    }).pipe(
      Effect.provide(
        Layer.mergeAll(FetcherTest.layer(), Validator.layer(), Cache.layerMemory(), ClientRegistry.layerMemory())
      ),
      Effect.provide(Layer.merge(HostPolicy.layerPublic, Origin.layer))
    ))

  for (
    const options of [
      { refreshAhead: 0.51 },
      { refreshAhead: -0.1 },
      { refreshAhead: Number.NaN },
      { maxClientIdLength: 0 },
      { maxClientIdLength: 2049 },
      { maxClientIdLength: 12.5 },
      { freshness: { minimum: "2 days" } },
      { freshness: { maximum: "soon" as never } },
      { freshness: { noCache: Number.POSITIVE_INFINITY } },
      { freshness: { fallback: Number.NaN } }
    ] as const
  ) {
    it.live(`does not build with invalid options: ${JSON.stringify(options)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(node({ resolver: options }))))
        expect(error._tag).toBe("InvalidOptions")
      }).pipe(Effect.provide(Origin.layer)))
  }
})

describe("Resolver and a cache that fails", () => {
  const away = Effect.fail(new Cache.CacheError({ operation: "get", cause: new Error("away") }))
  const failing = Layer.succeed(Cache.Cache, {
    now: away,
    peek: () => undefined,
    get: () => away,
    elect: () => away,
    knows: () => away,
    stale: () => away,
    supersede: () => away,
    withdraw: () => away,
    put: () => away,
    evict: () => away,
    evictAll: away,
    sweep: () => away
  })

  it.live("CAC-09: resolve and refresh fail closed, without a request", () =>
    Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      yield* serveDocument()
      for (const call of [resolver.resolve(client), resolver.refresh(client)]) {
        expect(yield* Effect.flip(call)).toMatchObject({
          _tag: "CacheError",
          oauthError: { error: "temporarily_unavailable" }
        })
      }
      expect(yield* requestCount).toBe(0)
    }).pipe(withNode({ cache: failing })))
})

for (
  const [name, cache] of [
    ["memory", () => Cache.layerMemory({ staleIfError: "1 minute" })],
    ["Postgres", () => postgres({ staleIfError: "1 minute" })]
  ] as const
) {
  describe(`stale if error, over the cache in ${name}`, () => {
    const expired = Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=0" })
      yield* resolve()
      yield* Effect.sleep("20 millis")
    })

    for (
      const [fault, answer] of [
        ["a server error", { status: 502 }],
        ["too many requests", { status: 429 }],
        ["a challenge page", { status: 403 }],
        ["a timeout of the origin", { status: 408 }],
        ["a misdirected request", { status: 421 }],
        ["a request that is too early", { status: 425 }],
        ["a proxy that wants authentication", { status: 407 }],
        ["a request for authentication", { status: 401 }],
        ["a bot wall with 202", { status: 202, headers: { "Content-Type": "text/html" }, body: "<p>" }],
        ["a bot wall with 405", { status: 405 }],
        ["a garbled head", { raw: "HTTP/1.1 200 OK\r\nno colon\r\n\r\n" }],
        ["a page instead of a document", { headers: { "Content-Type": "text/html" }, body: "<p>moved" }],
        ["a page with the content type of a document", { body: "<p>moved" }],
        ["a document that is cut off", {
          raw: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"client_id\": \"ht"
        }],
        ["a document that is shorter than its length", {
          raw: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}"
        }],
        ["an empty document", { body: "" }],
        ["a document that is too large", { body: " ".repeat(6000) }],
        ["a compressed document", { headers: { "Content-Encoding": "gzip" }, body: "{}" }],
        ["a redirect", { status: 302, headers: { Location: "https://login.example/" } }],
        ["a connection that is reset", { raw: "HTTP/1.1 200 OK\r\n", end: "reset" }]
      ] as const
    ) {
      it.live(`FET-16: returns the expired document, marked stale, after ${fault}, and does not withdraw it`, () =>
        Effect.gen(function*() {
          yield* expired
          yield* serve(answer)
          expect(yield* resolve()).toMatchObject({ stale: true, document: { clientId: client } })
          yield* serve({ status: 502 })
          expect(yield* resolve()).toMatchObject({ stale: true, document: { clientId: client } })
        }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))
    }

    for (
      const [fault, tag, breaking] of [
        ["an origin that does not answer in time", "FetchTimeout", () => serve({ delay: "10 seconds" })],
        [
          "a certificate that nobody trusts",
          "TlsFailed",
          () => Effect.flatMap(Origin.Origin, (origin) => origin.handshake("app.example", "self-signed"))
        ],
        ["a name that is not found", "LookupFailed", ({ way }) =>
          Effect.sync(() => {
            way.found = false
          })],
        ["a name that leads to a private address", "AddressBlocked", ({ way }) =>
          Effect.sync(() => {
            way.isPublic = false
          })],
        ["a connection that is refused", "ConnectFailed", ({ way }) =>
          Effect.sync(() => {
            way.open = false
          })]
      ] satisfies ReadonlyArray<
        readonly [
          string,
          Fetcher.FetchError["_tag"],
          (breakable: ReturnType<typeof makeBreakable>) => Effect.Effect<void, never, Origin.Origin>
        ]
      >
    ) {
      it.live(`returns the expired document, marked stale, after ${fault}`, () => {
        const fetch = makeBreakable()
        return Effect.gen(function*() {
          const resolver = yield* Resolver.Resolver
          yield* expired
          yield* breaking(fetch)
          expect(yield* resolve()).toMatchObject({ stale: true, document: { clientId: client } })
          expect((yield* Effect.flip(resolver.refresh(client)))._tag).toBe(tag)
        }).pipe(withNode({ cache: cache(), fetcher: fetch.fetcher, resolver: { freshness: short } }))
      })
    }

    for (
      const [withdrawal, answer] of [
        ["404", { status: 404 }],
        ["410", { status: 410 }],
        ["an invalid document", { body: "{}" }],
        ["the document of another client", { body: JSON.stringify(documentOf("https://b.example/")) }]
      ] as const
    ) {
      it.live(`FET-16: returns no stale document after ${withdrawal}, nor after a later failure of the origin`, () =>
        Effect.gen(function*() {
          yield* expired
          yield* serve(answer)
          yield* Effect.flip(resolve())
          yield* serve({ status: 502 })
          expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
        }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))
    }

    for (const directive of ["must-revalidate", "proxy-revalidate", "s-maxage=0"]) {
      it.live(`FRS-09: a document with ${directive} is not returned after its expiry`, () =>
        Effect.gen(function*() {
          yield* serveDocument({ "Cache-Control": `max-age=0, ${directive}` })
          yield* resolve()
          yield* Effect.sleep("20 millis")
          yield* serve({ status: 502 })
          expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
        }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))
    }

    it.live("a withdrawal affects documents fetched before it and none fetched after it", () =>
      Effect.gen(function*() {
        const store = yield* Cache.Cache
        yield* expired
        const reader = yield* Validator.Validator
        const { clientId, ruleset } = Option.getOrThrow(
          yield* store.stale(client as ClientId.ClientId, reader)
        ).document
        const stale = Effect.map(store.stale(clientId, reader), Option.isSome)
        yield* store.withdraw(clientId, { fetchedAt: 1n })
        expect(yield* stale).toBe(true)
        yield* store.withdraw(clientId, { fetchedAt: yield* store.now, ruleset: "another" })
        expect(yield* stale).toBe(true)
        yield* store.withdraw(clientId, { fetchedAt: yield* store.now, ruleset })
        expect(yield* stale).toBe(false)
      }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))

    /** Resolvers of two profiles over one cache; the second one requires a name. */
    const ofTwoProfiles = Effect.gen(function*() {
      const shared = Layer.succeedContext(yield* Layer.build(cache()))
      return yield* Effect.forEach([{}, Validator.mcp], (profile) =>
        Effect.map(
          Layer.build(Layer.fresh(node({ profile, cache: shared, resolver: { freshness: short } }))),
          Context.get(Resolver.Resolver)
        ))
    })

    it.live("CAC-11, FET-16: returns the stale document to every profile that accepts it", () =>
      Effect.gen(function*() {
        const [plain, mcp] = yield* ofTwoProfiles
        yield* serveDocument({ "Cache-Control": "max-age=0" })
        yield* plain!.resolve(client)
        yield* Effect.sleep("20 millis")
        yield* serve({ status: 502 })
        expect(yield* mcp!.resolve(client)).toMatchObject({ stale: true })
        expect(yield* plain!.resolve(client)).toMatchObject({ stale: true })
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

    it.live("CAC-11, FET-16: a profile that refuses a later document loses the stale one, and the other does not", () =>
      Effect.gen(function*() {
        const [plain, mcp] = yield* ofTwoProfiles
        yield* serveDocument({ "Cache-Control": "max-age=0" })
        yield* plain!.resolve(client)
        yield* Effect.sleep("20 millis")
        yield* serveDocument({}, { client_name: undefined })
        expect((yield* Effect.flip(mcp!.resolve(client)))._tag).toBe("InvalidDocument")
        expect((yield* Effect.flip(mcp!.refresh(client)))._tag).toBe("InvalidDocument")
        yield* serve({ status: 502 })
        expect((yield* Effect.flip(mcp!.resolve(client)))._tag).toBe("UnexpectedStatus")
        expect(yield* plain!.resolve(client)).toMatchObject({ stale: true })
        yield* serve({ status: 410 })
        yield* Effect.flip(mcp!.resolve(client))
        yield* serve({ status: 502 })
        expect((yield* Effect.flip(plain!.resolve(client)))._tag).toBe("UnexpectedStatus")
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

    it.live("SWP-08: a sweep keeps what may be served stale, and not what was withdrawn or must be revalidated", () =>
      Effect.gen(function*() {
        const store = yield* Cache.Cache
        const swept = Effect.map(store.sweep(), ({ documents }) => documents)
        yield* expired
        expect(yield* swept).toBe(0)
        yield* serve({ status: 404 })
        yield* Effect.flip(resolve())
        expect(yield* swept).toBe(1)
        yield* serveDocument({ "Cache-Control": "max-age=0, must-revalidate" })
        yield* resolve()
        yield* Effect.sleep("20 millis")
        expect(yield* swept).toBe(1)
      }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))

    it.live("FRS-03: returns no stale document after a response that must not be stored", () =>
      Effect.gen(function*() {
        yield* expired
        yield* serveDocument({ "Cache-Control": "no-store" })
        expect((yield* resolve()).source).toBe("origin")
        yield* serve({ status: 502 })
        expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
      }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))

    it.live("returns a document again once its origin serves it again", () =>
      Effect.gen(function*() {
        yield* expired
        yield* serve({ status: 404 })
        yield* Effect.flip(resolve())
        yield* expired
        yield* serve({ status: 502 })
        expect((yield* resolve()).stale).toBe(true)
      }).pipe(withNode({ cache: cache(), resolver: { freshness: short } })))
  })
}

describe("stale if error", () => {
  it.live("bypasses the memory tier, which does not store stale documents", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=0" })
      yield* resolve()
      yield* Effect.sleep("20 millis")
      yield* serve({ status: 502 })
      for (let i = 0; i < 2; i++) expect(yield* resolve()).toMatchObject({ source: "postgres", stale: true })
      yield* serve({ status: 404 })
      expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
      yield* serve({ status: 502 })
      expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
      yield* serveDocument({ "Cache-Control": "max-age=600" }, { client_name: "Again" })
      expect((yield* resolve()).stale).toBe(false)
      expect(yield* resolve()).toMatchObject({ source: "memory", stale: false })
    }).pipe(withNode({
      cache: Layer.orDie(Layer.provide(PostgresCache.layerTiered({ staleIfError: "1 minute" }), Postgres.migrated)),
      resolver: { freshness: short }
    })))

  it.live("is off by default", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=0" })
      yield* resolve()
      yield* Effect.sleep("20 millis")
      yield* serve({ status: 502 })
      expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
    }).pipe(withNode({ cache: postgres(), resolver: { freshness: short } })))

  it.live("ends with its window, until which the sweep keeps the row", () =>
    Effect.gen(function*() {
      const database = Layer.succeedContext(yield* Layer.build(Layer.orDie(Postgres.migrated)))
      const expiredFor = (minutes: number) =>
        Effect.provide(
          Effect.flatMap(
            PgClient.PgClient,
            (sql) =>
              sql`UPDATE cimd_documents SET expires_at = now() - ${minutes}::float8 * interval '1 minute',
              kept_until = kept_until - expires_at + now() - ${minutes}::float8 * interval '1 minute'`
          ),
          database
        )
      yield* Effect.gen(function*() {
        const cache = yield* Cache.Cache
        yield* serveDocument()
        yield* resolve()
        yield* serve({ status: 502 })
        yield* expiredFor(59)
        expect((yield* cache.sweep()).documents).toBe(0)
        expect((yield* resolve()).stale).toBe(true)
        yield* expiredFor(60)
        expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
        expect((yield* cache.sweep()).documents).toBe(1)
      }).pipe(
        withNode({ cache: Layer.orDie(Layer.provide(PostgresCache.layer({ staleIfError: "1 hour" }), database)) })
      )
    }).pipe(Effect.scoped))
})

describe("refresh ahead", () => {
  it.live("fetches a document again in the last part of its lifetime while it is still returned", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=2" })
      yield* resolve()
      expect((yield* resolve()).source).toBe("memory")
      expect(yield* requestCount).toBe(1)
      yield* Effect.sleep("1200 millis")
      yield* serveDocument({ "Cache-Control": "max-age=600" }, { client_name: "Renamed" })
      expect((yield* resolve()).source).toBe("memory")
      yield* Effect.repeat(Effect.delay(resolve(), "10 millis"), {
        until: ({ document }) => document.metadata.client_name === "Renamed"
      }).pipe(Effect.timeout("2 seconds"))
      expect(yield* requestCount).toBe(2)
    }).pipe(withNode({ resolver: { freshness: short, refreshAhead: 0.5 } })))

  it.live("is tried once for a fetch if it fails, also where each read decodes the document again", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=2" })
      yield* resolve()
      yield* Effect.sleep("1100 millis")
      yield* serve({ status: 500 })
      for (let i = 0; i < 20; i++) expect((yield* resolve()).source).toBe("postgres")
      yield* Effect.sleep("200 millis")
      for (let i = 0; i < 20; i++) expect((yield* resolve()).source).toBe("postgres")
      expect(yield* requestCount).toBe(2)
    }).pipe(withNode({ cache: postgres(), resolver: { freshness: short, refreshAhead: 0.5 } })))

  it.live("of a popular client makes one fetch per document, also with the largest fraction", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=1" })
      yield* resolve()
      const began = performance.now()
      const answers = yield* Effect.repeat(Effect.delay(resolve(), "2 millis"), {
        until: () => performance.now() - began > 2200,
        schedule: Schedule.collectAllInputs()
      })
      const fetches = yield* requestCount
      expect(Chunk.every(answers, ({ source }) => source === "memory")).toBe(true)
      expect(fetches).toBeGreaterThanOrEqual(3)
      // One half of its lifetime passes before a document is fetched again.
      expect(fetches).toBeLessThanOrEqual(1 + Math.floor((performance.now() - began) / 500))
    }).pipe(withNode({ resolver: { freshness: short, refreshAhead: 0.5 } })))

  it.live("makes one fetch for all nodes that read a client in the last part of its lifetime", () =>
    Effect.gen(function*() {
      const database = Layer.succeedContext(yield* Layer.build(Layer.orDie(Postgres.migrated)))
      const origin = yield* Origin.Origin
      const answer = (name: string, seconds: number, delay = 0) =>
        serve({
          headers: { "Cache-Control": `max-age=${seconds}` },
          body: JSON.stringify(documentOf(client, { client_name: name })),
          delay
        })
      const nodes = yield* Effect.replicateEffect(
        Effect.map(
          Layer.build(Layer.fresh(node({
            cache: Layer.orDie(Layer.provide(PostgresCache.layerTiered(), database)),
            resolver: { freshness: short, refreshAhead: 0.5 }
          }))),
          Context.get(Resolver.Resolver)
        ),
        4
      )
      const resolveAll = Effect.forEach(nodes, (resolver) => resolver.resolve(client), { concurrency: "unbounded" })
      yield* answer("App", 4)
      yield* resolveAll
      expect(yield* origin.requests).toHaveLength(1)
      yield* Effect.sleep("2200 millis")
      yield* answer("Renamed", 600, 200)
      const names = Effect.map(
        resolveAll,
        (answers) => answers.map(({ document }) => document.metadata.client_name)
      )
      expect(new Set(yield* names)).toEqual(new Set(["App"]))
      yield* Effect.repeat(Effect.delay(names, "10 millis"), {
        until: (names) => names.every((name) => name === "Renamed")
      }).pipe(Effect.timeout("1700 millis"))
      yield* Effect.sleep("100 millis")
      expect(yield* origin.requests).toHaveLength(2)
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))

  it.live("is tried once for a document if it fails, and the document is returned until it expires", () =>
    Effect.gen(function*() {
      yield* serveDocument({ "Cache-Control": "max-age=2" })
      yield* resolve()
      yield* Effect.sleep("1200 millis")
      yield* serve({ status: 500 })
      for (let i = 0; i < 20; i++) expect((yield* resolve()).source).toBe("memory")
      yield* Effect.sleep("200 millis")
      for (let i = 0; i < 20; i++) expect((yield* resolve()).source).toBe("memory")
      expect(yield* requestCount).toBe(2)
      yield* Effect.sleep("800 millis")
      expect((yield* Effect.flip(resolve()))._tag).toBe("UnexpectedStatus")
    }).pipe(withNode({ resolver: { freshness: short, refreshAhead: 0.5 } })))
})

describe("caps", () => {
  it.live("CAC-13: one origin stores no more documents than its cap, and the oldest expiry is removed first", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 6; i++) {
        const url = `https://app.example/${i}`
        yield* serveDocument({ "Cache-Control": `max-age=${600 + i}` }, {}, url)
        yield* resolve(url)
      }
      yield* serveDocument({}, { client_id: "https://other.example/c" }, "https://other.example/c")
      yield* resolve("https://other.example/c")
      const sql = yield* PgClient.PgClient
      const rows = yield* sql<{ client_id: string }>`SELECT client_id FROM cimd_documents ORDER BY client_id`
      expect(rows.map(({ client_id }) => client_id)).toEqual([
        "https://app.example/3",
        "https://app.example/4",
        "https://app.example/5",
        "https://other.example/c"
      ])
    }).pipe(
      Effect.provide(
        Resolver.layer().pipe(
          Layer.provide(
            Layer.mergeAll(
              FetcherTest.layer(),
              Validator.layer(),
              PostgresCache.layer({ maxPerSite: 3 }),
              ClientRegistry.layerMemory()
            )
          ),
          Layer.provide(HostPolicy.layerPublic),
          Layer.provideMerge(Layer.merge(Origin.layer, Postgres.migrated))
        )
      )
    ))
})
