import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Cache, Migrations, PostgresCache, PostgresClient } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import pg from "pg"
import { inject } from "vitest"
import { accepted, reader } from "../support/documents.js"
import * as PgBouncer from "./pgbouncer.js"

/** A database behind a PgBouncer that has one session for it, which all clients share. */
const shared = Effect.gen(function*() {
  const server = Redacted.make(inject("postgresUrl"))
  const database = yield* PostgresServer.database(server)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url: database, maxConnections: 1 }))
  const url = new URL(Redacted.value(database))
  url.port = String(yield* PgBouncer.start(server, { poolSize: 1 }))
  // The session of another application, from before the cache came.
  const application = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new pg.Client(url.href)
      await client.connect()
      return client
    }),
    (client) => Effect.promise(() => client.end())
  )
  const session = Effect.promise(async () => {
    const { rows } = await application.query(
      `SELECT pg_backend_pid() AS pid, current_setting('statement_timeout') AS timeout,
        ARRAY(SELECT name FROM pg_prepared_statements) AS prepared, ARRAY(SELECT pg_listening_channels()) AS channels`
    )
    return rows[0] as { pid: number; timeout: string; prepared: Array<string>; channels: Array<string> }
  })
  return { url: Redacted.make(url.href), session }
})

const clients: Record<string, (url: Redacted.Redacted) => Layer.Layer<Cache.Cache, unknown>> = {
  "layer over layerClient": (url) =>
    Layer.provide(PostgresCache.layer(), PostgresClient.layer({ url, pooler: "transaction" })),
  "layerTiered over layerClient": (url) =>
    Layer.provide(PostgresCache.layerTiered(), PostgresClient.layer({ url, pooler: "transaction" })),
  "layer over PgClient": (url) => Layer.provide(PostgresCache.layer(), PgClient.layer({ url })),
  "layerTiered without notifications over PgClient": (url) =>
    Layer.provide(PostgresCache.layerTiered({ notifications: false }), PgClient.layer({ url }))
}

describe("PgBouncer in transaction mode", () => {
  for (const [name, client] of Object.entries(clients)) {
    it.scopedLive(`CAC-16: another application finds its session as it was: ${name}`, () =>
      Effect.gen(function*() {
        const { session, url } = yield* shared
        const before = yield* session
        expect(before).toMatchObject({ timeout: "0", prepared: [], channels: [] })
        yield* Effect.gen(function*() {
          const cache = yield* Cache.Cache
          for (let i = 0; i < 20; i++) {
            const document = accepted(`https://app.example/${i}.json`)
            const put = { fetchedAt: yield* cache.now, timeToLive: "1 hour" } as const
            expect(yield* cache.put(document, put)).toBe(true)
            expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
            yield* Effect.scoped(
              cache.elect(accepted(`https://app.example/elected-${i}.json`).clientId, reader, { permit: Effect.void })
            )
            yield* cache.evict(document.clientId)
            expect(yield* session).toEqual(before)
          }
          yield* cache.evictAll
          yield* cache.sweep()
        }).pipe(Effect.provide(client(url)))
        expect(yield* session).toEqual(before)
      }))
  }

  it.scopedLive("CAC-08: a client without the option is refused by an error that names it", () =>
    Effect.gen(function*() {
      const { url } = yield* shared
      const error = yield* Effect.flip(Layer.build(PostgresClient.layer({ url })))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Pooler" })
      expect(error.message).toContain("pooler: \"transaction\"")
      const own = new URL(Redacted.value(url))
      own.searchParams.set("options", "-c statement_timeout=7s")
      const withOptions = yield* Effect.flip(
        Layer.build(PostgresClient.layer({ url: Redacted.make(own.href), pooler: "transaction" }))
      )
      expect(withOptions).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Pooler" })
    }))

  it.scopedLive("migrations run through it", () =>
    Effect.gen(function*() {
      const { url } = yield* shared
      const migrate = Effect.provide(
        Migrations.run({ prefix: "other_" }),
        PostgresClient.layer({ url, pooler: "transaction" })
      )
      expect(yield* migrate).toHaveLength(1)
      expect(yield* migrate).toHaveLength(0)
    }))
})
