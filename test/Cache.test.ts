import { describe, expect, it } from "@effect/vitest"
import { Cache } from "effect-cimd"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cacheSuite } from "./support/cacheSuite.js"
import { accepted, ruleset } from "./support/documents.js"

cacheSuite("Cache.layerMemory", Layer.fresh(Cache.layerMemory()))

describe("Cache.layerMemory", () => {
  const invalid: ReadonlyArray<readonly [Cache.MemoryOptions, string]> = [
    [{ maxBytes: 65_535 }, "`maxBytes` must be an integer of at least 65536 and at most 8589934592, but is 65535"],
    [{ maxBytes: Number.NaN }, "`maxBytes` must be an integer"],
    [{ maxBytes: 2 ** 33 + 1 }, "`maxBytes` must be an integer"],
    [{ staleIfError: "abc" as never }, "`staleIfError` must be a duration"],
    [{ staleIfError: Number.NaN }, "`staleIfError` must be a duration"],
    [{ staleIfError: -1 }, "`staleIfError` must be a duration"],
    [{ staleIfError: "400 days" }, "`staleIfError` must be a duration between 0 ms and 365 days"]
  ]
  for (const [options, issue] of invalid) {
    it.effect(`fails with InvalidOptions for ${JSON.stringify(options)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Cache.layerMemory(options))))
        expect(error).toMatchObject({ _tag: "InvalidOptions", message: expect.stringContaining(issue) })
      }))
  }

  it.effect("reads its options from Config, and fails for invalid ones", () =>
    Effect.gen(function*() {
      const kept = Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const documents = ["1", "2", "3"].map((path) =>
          accepted(`https://app.example/${path}`, { note: "x".repeat(25_000) })
        )
        for (const document of documents) {
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        }
        return documents.filter(({ clientId }) => cache.peek(clientId, ruleset) !== undefined).length
      })
      const under = (maxBytes: string) =>
        Effect.provide(kept, Cache.layerMemoryConfig({ maxBytes: Config.integer("BYTES") })).pipe(
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["BYTES", maxBytes]])))
        )
      expect(yield* under("65536")).toBe(2)
      expect((yield* Effect.flip(under("0")))._tag).toBe("InvalidOptions")
      expect((yield* Effect.flip(under("two")))._tag).toBe("ConfigError")
    }))
})

describe("CacheError", () => {
  it.each(
    [
      ["stale", "The client metadata cache could not look up an expired document;"],
      ["now", "The client metadata cache could not read its clock;"]
    ] as const
  )("names the failed operation: %s", (operation, words) => {
    expect(new Cache.CacheError({ operation, cause: new Error("away") }).message).toContain(words)
  })
})
