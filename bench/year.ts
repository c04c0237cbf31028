/**
 * A year of an authorization server by simulation: strangers show a million clients, users consent to twenty thousand of
 * them, and the operator makes two thousand decisions. Prints the sizes of the tables and of the memory, and how long a
 * node takes to start on them. Use `npm run bench:year`; it takes some minutes.
 *
 * A week passes by moving every instant in the tables into the past. So all calls and sweeps are real, and the tables have
 * the bloat that a year leaves.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { ClientId } from "effect-cimd"
import {
  Cache,
  ClientRegistry,
  HostPolicy,
  Migrations,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Validator
} from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"

const weeks = 52
const seen = 1_000_000
const confirmed = 20_000
const decisions = 2000

const perWeek = (total: number, week: number): readonly [from: number, to: number] => [
  Math.floor((total * week) / weeks),
  Math.floor((total * (week + 1)) / weeks)
]

const range = (from: number, to: number): ReadonlyArray<number> => Array.from({ length: to - from }, (_, i) => from + i)

const clientOf = (i: number) => `https://app-${i}.example/oauth/client.json` as ClientId.ClientId

const documentOf = (clientId: string, version: number) => ({
  client_id: clientId,
  client_name: `App, version ${version}`,
  client_uri: clientId,
  logo_uri: `${clientId}/logo.png`,
  redirect_uris: ["https://app.example/callback", "http://127.0.0.1/callback"],
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  token_endpoint_auth_method: "none"
})

const accepted = (clientId: ClientId.ClientId, version: number) =>
  Effect.flatMap(
    Validator.Validator,
    (validator) => validator.validate(clientId, new TextEncoder().encode(JSON.stringify(documentOf(clientId, version))))
  )

/** A week passes: every instant is seven days longer ago. */
const age = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const columns = {
    cimd_documents: ["fetched_at", "expires_at", "kept_until"],
    cimd_clients: ["consented_at", "used_at", "fetched_at", "expires_at", "evicted_at"],
    cimd_decisions: ["decided_at"],
    cimd_audit: ["decided_at"]
  }
  for (const [table, names] of Object.entries(columns)) {
    yield* sql`UPDATE ${sql(table)} SET ${
      sql.literal(names.map((name) => `${name} = ${name} - interval '7 days'`).join(", "))
    }`
  }
})

/** Strangers show clients that nobody consents to. They are stored as `put` stores them. */
const show = ([from, to]: readonly [number, number]) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const document = yield* accepted(clientOf(0), 1)
    const judgement = JSON.stringify({ authMethods: document.authMethods, neverMatched: [], warnings: [] })
    yield* sql`INSERT INTO cimd_documents
        (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until)
      SELECT url, 'https://site-' || i || '.example', ${document.ruleset},
        jsonb_set(${JSON.stringify(document.json)}::jsonb, '{client_id}', to_jsonb(url)), ${judgement}::jsonb,
        now(), now() + interval '1 hour', now() + interval '1 hour'
      FROM generate_series(${from}::integer, ${to - 1}::integer) i,
        LATERAL (SELECT 'https://site-' || i || '.example/client.json' AS url) AS urls`
  })

const decide = (i: number) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    const options = { by: "operator", reason: `ticket ${i}` }
    switch (i % 5) {
      case 0:
        return yield* registry.block(`*.abuse-${i}.example`, options)
      case 1:
        return yield* registry.block(clientOf(i), options)
      case 2:
        return yield* registry.allow(`tenant.example/${i}/`, options)
      case 3:
        return yield* registry.pin(yield* accepted(clientOf(i), 1), options)
      default:
        return yield* registry.approve(clientOf(i), options)
    }
  })

const week = (number: number) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    const cache = yield* Cache.Cache
    yield* age
    yield* show(perWeek(seen, number))
    const [from, to] = perWeek(confirmed, number)
    const now = yield* cache.now
    yield* Effect.forEach(range(from, to), (i) =>
      Effect.flatMap(accepted(clientOf(i), 1), (document) => registry.confirm({ document, fetchedAt: now })), {
      concurrency: 8,
      discard: true
    })
    // A quarter of them is used, and its documents are fetched again; a few of those have changed.
    const active = range(0, to).filter((i) =>
      i % 4 === number % 4
    )
    yield* Effect.forEach(active, (i) =>
      Effect.gen(function*() {
        const isChanged = (yield* Random.nextIntBetween(0, 100)) === 0
        const document = yield* accepted(clientOf(i), isChanged ? number : 1)
        yield* registry.recordFetch(document, { fetchedAt: now, timeToLive: "1 hour" })
        yield* registry.used(clientOf(i))
      }), { concurrency: 8, discard: true })
    yield* Effect.forEach(range(...perWeek(decisions, number)), decide, { discard: true })
    // What was used is written once a second.
    yield* Effect.sleep("1500 millis")
    yield* cache.sweep()
    yield* registry.sweep
  })

const heap = Effect.sync(() => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
})

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`

const sizes = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`ANALYZE`
  const rows = yield* sql<{ name: string; rows: number; bytes: string; live: string }>`
    SELECT relname AS name, n_live_tup::integer AS rows, pg_total_relation_size(relid)::text AS bytes,
      pg_relation_size(relid)::text AS live
    FROM pg_stat_user_tables WHERE relname LIKE 'cimd%' ORDER BY pg_total_relation_size(relid) DESC`
  return rows.map(({ bytes, name, rows }) => ({ table: name, rows, size: megabytes(Number(bytes)) }))
})

const layers = (url: Redacted.Redacted) =>
  Layer.provideMerge(
    Layer.mergeAll(PostgresCache.layerTiered(), PostgresRegistry.layer(), Validator.layer()),
    Layer.merge(PostgresClient.layer({ url, maxConnections: 10 }), HostPolicy.layerPublic)
  )

await Effect.gen(function*() {
  const url = yield* Postgres.database(yield* Postgres.url)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
  yield* Effect.scoped(Effect.provide(
    Effect.forEach(range(0, weeks), (number) =>
      Effect.gen(function*() {
        const [elapsed] = yield* Effect.timed(week(number))
        if (number % 13 === 12) console.log(`week ${number + 1}: ${elapsed}`)
      }), { discard: true }),
    layers(url)
  ))

  // A node of the same process, after what the year left in it is gone.
  const before = yield* heap
  const [elapsed, context] = yield* Effect.timed(Layer.build(Layer.fresh(layers(url))))
  const afterStart = yield* heap
  const registry = Context.get(context, ClientRegistry.ClientRegistry)
  const { ruleset } = Context.get(context, Validator.Validator)
  yield* Effect.forEach(range(0, confirmed), (i) => registry.recall(clientOf(i), ruleset), {
    concurrency: 64,
    discard: true
  })
  const afterRecalls = yield* heap
  console.table(yield* Effect.provide(sizes, context))
  console.log(`time to start a node: ${elapsed}`)
  console.log(`memory of its decisions: ${megabytes(afterStart - before)}`)
  console.log(`memory after ${confirmed} clients were recalled: ${megabytes(afterRecalls - afterStart)} more`)
}).pipe(Effect.scoped, Effect.runPromise)
