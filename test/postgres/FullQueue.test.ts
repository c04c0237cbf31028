import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Cache, PostgresCache } from "effect-cimd"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as metrics from "../../src/internal/metrics.js"
import { accepted, reader, ruleset } from "../support/documents.js"
import * as FullQueue from "../support/fullQueue.js"

const document = (name: string) => accepted("https://app.example/client.json", { client_name: name })

/** What each write does to a document `old` that was put before, in a cache that holds it. */
const writes: ReadonlyArray<
  readonly [string, (cache: Cache.Cache["Type"]) => Effect.Effect<unknown, Cache.CacheError>, string | undefined]
> = [
  [
    "put",
    (cache) =>
      Effect.flatMap(cache.now, (fetchedAt) => cache.put(document("new"), { fetchedAt, timeToLive: "1 hour" })),
    "new"
  ],
  ["evict", (cache) => cache.evict(document("old").clientId), undefined],
  ["evictAll", (cache) => cache.evictAll, undefined],
  [
    "supersede",
    (cache) => Effect.flatMap(cache.now, (fetchedAt) => cache.supersede(document("old").clientId, fetchedAt)),
    undefined
  ]
]

describe.sequential("a NOTIFY queue that is full", () => {
  const scope = Effect.runSync(Scope.make())
  let server: Redacted.Redacted
  let database: Redacted.Redacted

  beforeAll(() =>
    Effect.gen(function*() {
      const made = yield* FullQueue.server
      server = made.url
      database = made.database
    }).pipe(Scope.extend(scope), Effect.runPromise)
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const tiered = (options?: PostgresCache.TieredOptions) =>
    Effect.map(
      Layer.build(
        Layer.fresh(
          Layer.provide(PostgresCache.layerTiered(options), PgClient.layer({ url: database, maxConnections: 3 }))
        )
      ),
      Context.get(Cache.Cache)
    )
  const nameIn = (cache: Cache.Cache["Type"]) => () =>
    cache.peek(document("old").clientId, ruleset)?.document.metadata.client_name
  const read = (cache: Cache.Cache["Type"]) =>
    Effect.map(
      cache.get(document("old").clientId, reader),
      Option.match({ onNone: () => undefined, onSome: (entry) => entry.document.metadata.client_name })
    )
  /** Puts the old document, and waits until both nodes trust what they hold of it. */
  const held = (caches: ReadonlyArray<Cache.Cache["Type"]>) =>
    Effect.gen(function*() {
      const fetchedAt = yield* caches[0]!.now
      yield* caches[0]!.put(document("old"), { fetchedAt, timeToLive: "1 hour" })
      const old = Effect.gen(function*() {
        for (const cache of caches) yield* read(cache)
        // Longer than what is read is served without notifications.
        yield* Effect.sleep("1100 millis")
        return caches.map((cache) => nameIn(cache)())
      })
      yield* Effect.repeat(old, { until: (names) => names.every((name) => name === "old"), times: 10 })
      expect(caches.map((cache) => nameIn(cache)())).toEqual(caches.map(() => "old"))
    })
  const listening = Effect.map(Metric.value(metrics.listening), ({ value }) => value === 1)
  const generation = Effect.map(
    Effect.provide(
      Effect.flatMap(PgClient.PgClient, (sql) => sql<{ generation: string }>`SELECT generation::text FROM cimd_state`),
      Layer.orDie(Layer.suspend(() => PgClient.layer({ url: database, maxConnections: 1 })))
    ),
    (rows) => Number(rows[0]?.generation)
  )

  for (const drains of [false, true]) {
    for (const [name, write, after] of writes) {
      it.scopedLive(
        `CAC-14: ${name} succeeds, and other nodes stop serving from memory what it replaced within a second` +
          (drains ? ", also if the queue drains at once" : ""),
        () =>
          Effect.gen(function*() {
            // Without notifications, the other node would serve what it has read for a minute.
            const [writer, other] = [yield* tiered(), yield* tiered({ disconnectedTtl: "1 minute" })]
            yield* held([writer, other])
            const before = yield* generation
            const queue = yield* FullQueue.fill(server)
            expect(nameIn(other)()).toBe("old")
            yield* write(writer)
            const doneAt = performance.now()
            if (drains) yield* queue.drain
            expect(yield* read(writer)).toBe(after)
            yield* Effect.repeat(Effect.delay(Effect.sync(nameIn(other)), "1 millis"), {
              until: (name) => name !== "old"
            }).pipe(Effect.timeout("3 seconds"))
            expect(performance.now() - doneAt).toBeLessThan(1000)
            expect(yield* read(other)).toBe(after)
            expect(yield* generation).toBe(before + 1)
            if (!drains) expect(yield* queue.isFull).toBe(true)
            yield* queue.drain
          })
      )
    }
  }

  it.scopedLive("CAC-14: a lease is released, and a failure is shared, without the notification", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* tiered(), yield* tiered()]
      const { clientId } = accepted("https://app.example/lease.json")
      const queue = yield* FullQueue.fill(server)
      const before = yield* generation
      for (let i = 0; i < 2; i++) {
        const election = yield* Effect.scoped(first.elect(clientId, reader, { permit: Effect.void }))
        expect(election._tag).toBe("Elected")
      }
      const failed = yield* Effect.scoped(Effect.gen(function*() {
        const election = yield* first.elect(clientId, reader, { permit: Effect.void })
        const waiting = yield* Effect.fork(Effect.scoped(second.elect(clientId, reader, { permit: Effect.void })))
        yield* Effect.sleep("100 millis")
        if (election._tag === "Elected") yield* election.fail("no document")
        return yield* waiting
      }))
      expect(failed).toEqual({ _tag: "Failed", failure: "no document" })
      expect(yield* generation).toBe(before)
      yield* queue.drain
    }))

  it.scopedLive("CAC-14: a node keeps its LISTEN connection, says so once, and serves from memory again after it drains", () =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => void messages.push(String(message)))
      yield* Effect.gen(function*() {
        const cache = yield* tiered()
        yield* held([cache])
        const backend = Effect.map(
          Effect.provide(
            Effect.flatMap(
              PgClient.PgClient,
              (sql) =>
                sql`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT pg_notif)'
                AND pid <> pg_backend_pid() ORDER BY pid`
            ),
            PgClient.layer({ url: database, maxConnections: 1 })
          ),
          (rows) => rows.map(({ pid }) => pid)
        )
        const before = yield* backend
        expect(before).toHaveLength(1)
        const queue = yield* FullQueue.fill(server)
        const warnings = () => messages.filter((message) => message.includes("NOTIFY queue")).length
        yield* Effect.sleep("500 millis")
        // The queue may have been full for a moment before, while it was filled.
        const first = warnings()
        expect(first).toBeGreaterThan(0)
        yield* Effect.sleep("3 seconds")
        expect(yield* listening).toBe(false)
        expect(nameIn(cache)()).toBeUndefined()
        expect(yield* read(cache)).toBe("old")
        expect(yield* backend).toEqual(before)
        expect(warnings()).toBe(first)
        expect(messages.filter((message) => message.includes("Lost the LISTEN"))).toEqual([])
        yield* queue.drain
        yield* Effect.repeat(Effect.delay(listening, "20 millis"), { until: (isListening) => isListening }).pipe(
          Effect.timeout("2 seconds")
        )
        yield* held([cache])
        expect(yield* backend).toEqual(before)
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    }))
})
