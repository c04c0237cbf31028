import type * as PgClient from "@effect/sql-pg/PgClient"
import { Cache, ClientRegistry, Fetcher, HostPolicy, PostgresCache, Resolver, Sweeper, Validator } from "effect-cimd"
import type { ClientId, ClientMetadata, InvalidOptions, PostgresClient } from "effect-cimd"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { describe, expect, test } from "tstyche"

const program = Effect.flatMap(Resolver.Resolver, (resolver) => resolver.resolve("https://app.example/client.json"))

const parts = Layer.mergeAll(Fetcher.layer(), Validator.layer())
const withoutStores = Resolver.layer().pipe(Layer.provide(parts), Layer.provide(HostPolicy.layerPublic))
const withoutCache = Layer.provide(withoutStores, ClientRegistry.layerMemory())
const withoutRegistry = Layer.provide(withoutStores, Cache.layerMemory())

type OptionsInvalid = InvalidOptions.InvalidOptions

declare const clientLayer: Layer.Layer<PgClient.PgClient>
declare const cache: Cache.Cache["Type"]
declare const registry: ClientRegistry.ClientRegistry["Type"]
declare const clientId: ClientId.ClientId
declare const reader: Context.Tag.Service<typeof Validator.Validator>
declare const resolution: Resolver.Resolution
declare const document: ClientMetadata.AcceptedDocument
declare const fetched: { readonly fetchedAt: Cache.Instant; readonly timeToLive: Duration.Duration }

describe("CAC-08: a program without its cache does not compile", () => {
  test("the resolver asks for a cache", () => {
    expect(withoutCache).type.toBe<Layer.Layer<Resolver.Resolver, OptionsInvalid, Cache.Cache>>()
    expect(Effect.runPromise).type.not.toBeCallableWith(Effect.provide(program, withoutCache))
  })

  test("the Postgres cache asks for a client", () => {
    expect(PostgresCache.layer()).type.toBe<
      Layer.Layer<Cache.Cache, OptionsInvalid | PostgresClient.DatabaseUnavailable, PgClient.PgClient>
    >()
    const withoutClient = Layer.provide(withoutCache, PostgresCache.layer())
    expect(Effect.runPromise).type.not.toBeCallableWith(Effect.provide(program, withoutClient))
    const whole = Layer.provide(withoutClient, clientLayer)
    expect(whole).type.toBe<Layer.Layer<Resolver.Resolver, OptionsInvalid | PostgresClient.DatabaseUnavailable>>()
    expect(Effect.runPromise).type.toBeCallableWith(Effect.provide(program, whole))
  })

  test("the sweeper asks for a cache", () => {
    expect(Sweeper.layer({ interval: "10 minutes" })).type.toBe<
      Layer.Layer<Sweeper.Sweeper, InvalidOptions.InvalidOptions, Cache.Cache | ClientRegistry.ClientRegistry>
    >()
  })
})

describe("REG-14: a program without its registry does not compile", () => {
  test("the resolver asks for a registry", () => {
    expect(withoutRegistry).type.toBe<
      Layer.Layer<Resolver.Resolver, OptionsInvalid, ClientRegistry.ClientRegistry>
    >()
    expect(Effect.runPromise).type.not.toBeCallableWith(Effect.provide(program, withoutRegistry))
    const whole = Layer.provide(withoutRegistry, ClientRegistry.layerMemory())
    expect(Effect.runPromise).type.toBeCallableWith(Effect.provide(program, whole))
  })

  test("the sweeper asks for a registry", () => {
    expect(Layer.provide(Sweeper.layer({ interval: "10 minutes" }), Cache.layerMemory())).type.toBe<
      Layer.Layer<Sweeper.Sweeper, InvalidOptions.InvalidOptions, ClientRegistry.ClientRegistry>
    >()
  })

  test("a resolution can be confirmed as it is", () => {
    expect(registry.confirm(resolution)).type.toBe<Effect.Effect<void, ClientRegistry.RegistryError>>()
  })
})

describe("CAC-01: only an accepted document can be put", () => {
  test("an accepted document is taken", () => {
    expect(cache.put(document, fetched)).type.toBe<Effect.Effect<boolean, Cache.CacheError>>()
  })

  test("an object of the same members is not", () => {
    expect(cache.put).type.not.toBeCallableWith(
      { clientId, json: {}, metadata: { client_id: "" }, authMethods: [], warnings: [], ruleset: "" },
      fetched
    )
    expect(cache.put).type.not.toBeCallableWith({ ...document, json: {} }, fetched)
  })

  test("a copy with another client is not", () => {
    const { clientId: _, ...rest } = document
    expect(cache.put).type.not.toBeCallableWith(rest, fetched)
  })

  test("a lifetime and the beginning of the fetch are asked for", () => {
    expect(cache.put).type.not.toBeCallableWith(document)
    expect(cache.put).type.not.toBeCallableWith(document, { timeToLive: "1 hour" })
    expect(cache.put).type.not.toBeCallableWith(document, { fetchedAt: 0n })
  })
})

describe("REG-01, REG-09: only an accepted document can be confirmed, recorded or pinned", () => {
  const decision = { reason: "a test" }

  test("an accepted document is taken", () => {
    expect(registry.confirm({ document, fetchedAt: undefined })).type.toBe<
      Effect.Effect<void, ClientRegistry.RegistryError>
    >()
    expect(registry.recordFetch(document, fetched)).type.toBe<Effect.Effect<void, ClientRegistry.RegistryError>>()
    expect(registry.pin(document, decision)).type.toBe<
      Effect.Effect<void, ClientRegistry.InvalidDecision | ClientRegistry.RegistryError>
    >()
  })

  test("bytes, and an object of the same members, are not", () => {
    expect(registry.pin).type.not.toBeCallableWith(new Uint8Array(), decision)
    expect(registry.pin).type.not.toBeCallableWith({ clientId, json: {}, metadata: { client_id: "" } }, decision)
    expect(registry.confirm).type.not.toBeCallableWith({
      document: { clientId, json: {}, metadata: { client_id: "" } },
      fetchedAt: 0n
    })
  })

  test("consent asks when the document was fetched, and a decision for a reason", () => {
    expect(registry.confirm).type.not.toBeCallableWith({ document })
    expect(registry.confirm).type.not.toBeCallableWith(document)
    expect(registry.block).type.not.toBeCallableWith("app.example")
    expect(registry.block).type.not.toBeCallableWith("app.example", { by: "operator" })
  })
})

describe("client identifiers", () => {
  test("a string is not yet one", () => {
    expect(cache.get).type.not.toBeCallableWith("https://app.example/client.json", reader)
    expect(cache.get(clientId, reader)).type.toBe<Effect.Effect<Option.Option<Cache.Entry>, Cache.CacheError>>()
  })
})

describe("SWP-03: the sweeper's interval has no default", () => {
  test("no options, or options without an interval, do not compile", () => {
    expect(Sweeper.layer).type.not.toBeCallableWith()
    expect(Sweeper.layer).type.not.toBeCallableWith({})
    expect(Sweeper.layer).type.not.toBeCallableWith({ batchSize: 10 })
    expect(Sweeper.layer).type.toBeCallableWith({ interval: "10 minutes" })
  })
})
