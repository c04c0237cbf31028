import { expect, layer } from "@effect/vitest"
import { Cache } from "effect-cimd"
import type { ClientId } from "effect-cimd"
import type * as ClientMetadata from "effect-cimd/ClientMetadata"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { accepted, reader, readerUnder, ruleset } from "./documents.js"

let next = 0
/** Returns a client that no other test uses. */
const newClient = () => `https://app.example/client-${next++}.json`

const put = (document: ClientMetadata.AcceptedDocument, timeToLive: number | "1 hour" = "1 hour") =>
  Effect.gen(function*() {
    const cache = yield* Cache.Cache
    return yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive })
  })

const get = (url: string, by: Cache.Reader = reader) =>
  Effect.flatMap(Cache.Cache, (cache) => cache.get(url as ClientId.ClientId, by))

const nameOf = (entry: Option.Option<Cache.Entry>) => Option.map(entry, ({ document }) => document.json.client_name)

/** The tests that every cache passes. */
export const cacheSuite = <E>(name: string, cache: Layer.Layer<Cache.Cache, E>) => {
  layer(cache, { excludeTestServices: true })(name, (it) => {
    it.effect("a client that was never put is a miss", () =>
      Effect.gen(function*() {
        expect(yield* get(newClient())).toEqual(Option.none())
      }))

    it.effect("CAC-06: get returns the JSON value that was put", () =>
      Effect.gen(function*() {
        const document = accepted(newClient(), {
          client_name: "Ünïcode \u{1F600} \"quoted\" \\ \u2028",
          "client_name#ja-Jpan-JP": "クライアント名",
          custom: { list: [1, -0.5, 1e21, 1e-7, true, null, { deep: [] }], "": "empty name", "a.b": 9007199254740991 }
        })
        expect(yield* put(document)).toBe(true)
        const entry = Option.getOrThrow(yield* get(document.clientId))
        expect(entry.document.json).toEqual(document.json)
        expect(entry.document.metadata).toEqual(document.json)
        expect(entry.document).toMatchObject({
          clientId: document.clientId,
          authMethods: ["none"],
          warnings: [],
          ruleset
        })
      }))

    it.effect("a document that is read is frozen at every depth, like a validated one", () =>
      Effect.gen(function*() {
        const document = accepted(newClient(), { custom: { list: [{}] } })
        yield* put(document)
        const { json } = Option.getOrThrow(yield* get(document.clientId)).document
        for (const value of [json, json.redirect_uris, json.custom, (json.custom as { list: [object] }).list[0]]) {
          expect(Object.isFrozen(value)).toBe(true)
        }
      }))

    it.effect("CAC-03: an expired entry is a miss without a sweep", () =>
      Effect.gen(function*() {
        const document = accepted(newClient())
        yield* put(document, 1000)
        expect(Option.isSome(yield* get(document.clientId))).toBe(true)
        yield* Effect.sleep(1050)
        expect(yield* get(document.clientId)).toEqual(Option.none())
      }))

    it.effect("CAC-03: an entry has its remaining lifetime", () =>
      Effect.gen(function*() {
        const document = accepted(newClient())
        yield* put(document, 60_000)
        yield* Effect.sleep(20)
        const { remainingMillis } = Option.getOrThrow(yield* get(document.clientId))
        expect(remainingMillis).toBeLessThanOrEqual(59_985)
        expect(remainingMillis).toBeGreaterThan(50_000)
      }))

    it.effect("CAC-04: reading does not consume", () =>
      Effect.gen(function*() {
        const document = accepted(newClient())
        yield* put(document)
        for (let i = 0; i < 3; i++) expect(Option.isSome(yield* get(document.clientId))).toBe(true)
      }))

    it.effect("CAC-05: a later fetch replaces", () =>
      Effect.gen(function*() {
        const url = newClient()
        yield* put(accepted(url, { client_name: "old" }))
        expect(yield* put(accepted(url, { client_name: "new" }))).toBe(true)
        expect(nameOf(yield* get(url))).toEqual(Option.some("new"))
      }))

    it.effect("CAC-05: a fetch that started earlier never replaces one that started later", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const url = newClient()
        const earlier = yield* cache.now
        yield* put(accepted(url, { client_name: "new" }))
        const stored = yield* cache.put(accepted(url, { client_name: "old" }), {
          fetchedAt: earlier,
          timeToLive: "1 hour"
        })
        expect(stored).toBe(false)
        expect(nameOf(yield* get(url))).toEqual(Option.some("new"))
      }))

    it.effect("CAC-05: of many concurrent puts in any order, the fetch that started last stays", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const url = newClient()
        const fetches: Array<{ name: string; fetchedAt: Cache.Instant }> = []
        for (let i = 0; i < 20; i++) fetches.push({ name: `fetch ${i}`, fetchedAt: yield* cache.now })
        const shuffled = fetches.map((_, i) => fetches[(i * 7) % 20]!)
        yield* Effect.forEach(
          shuffled,
          ({ fetchedAt, name }) => cache.put(accepted(url, { client_name: name }), { fetchedAt, timeToLive: "1 hour" }),
          { concurrency: "unbounded" }
        )
        expect(nameOf(yield* get(url))).toEqual(Option.some("fetch 19"))
      }))

    it.effect("CAC-11: a document accepted under another rule set is validated by the rules of its reader, once", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted(newClient(), { client_name: "other", custom: 1e23 }, "other-rules")
        const [ours, theirs] = [readerUnder(ruleset), readerUnder("other-rules")]
        yield* put(document)
        for (let i = 0; i < 3; i++) {
          for (const by of [ours, theirs]) {
            const entry = Option.getOrThrow(yield* get(document.clientId, by))
            expect(entry.document).toMatchObject({ json: document.json, ruleset: by.ruleset })
            expect(entry.remainingMillis).toBeGreaterThan(3_500_000)
          }
        }
        expect(ours.validated.map((text) => JSON.parse(text))).toEqual([document.json])
        expect(theirs.validated).toEqual([])
        const elected = yield* Effect.scoped(
          cache.elect(document.clientId, readerUnder("third-rules"), { permit: Effect.void })
        )
        // A cache in memory does not look again.
        if (elected._tag === "Found") expect(elected.entry.document.ruleset).toBe("third-rules")
      }))

    it.effect("CAC-11: what the rules of a reader refuse is a miss to it alone, and is validated once per fetch", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const url = newClient()
        const strict = readerUnder("strict-rules", (json) => json.client_name !== undefined)
        yield* put(accepted(url))
        for (let i = 0; i < 3; i++) {
          expect(yield* get(url, strict)).toEqual(Option.none())
          expect(Option.isSome(yield* get(url))).toBe(true)
        }
        expect(cache.peek(url, strict.ruleset)).toBeUndefined()
        expect(strict.validated).toHaveLength(1)
        yield* put(accepted(url, { client_name: "named" }))
        expect(nameOf(yield* get(url, strict))).toEqual(Option.some("named"))
        expect(nameOf(yield* get(url))).toEqual(Option.some("named"))
        expect(strict.validated).toHaveLength(2)
        yield* put(accepted(url))
        expect(yield* get(url, strict)).toEqual(Option.none())
        expect(strict.validated).toHaveLength(3)
      }))

    it.effect("CAC-11: many rule sets read one document", () =>
      Effect.gen(function*() {
        const document = accepted(newClient())
        yield* put(document)
        for (let i = 0; i < 30; i++) {
          const entry = Option.getOrThrow(yield* get(document.clientId, readerUnder(`rules-${i}`)))
          expect(entry.document.ruleset).toBe(`rules-${i}`)
        }
      }))

    it.effect("CAC-11: a reader's rules that end with a defect fail its read with the defect, and no other read", () =>
      Effect.gen(function*() {
        const document = accepted(newClient())
        yield* put(document)
        const broken: Cache.Reader = { ruleset: "broken", validate: () => Effect.die("broken") }
        expect(yield* Effect.exit(get(document.clientId, broken))).toEqual(Exit.die("broken"))
        expect(Option.isSome(yield* get(document.clientId))).toBe(true)
      }))

    it.effect("FET-30: knows the clients that it has a document of, also an expired one, and their sites", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const host = `host-${next++}.example`
        const [one, other] = [accepted(`https://${host}/one`), accepted(`https://${host}/other`)]
        const elsewhere = accepted(`https://elsewhere-${host}/one`)
        const known = Effect.forEach([one, other, elsewhere], ({ clientId }) => cache.knows(clientId))
        expect(yield* known).toEqual(["nothing", "nothing", "nothing"])
        yield* put(one, 1)
        yield* Effect.sleep(20)
        expect(yield* get(one.clientId)).toEqual(Option.none())
        expect(yield* known).toEqual(["accepted", "site", "nothing"])
        yield* put(other)
        expect(yield* known).toEqual(["accepted", "accepted", "nothing"])
        // A tombstone is not a document.
        yield* cache.evict(one.clientId)
        expect(yield* known).toEqual(["site", "accepted", "nothing"])
        yield* cache.supersede(other.clientId, yield* cache.now)
        expect(yield* known).toEqual(["nothing", "nothing", "nothing"])
        yield* put(one)
        yield* cache.evictAll
        expect(yield* known).toEqual(["nothing", "nothing", "nothing"])
      }))

    it.effect("evict forgets one client and no other", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const [evicted, kept] = [accepted(newClient()), accepted(newClient())]
        yield* put(evicted)
        yield* put(kept)
        yield* cache.evict(evicted.clientId)
        expect(yield* get(evicted.clientId)).toEqual(Option.none())
        expect(Option.isSome(yield* get(kept.clientId))).toBe(true)
      }))

    it.effect("CAC-10: a fetch that started before an evict does not bring the document back", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted(newClient())
        const fetchedAt = yield* cache.now
        yield* cache.evict(document.clientId)
        expect(yield* cache.put(document, { fetchedAt, timeToLive: "1 hour" })).toBe(false)
        expect(yield* get(document.clientId)).toEqual(Option.none())
        expect(yield* put(document)).toBe(true)
        expect(Option.isSome(yield* get(document.clientId))).toBe(true)
      }))

    it.effect("CAC-10: evictAll forgets every client, and the fetches that started before it", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const documents = [accepted(newClient()), accepted(newClient())]
        yield* Effect.forEach(documents, (document) => put(document))
        const fetchedAt = yield* cache.now
        yield* cache.evictAll
        for (const document of documents) expect(yield* get(document.clientId)).toEqual(Option.none())
        expect(yield* cache.put(documents[0]!, { fetchedAt, timeToLive: "1 hour" })).toBe(false)
        expect(yield* put(documents[0]!)).toBe(true)
        expect(Option.isSome(yield* get(documents[0]!.clientId))).toBe(true)
      }))

    it.effect("FRS-03: supersede forgets what was fetched before it, and nothing else", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const [document, other] = [accepted(newClient()), accepted(newClient())]
        const earlier = yield* cache.now
        yield* put(document)
        yield* put(other)
        expect(yield* cache.supersede(document.clientId, earlier)).toBe(false)
        expect(Option.isSome(yield* get(document.clientId))).toBe(true)
        expect(yield* cache.supersede(document.clientId, yield* cache.now)).toBe(true)
        expect(yield* get(document.clientId)).toEqual(Option.none())
        expect(yield* cache.put(document, { fetchedAt: earlier, timeToLive: "1 hour" })).toBe(false)
        expect(yield* put(document)).toBe(true)
        expect(Option.isSome(yield* get(other.clientId))).toBe(true)
        expect(yield* cache.supersede(accepted(newClient()).clientId, yield* cache.now)).toBe(true)
      }))

    it.effect("CAC-10, FRS-03: an eviction invalidates an earlier supersede like an earlier put", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const [one, all] = [accepted(newClient()), accepted(newClient())]
        const fetchedAt = yield* cache.now
        yield* cache.evict(one.clientId)
        expect(yield* cache.supersede(one.clientId, fetchedAt)).toBe(false)
        yield* cache.evictAll
        expect(yield* cache.supersede(all.clientId, fetchedAt)).toBe(false)
        expect(yield* cache.supersede(all.clientId, yield* cache.now)).toBe(true)
      }))

    it.effect("SWP-01, SWP-07: a sweep deletes what has expired, returns its number, and keeps the rest", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        yield* cache.sweep()
        const kept = accepted(newClient())
        yield* put(kept)
        yield* Effect.forEach(Array.from({ length: 25 }, () => accepted(newClient())), (document) => put(document, 1))
        yield* Effect.sleep(20)
        expect(yield* cache.sweep({ batchSize: 10 })).toMatchObject({ documents: 25 })
        expect(yield* cache.sweep({ batchSize: 10 })).toMatchObject({ documents: 0 })
        expect(Option.isSome(yield* get(kept.clientId))).toBe(true)
      }))

    it.effect("SWP-04: a batch has at least one row, so that every sweep ends", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        for (const batchSize of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          yield* Effect.forEach([newClient(), newClient()], (url) => put(accepted(url), 1))
          yield* Effect.sleep(20)
          const swept = yield* Effect.timeout(cache.sweep({ batchSize }), "5 seconds")
          expect([batchSize, swept.documents]).toEqual([batchSize, 2])
        }
      }))

    it.effect("SWP-05: concurrent sweeps delete each row once", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        yield* cache.sweep()
        yield* Effect.forEach(Array.from({ length: 40 }, () => accepted(newClient())), (document) => put(document, 1))
        yield* Effect.sleep(20)
        const sweeps = yield* Effect.all([cache.sweep({ batchSize: 7 }), cache.sweep({ batchSize: 7 })], {
          concurrency: "unbounded"
        })
        expect(sweeps[0].documents + sweeps[1].documents).toBe(40)
      }))

    it.effect("a lifetime of zero stores nothing that can be read, and an infinite one does not overflow", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted(newClient())
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: 0 })
        expect(yield* get(document.clientId)).toEqual(Option.none())
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: Number.POSITIVE_INFINITY })
        expect(Option.isSome(yield* get(document.clientId))).toBe(true)
      }))

    it.effect("concurrent reads of many clients return each its own document", () =>
      Effect.gen(function*() {
        const documents = Array.from({ length: 200 }, (_, i) => accepted(newClient(), { client_name: `client ${i}` }))
        yield* Effect.forEach(documents, (document) => put(document), { concurrency: 10 })
        const fiber = yield* Effect.fork(
          Effect.forEach(documents, (document) => get(document.clientId), { concurrency: "unbounded" })
        )
        const entries = yield* Fiber.join(fiber)
        expect(entries.map(nameOf)).toEqual(documents.map((document) => Option.some(document.json.client_name)))
      }))
  })
}
