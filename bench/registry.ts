/**
 * The registry beside the resolver: what `recall` costs where `resolve` would be called, and what a look at the decisions
 * adds to it.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { ClientId } from "effect-cimd"
import {
  Cache,
  ClientRegistry,
  Fetcher,
  HostPolicy,
  Migrations,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Validator
} from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { pathToFileURL } from "node:url"
import { documentOf } from "./document.js"
import type { Row } from "./row.js"
import { atMost, print } from "./row.js"
import { micros, sideBySide } from "./timing.js"

const idOf = (i: number) => `https://app${i}.example/client.json` as ClientId.ClientId

// A row is trusted for less than a second, and this many are read in more than that.
const clients = 5000
const reads = 200
const hits = 20_000

const noFetch = Layer.succeed(Fetcher.Fetcher, {
  fetch: () => Effect.dieMessage("The benchmark reads what is cached"),
  permit: () => Effect.dieMessage("The benchmark reads what is cached")
})

const times = (count: number, effect: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function*() {
    for (let i = 0; i < count; i++) yield* effect
  })

const rows = Effect.gen(function*() {
  const registry = yield* ClientRegistry.ClientRegistry
  const resolver = yield* Resolver.Resolver
  const cache = Context.get(yield* Layer.build(PostgresCache.layer()), Cache.Cache)
  const validator = yield* Validator.Validator
  const sql = yield* PgClient.PgClient
  const fetchedAt = yield* cache.now
  yield* Effect.forEach(
    Array.from({ length: clients }, (_, i) => idOf(i)),
    (id) =>
      Effect.flatMap(validator.validate(id, documentOf(id)), (document) =>
        Effect.all([
          cache.put(document, { fetchedAt, timeToLive: "1 hour" }),
          registry.confirm({ document, fetchedAt })
        ])),
    { concurrency: 8, discard: true }
  )
  yield* registry.block("other.example", { reason: "benchmark" })
  yield* sql.unsafe("VACUUM ANALYZE")
  yield* sql.unsafe("CHECKPOINT")
  const { ruleset } = validator

  let near = 0
  let far = 0
  const fromPostgres = yield* sideBySide(
    31,
    times(reads, Effect.suspend(() => registry.recall(idOf((near += 7) % clients), ruleset))),
    times(reads, Effect.suspend(() => cache.get(idOf((far += 7) % clients), validator)))
  )
  const one = idOf(1)
  // When the tier begins to receive notifications, it forgets what it had read before.
  yield* Effect.sleep("2 seconds")
  yield* resolver.resolve(one)
  if ((yield* resolver.resolve(one)).source !== "memory") return yield* Effect.dieMessage("Memory did not answer")
  const fromMemory = yield* sideBySide(
    31,
    times(hits, registry.recall(one, ruleset)),
    times(hits, resolver.resolve(one))
  )
  const look = yield* sideBySide(
    31,
    times(hits, Effect.sync(() => registry.peekAdmission(one))),
    times(hits, Effect.sync(() => one))
  )
  return [
    atMost(
      "recall from Postgres, beside a read of the cache",
      fromPostgres.ours / fromPostgres.theirs,
      1.5,
      `${micros(fromPostgres.ours / reads)} against ${micros(fromPostgres.theirs / reads)}; both are prepared`
    ),
    atMost(
      "recall from memory, beside a memory hit of resolve",
      fromMemory.ours / fromMemory.theirs,
      2,
      `${micros(fromMemory.ours / hits)} against ${micros(fromMemory.theirs / hits)}`
    ),
    atMost(
      "a look at an admission, beside an effect that does nothing",
      look.ours / look.theirs,
      4,
      `${micros(look.ours / hits)} against ${micros(look.theirs / hits)}`
    )
  ]
})

/** All rows of the registry. */
export const registry = (): Promise<ReadonlyArray<Row>> =>
  Effect.gen(function*() {
    const url = yield* Postgres.database(yield* Postgres.url)
    yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
    const services = Resolver.layer().pipe(
      Layer.provideMerge(
        Layer.mergeAll(noFetch, Validator.layer(), PostgresCache.layerTiered(), PostgresRegistry.layer())
      ),
      Layer.provideMerge(PostgresClient.layer({ url, maxConnections: 10 })),
      Layer.provide(HostPolicy.layerPublic)
    )
    return yield* Effect.provide(rows, services)
  }).pipe(Effect.scoped, Effect.runPromise)

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) print(await registry())
