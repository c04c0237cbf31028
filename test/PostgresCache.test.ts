import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it, layer, vi } from "@effect/vitest"
import type { ClientMetadata } from "effect-cimd"
import { Cache, Migrations, PostgresCache, PostgresClient, RedirectUri, Validator } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { mkdtemp, rm } from "node:fs/promises"
import type { AddressInfo, Server } from "node:net"
import { createServer, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import * as metrics from "../src/internal/metrics.js"
import * as Seal from "../src/internal/postgres/notificationSeal.js"
import * as PostgresOptions from "../src/internal/postgres/options.js"
import * as Statements from "../src/internal/postgres/sqlFragments.js"
import * as Timeout from "../src/internal/postgres/statementTimeout.js"
import * as Sweep from "../src/internal/postgres/sweep.js"
import { cacheSuite } from "./support/cacheSuite.js"
import { accepted, reader, readerUnder, ruleset } from "./support/documents.js"
import { ofVersion1 } from "./support/oldTables.js"
import * as Postgres from "./support/postgres.js"

cacheSuite("PostgresCache.layer", Layer.provide(PostgresCache.layer(), Postgres.migrated))

cacheSuite("PostgresCache.layerTiered", Layer.provide(PostgresCache.layerTiered(), Postgres.migrated))

cacheSuite(
  "PostgresCache.layerTiered without notifications",
  Layer.provide(PostgresCache.layerTiered({ notifications: false }), Postgres.migrated)
)

cacheSuite(
  "PostgresCache.layer with other table names",
  PostgresCache.layer({ schema: "identity", prefix: "oauth_" }).pipe(
    Layer.provide(Migrations.layer({ schema: "identity", prefix: "oauth_" })),
    Layer.provide(Postgres.empty)
  )
)

cacheSuite(
  "PostgresCache.layer over a client that renames columns",
  Layer.provide(
    PostgresCache.layer(),
    Layer.unwrapScoped(Effect.map(Postgres.migratedUrl, (url) =>
      PgClient.layer({
        url,
        transformResultNames: (name) => name.toUpperCase(),
        transformQueryNames: (name) => name.toLowerCase(),
        transformJson: true
      })))
  )
)

const ownClient = (pooler: PostgresClient.Options["pooler"]) =>
  Layer.unwrapScoped(
    Effect.map(Postgres.migratedUrl, (url) => PostgresClient.layer({ url, pooler, maxConnections: 5 }))
  )

for (
  const [kind, pooler] of [["layerClient", Postgres.pooler], ["layerClient with a pooler", "transaction"]] as const
) {
  cacheSuite(`PostgresCache.layer over ${kind}`, Layer.provide(PostgresCache.layer(), ownClient(pooler)))
  cacheSuite(`PostgresCache.layerTiered over ${kind}`, Layer.provide(PostgresCache.layerTiered(), ownClient(pooler)))
}

const startFailure = <R, E>(cache: Layer.Layer<Cache.Cache, PostgresClient.DatabaseUnavailable | E, R>) =>
  Effect.flip(Effect.scoped(Layer.build(cache)))

/** The port of a server that refuses each connection as PgBouncer does. */
const refusingPooler = (message: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer((socket) => {
          socket.on("error", () => {})
          socket.once("data", () => {
            const fields = Buffer.from(`SFATAL\0C08P01\0M${message}\0\0`)
            const header = Buffer.from("E\0\0\0\0")
            header.writeInt32BE(fields.length + 4, 1)
            socket.end(Buffer.concat([header, fields]))
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    ),
    (server) => (server.address() as AddressInfo).port
  )

describe("CAC-08: a cache that cannot work does not build", () => {
  it.live("a server that is unreachable", () =>
    Effect.gen(function*() {
      const away = { url: Redacted.make("postgresql://nobody@127.0.0.1:1/none"), connectTimeout: "1 second" } as const
      const error = yield* startFailure(Layer.provide(PostgresCache.layer(), PostgresClient.layer(away)))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Unreachable" })
      expect(error.message).toContain("psql \"$DATABASE_URL\"")
    }))

  for (const parameter of ["statement_timeout", "options"]) {
    it.scopedLive(`a pooler that refuses the parameter ${parameter} of a connection`, () =>
      Effect.gen(function*() {
        const port = yield* refusingPooler(`unsupported startup parameter: ${parameter}`)
        const url = Redacted.make(`postgresql://node@127.0.0.1:${port}/cimd`)
        const error = yield* startFailure(Layer.provide(PostgresCache.layer(), PostgresClient.layer({ url })))
        expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Pooler" })
        expect(error.message).toContain("pooler: \"transaction\" of PostgresClient.layer")
        expect(error).toMatchObject({ cause: { cause: { message: `unsupported startup parameter: ${parameter}` } } })
      }))
  }

  it.scopedLive("a pooler that refuses a connection for another reason", () =>
    Effect.gen(function*() {
      const port = yield* refusingPooler("no such database: cimd")
      const url = Redacted.make(`postgresql://node@127.0.0.1:${port}/cimd`)
      const error = yield* startFailure(Layer.provide(PostgresCache.layer(), PostgresClient.layer({ url })))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Unreachable" })
    }))

  it.live("a server that stops after the client has connected", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const url = yield* Scope.extend(PostgresServer.embedded(), scope)
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* Layer.build(PgClient.layer({ url }))
        yield* Scope.close(scope, Exit.void)
        return yield* Effect.provide(startFailure(PostgresCache.layer()), client)
      }))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Unreachable" })
    }))

  for (
    const [fault, change] of Object.entries<(url: URL) => void>({
      "a wrong password": (url) => {
        url.password = "wrong"
      },
      "an unknown user": (url) => {
        url.username = "cimd_nobody"
      },
      "a missing database": (url) => {
        url.pathname = "/cimd_nowhere"
      }
    })
  ) {
    it.scopedLive(fault, () =>
      Effect.gen(function*() {
        const url = new URL(Redacted.value(yield* Postgres.emptyUrl))
        change(url)
        const error = yield* startFailure(
          Layer.provide(PostgresCache.layer(), PostgresClient.layer({ url: Redacted.make(url.href) }))
        )
        expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Unreachable" })
        expect(error.message).toContain("psql \"$DATABASE_URL\"")
      }))
  }

  it.live("a database without the tables", () =>
    Effect.gen(function*() {
      const error = yield* Effect.provide(startFailure(PostgresCache.layer()), Postgres.empty)
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "MissingTables" })
      expect(error.message).toContain("npx effect-cimd migrate")
    }))

  for (const table of ["cimd_documents", "cimd_leases"]) {
    it.live(`a database without ${table}`, () =>
      Effect.gen(function*() {
        yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`DROP TABLE ${sql(table)}`)
        const error = yield* startFailure(PostgresCache.layer())
        expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "MissingTables" })
      }).pipe(Effect.provide(Postgres.migrated)))
  }

  it.live("a missing schema", () =>
    Effect.gen(function*() {
      const error = yield* Effect.provide(startFailure(PostgresCache.layer({ schema: "nowhere" })), Postgres.migrated)
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "MissingTables" })
    }))

  for (
    const [version, reason, command] of [
      [{ usableFrom: 1, latest: 2 }, "OlderTables", "npx effect-cimd migrate"],
      [{ usableFrom: 4, latest: 4 }, "NewerTables", "npm install effect-cimd@latest"],
      [{ usableFrom: 4, latest: 1000 }, "NewerTables", "npm install effect-cimd@latest"]
    ] as const
  ) {
    it.live(`tables of version ${version.latest}, usable from version ${version.usableFrom}`, () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`UPDATE cimd_state SET version = ${version.usableFrom}, latest = ${version.latest}`
        const error = yield* startFailure(PostgresCache.layer())
        expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason })
        expect(error.message).toContain(command)
      }).pipe(Effect.provide(Postgres.migrated)))
  }

  it.live("tables of version 1, which have no column for the last migration", () =>
    Effect.gen(function*() {
      yield* ofVersion1
      const error = yield* startFailure(PostgresCache.layer())
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "OlderTables" })
    }).pipe(Effect.provide(Postgres.empty)))

  it.live.each([1, 3])(
    "but one builds on newer tables that are usable from version %d",
    (version) =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`UPDATE cimd_state SET version = ${version}, latest = 1000`
        const now = Effect.flatMap(Cache.Cache, (cache) => cache.now)
        expect(yield* Effect.provide(now, PostgresCache.layer())).toBeGreaterThan(0n)
      }).pipe(Effect.provide(Postgres.migrated))
  )

  const privileges: ReadonlyArray<readonly [granted: ReadonlyArray<string>, missing: string | undefined]> = [
    [[], undefined],
    [["SELECT ON cimd_state"], "UPDATE ON cimd_state"],
    [["SELECT, UPDATE ON cimd_state", "SELECT ON cimd_documents"], "INSERT ON cimd_documents"],
    [["SELECT, UPDATE ON cimd_state", "SELECT, INSERT, UPDATE, DELETE ON cimd_documents"], "DELETE ON cimd_leases"]
  ]
  privileges.forEach(([granted, missing], index) => {
    it.scopedLive(`a user with these privileges only: ${granted.join("; ")}`, () =>
      Effect.gen(function*() {
        const url = yield* Postgres.migratedUrl
        const role = `cimd_user_${process.pid}_${index}`
        const asOwner = (statement: string) =>
          Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
            Effect.provide(PgClient.layer({ url }))
          )
        yield* Effect.acquireRelease(
          asOwner(`CREATE ROLE ${role} LOGIN PASSWORD 'user'`),
          () => Effect.orDie(Effect.zipRight(asOwner(`DROP OWNED BY ${role}`), asOwner(`DROP ROLE ${role}`)))
        )
        yield* Effect.forEach(granted, (privilege) => asOwner(`GRANT ${privilege} TO ${role}`))
        const asUser = new URL(Redacted.value(url))
        asUser.username = role
        asUser.password = "user"
        const error = yield* startFailure(
          Layer.provide(PostgresCache.layer(), PgClient.layer({ url: Redacted.make(asUser.href) }))
        )
        expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "Refused" })
        if (missing !== undefined) {
          expect(String(error.cause)).toContain("missing privileges: ")
          expect(String(error.cause)).toContain(missing)
        }
      }))
  })

  const invalid: ReadonlyArray<readonly [PostgresCache.TieredOptions, string]> = [
    [{ prefix: "x\"; DROP TABLE y; --" }, "must have 1 to 40 characters of a-z, 0-9 and _"],
    [{ schema: "" }, "must have 1 to 40 characters of a-z, 0-9 and _"],
    [{ timeout: "Infinity" as never }, "`timeout` must be a duration"],
    [{ timeout: 0 }, "`timeout` must be a duration"],
    [{ timeout: Number.POSITIVE_INFINITY }, "`timeout` must be a duration"],
    [{ staleIfError: Number.NaN }, "`staleIfError` must be a duration"],
    [{ disconnectedTtl: "soon" as never }, "`disconnectedTtl` must be a duration"],
    [{ maxPerSite: 0 }, "`maxPerSite` must be a positive integer"],
    [{ maxTableBytes: 1.5 }, "`maxTableBytes` must be an integer of at least 1048576"],
    [{ maxTableBytes: 2 ** 20 - 1 }, "`maxTableBytes` must be an integer of at least 1048576"],
    [{ maxBytes: -1 }, "`maxBytes` must be an integer"]
  ]
  for (const [options, issue] of invalid) {
    it.live(`invalid options: ${JSON.stringify(options)}`, () =>
      Effect.gen(function*() {
        const error = yield* startFailure(PostgresCache.layerTiered(options))
        expect(error).toMatchObject({ _tag: "InvalidOptions" })
        expect(error.message).toContain(issue)
      }).pipe(Effect.provide(Postgres.migrated)))
  }
})

layer(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated), { excludeTestServices: true })(
  "PostgresCache rows",
  (it) => {
    const damages: Record<string, string> = {
      "not an object": `document = '[]'`,
      "a member of another type": `document = jsonb_set(document, '{redirect_uris}', '5')`,
      "another client": `document = jsonb_set(document, '{client_id}', '"https://other.example/"')`,
      "an infinite start of its fetch": `fetched_at = 'infinity'`,
      "an infinite expiry": `expires_at = 'infinity'`
    }
    for (const [damage, assignment] of Object.entries(damages)) {
      it.effect(`CAC-11: a damaged row is a miss, is counted, and is replaced: ${damage}`, () =>
        Effect.gen(function*() {
          const cache = yield* Cache.Cache
          const sql = yield* PgClient.PgClient
          const document = accepted(`https://app.example/${encodeURIComponent(damage)}`)
          const put = Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" }))
          const damaged = Effect.map(Metric.value(metrics.damagedRows), ({ count }) => count)
          yield* put
          yield* sql.unsafe(`UPDATE cimd_documents SET ${assignment} WHERE client_id = $1`, [document.clientId])
          const before = yield* damaged
          expect(yield* cache.get(document.clientId, reader)).toEqual(Option.none())
          expect(yield* damaged).toBe(before + 1)
          yield* put
          expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
        }))
    }

    it.effect("CAC-11: a damaged row does not fail the reads in its batch", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const documents = Array.from({ length: 20 }, (_, i) => accepted(`https://app.example/beside-${i}`))
        yield* Effect.forEach(
          documents,
          (document) =>
            Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" }))
        )
        yield* sql`UPDATE cimd_documents SET expires_at = 'infinity' WHERE client_id = ${documents[7]!.clientId}`
        const found = yield* Effect.forEach(documents, ({ clientId }) => cache.get(clientId, reader), {
          concurrency: "unbounded"
        })
        expect(found.map(Option.isSome)).toEqual(documents.map((_, i) => i !== 7))
      }))

    const stored = (document: ClientMetadata.AcceptedDocument, assignment: string) =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        yield* sql.unsafe(`UPDATE cimd_documents SET ${assignment} WHERE client_id = $1`, [document.clientId])
      })
    const validated = (clientId: string, members: object) =>
      Validator.make().validate(
        accepted(clientId).clientId,
        new TextEncoder().encode(JSON.stringify({ client_id: clientId, ...members }))
      )

    it.effect("CAC-11: a row whose judgement is damaged is validated again", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted("https://app.example/judgement")
        const again = readerUnder(ruleset)
        yield* stored(document, `judgement = '{}'`)
        for (let i = 0; i < 2; i++) {
          const entry = Option.getOrThrow(yield* cache.get(document.clientId, again))
          expect(entry.document.json).toEqual(document.json)
        }
        expect(again.validated).toHaveLength(1)
      }))

    it.effect("CAC-11: a row that was read often is decoded once, and again when any column of its document changes", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted("https://app.example/often", { client_name: "1" })
        const read = Effect.map(cache.get(document.clientId, reader), Option.getOrThrow)
        const often = Effect.zipRight(Effect.all([read, read]), read)
        const sql = yield* PgClient.PgClient
        const change = (assignment: string) =>
          sql.unsafe(`UPDATE cimd_documents SET ${assignment} WHERE client_id = $1`, [document.clientId])
        yield* stored(document, "expires_at = now() + interval '2 hours'")
        const first = yield* often
        expect((yield* read).document).toBe(first.document)
        expect(first.remainingMillis).toBeGreaterThan(5_400_000)

        // The times of the entry are not those of the document.
        yield* change("expires_at = now() + interval '1 hour'")
        const sooner = yield* often
        expect(sooner.document).toBe(first.document)
        expect(sooner.remainingMillis).toBeLessThanOrEqual(3_600_000)

        yield* change(`document = document || '{"client_name": "2"}'`)
        expect((yield* often).document.json.client_name).toBe("2")
        yield* change(`judgement = judgement || '{"authMethods": ["private_key_jwt"]}'`)
        expect((yield* often).document.authMethods).toEqual(["private_key_jwt"])
        yield* change("fetched_at = fetched_at - interval '1 minute'")
        const earlier = yield* often
        expect(first.fetchedAt - earlier.fetchedAt).toBe(60_000_000n)

        const validating = readerUnder(ruleset)
        yield* change("ruleset = 'other-rules'")
        for (let i = 0; i < 3; i++) yield* cache.get(document.clientId, validating)
        expect(validating.validated).toHaveLength(1)
        const damaged = Effect.map(Metric.value(metrics.damagedRows), ({ count }) => count)
        const before = yield* damaged
        yield* change("document = '[]'")
        for (let i = 0; i < 3; i++) expect(yield* cache.get(document.clientId, reader)).toEqual(Option.none())
        expect(yield* damaged).toBe(before + 3)
      }))

    it.effect("CAC-11: a document that an older version accepted and today's rules refuse is never served", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = yield* validated("https://app.example/older", { redirect_uris: ["https://app.example/cb"] })
        yield* stored(document, `ruleset = '0-older', document = document || '{"client_secret": "s"}'`)
        for (let i = 0; i < 2; i++) {
          expect(yield* cache.get(document.clientId, Validator.make())).toEqual(Option.none())
        }
        const election = yield* Effect.scoped(cache.elect(document.clientId, Validator.make(), { permit: Effect.void }))
        expect(election._tag).toBe("Elected")
      }))

    it.effect("CAC-11: a row that is nested more deeply than any document can be is a miss", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const document = accepted("https://app.example/deep")
        yield* stored(
          document,
          `ruleset = 'other', document = document || ('{"x":' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb`
        )
        expect(yield* cache.get(document.clientId, Validator.make())).toEqual(Option.none())
      }))

    it.effect("RED-05: a redirect URI that is never matched is not matched either after it was read from a row", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const [web, app] = ["https://app.example/cb", "acme:/cb"]
        const document = yield* validated("https://app.example/unmatched", { redirect_uris: [app, web] })
        expect(document.redirectUris).toEqual([web])
        yield* stored(document, "withdrawn = false")
        const read = (profile?: Validator.Profile) =>
          Effect.map(
            cache.get(document.clientId, Validator.make(profile)),
            (entry) => Option.getOrThrow(entry).document
          )
        const same = yield* read()
        expect([same.redirectUris, same.metadata.redirect_uris]).toEqual([[web], [app, web]])
        expect((yield* Effect.flip(RedirectUri.match(same, app)))._tag).toBe("RedirectUriMismatch")
        expect(yield* RedirectUri.match(same, web)).toBe(web)
        // Another profile decides for itself.
        expect((yield* read({ privateUseSchemes: ["acme"] })).redirectUris).toEqual([app, web])
        expect((yield* read(Validator.sameOriginRedirect)).redirectUris).toEqual([web])
      }))

    it.effect("CAC-07: lifetimes are counted by the database's clock, not the node's", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const document = accepted("https://app.example/clock")
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        const [row] = yield* sql<{ left: number; age: number }>`SELECT
          extract(epoch FROM expires_at - now())::float8 AS left, extract(epoch FROM now() - fetched_at)::float8 AS age
          FROM cimd_documents WHERE client_id = ${document.clientId}`
        expect(row!.left).toBeGreaterThan(3590)
        expect(row!.left).toBeLessThanOrEqual(3600)
        expect(row!.age).toBeGreaterThanOrEqual(0)
        yield* sql`UPDATE cimd_documents SET expires_at = now() WHERE client_id = ${document.clientId}`
        expect(yield* cache.get(document.clientId, reader)).toEqual(Option.none())
      }))

    it.effect("a put in a caller's transaction is kept when the transaction rolls back", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const document = accepted("https://app.example/transaction")
        yield* Effect.ignore(sql.withTransaction(Effect.gen(function*() {
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
          return yield* Effect.fail("roll back")
        })))
        expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
      }))

    it.scoped("SWP-01: keeps a row that expires exactly at the boundary", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const settings = yield* PostgresOptions.settle({})
        const timeout = yield* Timeout.make(Cache.CacheError, settings.timeoutMillis)
        const batches = Sweep.makeBatches(
          Statements.make(sql, settings, { nodeId: "test", seal: Seal.make("") }),
          settings,
          timeout,
          timeout
        )
        yield* (yield* Cache.Cache).sweep()
        const boundary = yield* batches.boundary
        const at = sql`to_timestamp(${String(boundary)}::float8 / 1000000)`
        yield* sql`INSERT INTO cimd_documents
            (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until)
          SELECT 'https://app.example/' || name, '', '', '{}', '{}', now(), until, until
          FROM (VALUES ('before', ${at} - interval '1 microsecond'), ('exactly', ${at})) AS rows (name, until)`
        yield* batches.documentsBefore(boundary)(10)
        const left = yield* sql`SELECT client_id FROM cimd_documents WHERE kept_until <= ${at}`
        expect(left).toEqual([{ client_id: "https://app.example/exactly" }])
        yield* sql`DELETE FROM cimd_documents`
      }))

    it.effect("SWP-04: a sweep does not wait for a row that another session is writing", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        yield* cache.sweep()
        yield* sql`INSERT INTO cimd_documents
            (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until)
          SELECT 'https://app.example/locked-' || i, '', '', '{}', '{}', now(), until, until
          FROM generate_series(1, 5) i, (SELECT now() - interval '1 second' AS until) AS earlier`
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT 1 FROM cimd_documents WHERE client_id = 'https://app.example/locked-3' FOR UPDATE`
          expect(yield* cache.sweep()).toMatchObject({ documents: 4 })
        }))
        expect(yield* cache.sweep()).toMatchObject({ documents: 1 })
      }))

    it.effect("the longest client identifier fits the index", () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const noise = Array.from({ length: 2000 }, (_, i) => ((i * 7919 + (i >> 3) * 104729) % 36).toString(36)).join(
          ""
        )
        const document = accepted(`https://app.example/${noise}`.padEnd(2048, "z"))
        expect(yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })).toBe(true)
        expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
      }))
  }
)

describe("CAC-10: a database clock that was set back after evictAll", () => {
  const evictedIn = (minutes: number) =>
    Effect.flatMap(
      PgClient.PgClient,
      (sql) => sql`UPDATE cimd_state SET evicted_at = now() + ${minutes}::float8 * interval '1 minute'`
    )
  const put = (document: ClientMetadata.AcceptedDocument) =>
    Effect.flatMap(
      Cache.Cache,
      (cache) => Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" }))
    )
  const found = ({ clientId }: ClientMetadata.AcceptedDocument) =>
    Effect.flatMap(Cache.Cache, (cache) => Effect.map(cache.get(clientId, reader), Option.isSome))
  const [before, after] = [accepted("https://app.example/before"), accepted("https://app.example/after")]

  it.effect("does not stop fetches for that long, and brings no document back", () =>
    Effect.gen(function*() {
      yield* put(before)
      yield* evictedIn(60)
      expect(yield* put(after)).toBe(false)
      expect(yield* put(after)).toBe(true)
      expect([yield* found(before), yield* found(after)]).toEqual([false, true])
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.effect("does not stop `supersede` for that long", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const superseded = Effect.flatMap(cache.now, (fetchedAt) => cache.supersede(after.clientId, fetchedAt))
      yield* evictedIn(60)
      expect(yield* superseded).toBe(false)
      expect(yield* superseded).toBe(true)
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))

  it.effect("stops fetches while the difference is within the clock error", () =>
    Effect.gen(function*() {
      yield* evictedIn(0.5)
      expect([yield* put(after), yield* put(after)]).toEqual([false, false])
    }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))
})

describe("caps", () => {
  const fill = (count: number) =>
    Effect.flatMap(
      PgClient.PgClient,
      (sql) =>
        sql`INSERT INTO cimd_documents
            (client_id, origin, site, domain, ruleset, document, judgement, fetched_at, expires_at, kept_until)
        SELECT 'https://app.example/' || i, 'https://app.example', 'app.example', 'app.example', ${ruleset}, '{}', '{}',
          now() - interval '1 hour' + i * interval '1 millisecond', until, until
        FROM generate_series(1, ${count}) i,
          LATERAL (SELECT now() + interval '1 day' - i * interval '1 millisecond' AS until) AS later
        ORDER BY md5(i::text)`
    )
  const count = Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      Effect.map(
        sql<{ count: number }>`SELECT count(*)::integer AS count FROM cimd_documents`,
        (rows) => rows[0]!.count
      )
  )
  const nodes = (count: number, options: PostgresCache.Options) =>
    Effect.replicateEffect(
      Effect.map(
        Layer.build(Layer.fresh(PostgresCache.layer(options))),
        (context) => Context.get(context, Cache.Cache)
      ),
      count
    )

  it.scopedLive("CAC-25: concurrent sweeps evict what is beyond the bound of the table, and no more", () =>
    Effect.gen(function*() {
      yield* fill(10_000)
      const sql = yield* PgClient.PgClient
      const bytes = Effect.map(
        sql<
          { bytes: number }
        >`SELECT sum(250 + 2 * length(client_id) + pg_column_size(document) + pg_column_size(judgement))::float8 AS bytes FROM cimd_documents`,
        ([row]) => row!.bytes
      )
      const bound = 2 ** 21
      expect(yield* bytes).toBeGreaterThan(1.4 * bound)
      const caches = yield* nodes(3, { maxTableBytes: bound, timeout: "20 seconds" })
      // The nodes relieve the table by themselves as well.
      yield* Effect.forEach(caches, (cache) => cache.sweep(), { concurrency: "unbounded" })
      yield* Effect.iterate(yield* bytes, {
        while: (left) => left > 0.955 * bound,
        body: () => Effect.zipRight(Effect.sleep("50 millis"), bytes)
      })
      expect((yield* bytes) / bound).toBeLessThan(0.96)
      expect((yield* bytes) / bound).toBeGreaterThan(0.9)
      // The oldest fetches are gone, although they would have been kept for the longest time.
      const [left] = yield* sql`SELECT min(substring(client_id FROM '[0-9]+$')::integer) AS first FROM cimd_documents`
      expect(left).toEqual({ first: 10_001 - (yield* count) })
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: concurrent writers of one site evict its overflow without failing", () =>
    Effect.gen(function*() {
      const caches = yield* nodes(2, { maxPerSite: 20 })
      yield* Effect.forEach(Array.from({ length: 600 }, (_, i) => i), (i) =>
        Effect.gen(function*() {
          const cache = caches[i % 2]!
          const document = accepted(`https://app.example/${(i * 7 + Math.floor(i / 30)) % 30}`)
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: 60_000 + i })
        }), { concurrency: 30 })
      yield* caches[0]!.put(accepted("https://app.example/last"), {
        fetchedAt: yield* caches[0]!.now,
        timeToLive: "1 hour"
      })
      expect(yield* count).toBe(20)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("SWP-04: a write that evicts the overflow of its site does not wait for a row that another session is writing", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { maxPerSite: 3, timeout: "500 millis" })
      yield* fill(3)
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT 1 FROM cimd_documents WHERE client_id = 'https://app.example/1' FOR UPDATE`
        const put = { fetchedAt: yield* cache!.now, timeToLive: "1 day" } as const
        expect(yield* cache!.put(accepted("https://app.example/new"), put)).toBe(true)
      }))
      expect(yield* count).toBe(4)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-10: the overflow of a site does not delete tombstones", () =>
    Effect.gen(function*() {
      const [cache] = yield* nodes(1, { maxPerSite: 2 })
      const put = (name: number, fetchedAt: Cache.Instant) =>
        cache!.put(accepted(`https://app.example/${name}`), { fetchedAt, timeToLive: "1 day" })
      const began = yield* cache!.now
      yield* cache!.evict(accepted("https://app.example/0").clientId)
      for (let i = 1; i < 6; i++) yield* put(i, yield* cache!.now)
      expect(yield* put(0, began)).toBe(false)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: tombstones do not count as documents", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { maxPerSite: 3, maxTableBytes: 2 ** 20 })
      yield* sql`INSERT INTO cimd_documents
          (client_id, origin, site, domain, bytes, ruleset, fetched_at, expires_at, kept_until)
        SELECT 'https://app.example/' || i, '', 'app.example', 'app.example', 1000000, '', now(), until, until
        FROM generate_series(1, 20) i, (SELECT now() + interval '1 minute' AS until) AS later`
      for (const name of ["a", "b", "c"]) {
        const document = accepted(`https://app.example/${name}`)
        yield* cache!.put(document, { fetchedAt: yield* cache!.now, timeToLive: "1 day" })
      }
      expect(yield* cache!.sweep()).toEqual({ documents: 0, leases: 0 })
      expect(yield* count).toBe(23)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("a tombstone is kept for ten minutes, and swept after that", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { staleIfError: "1 day" })
      const [evicted, superseded] = [accepted("https://app.example/1"), accepted("https://app.example/2")]
      for (const document of [evicted, superseded]) {
        yield* cache!.put(document, { fetchedAt: yield* cache!.now, timeToLive: "1 hour" })
      }
      yield* cache!.evict(evicted.clientId)
      yield* cache!.supersede(superseded.clientId, yield* cache!.now)
      expect(
        yield* sql`SELECT round(extract(epoch FROM kept_until - now()) / 60)::integer AS minutes FROM cimd_documents`
      ).toEqual([{ minutes: 10 }, { minutes: 10 }])
      expect(yield* cache!.sweep()).toEqual({ documents: 0, leases: 0 })
      yield* sql`UPDATE cimd_documents SET kept_until = now() - interval '1 second'`
      expect(yield* cache!.sweep()).toEqual({ documents: 2, leases: 0 })
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: a write evicts overflow in a statement of its own, and only if there is any", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { maxPerSite: 3 })
      yield* sql`CREATE TABLE written (by xid8 DEFAULT pg_current_xact_id(), kind text)`
      yield* sql`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO written (kind) VALUES (TG_OP); RETURN NULL; END'`
      yield* sql`CREATE TRIGGER note AFTER INSERT OR DELETE ON cimd_documents EXECUTE FUNCTION note()`
      const kinds = sql<{ kind: string }>`SELECT kind FROM written ORDER BY by`
      const put = (name: string) =>
        Effect.flatMap(
          cache!.now,
          (fetchedAt) => cache!.put(accepted(`https://app.example/${name}`), { fetchedAt, timeToLive: "1 day" })
        )
      for (const name of ["a", "b", "c"]) yield* put(name)
      expect((yield* kinds).map(({ kind }) => kind)).toEqual(["INSERT", "INSERT", "INSERT"])
      // A damaged row does not fail it.
      yield* sql`UPDATE cimd_documents SET kept_until = 'infinity', fetched_at = '-infinity'
        WHERE client_id = 'https://app.example/a'`
      yield* put("d")
      expect((yield* kinds).map(({ kind }) => kind)).toEqual(["INSERT", "INSERT", "INSERT", "INSERT", "DELETE"])
      expect(yield* sql`SELECT DISTINCT by FROM written`).toHaveLength(5)
      expect(yield* count).toBe(3)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: a put succeeds even if evicting the overflow fails", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [cache] = yield* nodes(1, { maxPerSite: 1 })
      yield* fill(1)
      yield* sql`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'`
      yield* sql`CREATE TRIGGER refuse BEFORE DELETE ON cimd_documents EXECUTE FUNCTION refuse()`
      const document = accepted("https://app.example/new")
      expect(yield* cache!.put(document, { fetchedAt: yield* cache!.now, timeToLive: "1 hour" })).toBe(true)
      expect(Option.isSome(yield* cache!.get(document.clientId, reader))).toBe(true)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("CAC-13: a document that is not stored evicts nothing", () =>
    Effect.gen(function*() {
      const [cache] = yield* nodes(1, { maxPerSite: 2 })
      const began = yield* cache!.now
      yield* fill(5)
      yield* cache!.evict(accepted("https://app.example/new").clientId)
      expect(yield* cache!.put(accepted("https://app.example/new"), { fetchedAt: began, timeToLive: "1 day" })).toBe(
        false
      )
      expect(yield* count).toBe(6)
    }).pipe(Effect.provide(Postgres.migrated)))
})

describe("SWP-08: the row says until when it is kept", () => {
  const nodes = (...options: ReadonlyArray<PostgresCache.Options>) =>
    Effect.forEach(
      options,
      (options) => Effect.map(Layer.build(Layer.fresh(PostgresCache.layer(options))), Context.get(Cache.Cache))
    )
  const kept = Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql<{ path: string; minutes: number }>`SELECT substring(client_id FROM '[a-z]+$') AS path,
      round(extract(epoch FROM kept_until - expires_at) / 60)::integer AS minutes FROM cimd_documents ORDER BY 1`
  )

  it.scopedLive("so a node that keeps nothing itself does not sweep what another one may serve stale", () =>
    Effect.gen(function*() {
      const [keeper, sweeper, shorter] = yield* nodes({ staleIfError: "1 hour" }, {}, { staleIfError: "1 milli" })
      const put = (cache: Cache.Cache["Type"], path: string, mustRevalidate = false) =>
        Effect.gen(function*() {
          const document = accepted(`https://app.example/${path}`)
          yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: 1, mustRevalidate })
          return document.clientId
        })
      const client = yield* put(keeper!, "kept")
      yield* put(keeper!, "revalidated", true)
      const gone = yield* put(keeper!, "gone")
      const refused = yield* put(keeper!, "refused")
      yield* put(sweeper!, "expired")
      yield* Effect.sleep("20 millis")
      // A node that keeps nothing withdraws for the others all the same.
      yield* sweeper!.withdraw(gone, { fetchedAt: yield* sweeper!.now })
      yield* sweeper!.withdraw(refused, { fetchedAt: yield* sweeper!.now, ruleset: "other" })
      expect(yield* kept).toEqual([
        { path: "expired", minutes: 0 },
        { path: "gone", minutes: 0 },
        { path: "kept", minutes: 60 },
        { path: "refused", minutes: 60 },
        { path: "revalidated", minutes: 0 }
      ])
      expect(yield* sweeper!.sweep()).toEqual({ documents: 3, leases: 0 })
      const stale = (cache: Cache.Cache["Type"], clientId = client, by = reader) =>
        Effect.map(cache.stale(clientId, by), Option.isSome)
      expect([yield* stale(keeper!), yield* stale(sweeper!), yield* stale(shorter!)]).toEqual([true, false, false])
      expect(yield* stale(keeper!, refused)).toBe(true)
      expect(yield* stale(keeper!, refused, readerUnder("other"))).toBe(false)
      expect(yield* stale(keeper!, client, readerUnder("other"))).toBe(true)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("also for a node that would keep it for longer, whether or not it was swept", () =>
    Effect.gen(function*() {
      const [short, long] = yield* nodes({ staleIfError: "200 millis" }, { staleIfError: "1 hour" })
      const document = accepted("https://app.example/short")
      yield* short!.put(document, { fetchedAt: yield* short!.now, timeToLive: 1 })
      yield* Effect.sleep("20 millis")
      expect(Option.isSome(yield* long!.stale(document.clientId, reader))).toBe(true)
      yield* Effect.sleep("250 millis")
      expect(Option.isNone(yield* long!.stale(document.clientId, reader))).toBe(true)
      expect((yield* long!.sweep()).documents).toBe(1)
    }).pipe(Effect.provide(Postgres.migrated)))

  it.scopedLive("and a later fetch starts over", () =>
    Effect.gen(function*() {
      const [keeper, other] = yield* nodes({ staleIfError: "1 hour" }, {})
      const document = accepted("https://app.example/over")
      const put = (cache: Cache.Cache["Type"]) =>
        Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: 1 }))
      yield* put(keeper!)
      yield* keeper!.withdraw(document.clientId, { fetchedAt: yield* keeper!.now, ruleset })
      yield* put(other!)
      expect(yield* kept).toEqual([{ path: "over", minutes: 0 }])
      yield* put(keeper!)
      yield* Effect.sleep("20 millis")
      expect(Option.isSome(yield* keeper!.stale(document.clientId, reader))).toBe(true)
    }).pipe(Effect.provide(Postgres.migrated)))
})

describe("settings of the database", () => {
  for (
    const [style, zone] of [["SQL, DMY", "Asia/Kolkata"], ["Postgres, DMY", "America/St_Johns"], ["German", "UTC"]]
  ) {
    it.scopedLive(`SWP-01: a sweep deletes nothing fresh with DateStyle ${style} and time zone ${zone}`, () =>
      Effect.gen(function*() {
        const url = yield* Postgres.migratedUrl
        const name = new URL(Redacted.value(url)).pathname.slice(1)
        yield* Effect.flatMap(PgClient.PgClient, (sql) =>
          Effect.all([
            sql.unsafe(`ALTER DATABASE "${name}" SET datestyle = '${style}'`),
            sql.unsafe(`ALTER DATABASE "${name}" SET timezone = '${zone}'`)
          ])).pipe(Effect.provide(PgClient.layer({ url })))
        yield* Effect.gen(function*() {
          const cache = yield* Cache.Cache
          const put = (name: string, timeToLive: number) =>
            Effect.flatMap(
              cache.now,
              (fetchedAt) => cache.put(accepted(`https://app.example/${name}`), { fetchedAt, timeToLive })
            )
          yield* put("fresh", 3_600_000)
          yield* put("expired", 1)
          yield* Effect.sleep("20 millis")
          expect(yield* cache.sweep()).toMatchObject({ documents: 1 })
          expect(Option.isSome(yield* cache.get(accepted("https://app.example/fresh").clientId, reader))).toBe(true)
        }).pipe(Effect.provide(Layer.provide(PostgresCache.layer(), PgClient.layer({ url }))))
      }))
  }
})

describe("PostgresClient.layer", () => {
  it.scopedLive("connects through the sockets of `stream`, also to listen", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value(yield* Postgres.migratedUrl))
      const server = { host: url.hostname, port: Number(url.port) }
      // The address in the URL is unreachable, as where a connector makes the sockets.
      url.port = "1"
      const client = PostgresClient.layer({
        url: Redacted.make(url.href),
        stream: () =>
          new (class extends Socket {
            override connect() {
              return super.connect(server)
            }
          })()
      })
      const listening = Effect.map(Metric.value(metrics.listening), ({ value }) => value)
      yield* Layer.build(Layer.provide(PostgresCache.layerTiered(), client))
      yield* Effect.repeat(Effect.delay(listening, "10 millis"), { until: (value) => value === 1 }).pipe(
        Effect.timeout("5 seconds")
      )
    }))

  for (const socketTimeout of ["abc", 0, -1, Number.NaN] as ReadonlyArray<Duration.DurationInput>) {
    it.live(`does not build with a socket timeout of ${socketTimeout}`, () =>
      Effect.gen(function*() {
        const error = yield* startFailure(
          Layer.provide(PostgresCache.layer(), PostgresClient.layer({ socketTimeout }))
        )
        expect(error).toMatchObject({ _tag: "InvalidOptions" })
        expect(error.message).toContain("`socketTimeout` must be a duration")
      }))
  }

  it.live("does not build with another pooler", () =>
    Effect.gen(function*() {
      const error = yield* startFailure(
        Layer.provide(PostgresCache.layer(), PostgresClient.layer({ pooler: "session" as never }))
      )
      expect(error).toMatchObject({ _tag: "InvalidOptions" })
      expect(error.message).toContain("`pooler` must be \"transaction\", but is session")
    }))

  it.scopedLive("reads its options from Config", () =>
    Effect.gen(function*() {
      const url = Redacted.value(yield* Postgres.emptyUrl)
      const client = PostgresClient.layerConfig({
        url: Config.redacted("DATABASE_URL"),
        socketTimeout: Config.duration("SOCKET_TIMEOUT"),
        pooler: Config.literal("transaction")("POOLER").pipe(Config.withDefault(undefined))
      })
      const timeout = Effect.flatMap(
        PgClient.PgClient,
        (sql) => sql<{ timeout: string }>`SELECT current_setting('statement_timeout') AS timeout`
      )
      const withEnvironment = (environment: Record<string, string>) =>
        Effect.provide(
          timeout,
          Layer.provide(client, Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)))))
        )
      expect(yield* withEnvironment({ DATABASE_URL: url, SOCKET_TIMEOUT: "3 seconds" })).toEqual([{ timeout: "3s" }])
      expect(yield* Effect.flip(withEnvironment({ DATABASE_URL: url }))).toMatchObject({ _op: "MissingData" })
      const pooled = { DATABASE_URL: url, SOCKET_TIMEOUT: "3 seconds", POOLER: "transaction" }
      expect(yield* withEnvironment(pooled)).toEqual([{ timeout: "0" }])
      expect(yield* Effect.flip(withEnvironment({ ...pooled, POOLER: "session" }))).toMatchObject({
        _op: "InvalidData"
      })
    }))

  it.scopedLive("reads from the database of its own client, with two clients in one program", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* Postgres.migratedUrl, yield* Postgres.migratedUrl]
      const own = (url: Redacted.Redacted) => PostgresClient.layer({ url, maxConnections: 2 })
      const plain = (url: Redacted.Redacted) => PgClient.layer({ url, maxConnections: 2 })
      const document = accepted("https://app.example/databases")
      const build = <E>(client: Layer.Layer<PgClient.PgClient, E>) =>
        Effect.map(
          Layer.build(Layer.fresh(Layer.provide(PostgresCache.layer(), client))),
          (context) => Context.get(context, Cache.Cache)
        )
      const writer = yield* build(own(first))
      yield* writer.put(document, { fetchedAt: yield* writer.now, timeToLive: "1 hour" })
      const clients: Array<readonly [Layer.Layer<PgClient.PgClient, unknown>, boolean]> = [
        [own(first), true],
        [own(second), false],
        // One client replaces the other, whichever of them brings its pool.
        [Layer.provideMerge(plain(second), own(first)), false],
        [Layer.provideMerge(plain(first), own(second)), true],
        [Layer.provideMerge(own(second), own(first)), false],
        [Layer.provideMerge(own(first), plain(second)), true]
      ]
      const found = yield* Effect.forEach(
        clients,
        ([client]) =>
          Effect.flatMap(build(client), (cache) => Effect.map(cache.get(document.clientId, reader), Option.isSome))
      )
      expect(found).toEqual(clients.map(([, isFirst]) => isFirst))
      // A client that a nested layer replaces.
      const nested = Layer.provide(PostgresCache.layer(), plain(second)).pipe(Layer.fresh, Layer.build)
      const cache = Context.get(yield* Effect.provide(nested, own(first)), Cache.Cache)
      expect(Option.isNone(yield* cache.get(document.clientId, reader))).toBe(true)
    }))

  it.scopedLive("queues no statement behind another on a connection", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const original = pg.Client.prototype.query
      const query = vi.spyOn(pg.Client.prototype, "query")
      yield* Effect.addFinalizer(() => Effect.sync(() => query.mockRestore()))
      const queued: Array<unknown> = []
      query.mockImplementation(function(this: pg.Client, ...args: Array<unknown>) {
        // The name of the queue differs between versions of node-postgres.
        // pg 8.23 deprecates the name without the underscore, and earlier versions know no other.
        const client = this as {
          readonly _queryQueue?: ReadonlyArray<unknown>
          readonly queryQueue?: ReadonlyArray<unknown>
        }
        const queue = client._queryQueue ?? client.queryQueue
        const isBusy = queue === undefined || queue.length > 0
        if (isBusy) queued.push(args[0])
        return Reflect.apply(original, this, args)
      } as never)
      const client = PostgresClient.layer({ url, maxConnections: 3 })
      const cache = Context.get(
        yield* Layer.build(Layer.provide(PostgresCache.layerTiered(), client)),
        Cache.Cache
      )
      const documents = Array.from({ length: 40 }, (_, i) => accepted(`https://app.example/queued-${i}`))
      yield* Effect.forEach(documents, (document) =>
        Effect.zipRight(
          Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" })),
          cache.get(document.clientId, reader)
        ), { concurrency: "unbounded" })
      yield* Effect.sleep("600 millis")
      expect(query.mock.calls.length).toBeGreaterThan(80)
      expect(queued).toEqual([])
    }))

  for (const sockets of [2, 3]) {
    it.scopedLive(`layerTiered closes every connection when its scope closes as it opens number ${sockets}`, () =>
      Effect.gen(function*() {
        const url = yield* Postgres.migratedUrl
        for (const delay of [0, 1, 2, 4, 8, 16, 24]) {
          const made: Array<Socket> = []
          const opened = yield* Deferred.make<void>()
          const client = PostgresClient.layer({
            url,
            maxConnections: 1,
            stream: () => {
              made.push(new Socket())
              if (made.length === sockets) Effect.runSync(Deferred.succeed(opened, undefined))
              return made.at(-1)!
            }
          })
          const scope = yield* Scope.make()
          yield* Scope.extend(Layer.build(Layer.fresh(Layer.provide(PostgresCache.layerTiered(), client))), scope)
          yield* Effect.timeoutOption(Deferred.await(opened), "300 millis")
          yield* Effect.sleep(delay)
          const start = performance.now()
          yield* Scope.close(scope, Exit.void)
          yield* Effect.repeat(
            Effect.delay(Effect.sync(() => made.filter(({ destroyed }) => !destroyed)), "5 millis"),
            {
              until: (open) => open.length === 0
            }
          ).pipe(Effect.timeout("5 seconds"))
          expect(performance.now() - start).toBeLessThan(900)
        }
      }))
  }

  it.scopedLive("prepares the reads once on each connection", () =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const document = accepted("https://app.example/prepared")
      yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
      for (let i = 0; i < 3; i++) expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
      const sql = yield* PgClient.PgClient
      expect(yield* sql`SELECT 1 FROM pg_prepared_statements`).toHaveLength(1)
    }).pipe(Effect.provide(Layer.provideMerge(
      PostgresCache.layer(),
      Layer.unwrapScoped(
        Effect.map(Postgres.migratedUrl, (url) => PostgresClient.layer({ url, maxConnections: 1 }))
      )
    ))))

  const shared: Record<string, (url: Redacted.Redacted) => Layer.Layer<Cache.Cache | PgClient.PgClient, unknown>> = {
    "layer over layerClient with a pooler": (url) =>
      Layer.provideMerge(
        PostgresCache.layer(),
        PostgresClient.layer({ url, pooler: "transaction", maxConnections: 1 })
      ),
    "layerTiered over layerClient with a pooler": (url) =>
      Layer.provideMerge(
        PostgresCache.layerTiered(),
        PostgresClient.layer({ url, pooler: "transaction", maxConnections: 1 })
      ),
    "layer over PgClient": (url) =>
      Layer.provideMerge(PostgresCache.layer(), PgClient.layer({ url, maxConnections: 1 })),
    "layerTiered without notifications over PgClient": (url) =>
      Layer.provideMerge(
        PostgresCache.layerTiered({ notifications: false }),
        PgClient.layer({ url, maxConnections: 1 })
      )
  }
  for (const [name, client] of Object.entries(shared)) {
    it.scopedLive(`CAC-16: leaves nothing on a session that a pooler shares: ${name}`, () =>
      Effect.gen(function*() {
        const url = yield* Postgres.migratedUrl
        const settings = (sql: PgClient.PgClient) =>
          sql`SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY name`
        const fresh = yield* Effect.provide(Effect.flatMap(PgClient.PgClient, settings), PgClient.layer({ url }))
        yield* Effect.gen(function*() {
          const cache = yield* Cache.Cache
          const document = accepted("https://app.example/shared.json")
          const put = { fetchedAt: yield* cache.now, timeToLive: "1 hour" } as const
          expect(yield* cache.put(document, put)).toBe(true)
          expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
          yield* cache.evict(document.clientId)
          yield* Effect.scoped(cache.elect(document.clientId, reader, { permit: Effect.void }))
          yield* cache.evictAll
          yield* cache.sweep()
          // Time enough to connect and to LISTEN.
          yield* Effect.sleep("500 millis")
          const sql = yield* PgClient.PgClient
          expect(yield* settings(sql)).toEqual(fresh)
          expect(yield* sql`SELECT 1 FROM pg_prepared_statements`).toEqual([])
          expect(yield* sql`SELECT pg_listening_channels()`).toEqual([])
          expect(yield* sql`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`).toEqual([])
          expect(yield* sql`SELECT 1 FROM pg_stat_activity WHERE datname = current_database()`).toHaveLength(1)
        }).pipe(Effect.provide(client(url)))
      }))
  }

  it.scopedLive("CAC-12: with a pooler, memory serves for a second, and writes reach nodes that connect directly", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const build = (client: Layer.Layer<PgClient.PgClient, PostgresClient.DatabaseUnavailable | unknown>) =>
        Effect.map(
          Layer.build(Layer.fresh(Layer.provide(PostgresCache.layerTiered({ disconnectedTtl: "300 millis" }), client))),
          (context) => Context.get(context, Cache.Cache)
        )
      const pooled = yield* build(PostgresClient.layer({ url, pooler: "transaction" }))
      const direct = yield* build(PostgresClient.layer({ url }))
      const document = accepted("https://app.example/mixed.json")
      const { clientId } = document
      const isRemembered = Effect.gen(function*() {
        yield* direct.get(clientId, reader)
        yield* Effect.sleep("400 millis")
        return direct.peek(clientId, ruleset) !== undefined
      })
      yield* pooled.put(document, { fetchedAt: yield* pooled.now, timeToLive: "1 hour" })
      yield* Effect.repeat(isRemembered, { until: (isRemembered) => isRemembered }).pipe(Effect.timeout("10 seconds"))
      yield* pooled.get(clientId, reader)
      expect(pooled.peek(clientId, ruleset)).toBeDefined()
      yield* Effect.sleep("400 millis")
      expect(pooled.peek(clientId, ruleset)).toBeUndefined()
      yield* pooled.evict(clientId)
      yield* Effect.repeat(Effect.delay(Effect.sync(() => direct.peek(clientId, ruleset)), "5 millis"), {
        until: (entry) => entry === undefined
      }).pipe(Effect.timeout("1 second"))
    }))

  it.scopedLive("CAC-09: with a pooler, a write that timed out keeps its connection until it ends, and is not cancelled", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const client = PostgresClient.layer({
        url,
        pooler: "transaction",
        applicationName: "pooled",
        maxConnections: 2
      })
      const context = yield* Layer.build(
        Layer.provideMerge(PostgresCache.layer({ timeout: "300 millis" }), client)
      )
      const cache = Context.get(context, Cache.Cache)
      const document = accepted("https://app.example/late.json")
      const put = { fetchedAt: yield* cache.now, timeToLive: "1 hour" } as const
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const waiting = sql`SELECT 1 FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'pooled' AND wait_event_type = 'Lock'`
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`LOCK TABLE cimd_documents IN EXCLUSIVE MODE`
          expect((yield* Effect.flip(cache.put(document, put)))._tag).toBe("CacheError")
          // The other connection serves all of them.
          for (let i = 0; i < 10; i++) yield* cache.get(document.clientId, reader)
          expect(yield* waiting).toHaveLength(1)
        }))
      }).pipe(Effect.provide(PgClient.layer({ url })))
      yield* Effect.repeat(cache.get(document.clientId, reader), { until: Option.isSome }).pipe(
        Effect.timeout("2 seconds")
      )
    }))
})

describe("metrics of reads", () => {
  it.scopedLive("a caller that timed out waiting for a connection no longer counts as waiting", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      const client = PostgresClient.layer({ url, maxConnections: 1, connectTimeout: "300 millis" })
      const waiting = Effect.map(Metric.value(metrics.poolWaiting), ({ value }) => value)
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql.reserve
        const statements = yield* Effect.fork(
          Effect.all([Effect.flip(sql`SELECT 1`), Effect.flip(sql.reserve)], { concurrency: "unbounded" })
        )
        yield* Effect.repeat(Effect.delay(waiting, "5 millis"), { until: (count) => count === 2 }).pipe(
          Effect.timeout("5 seconds")
        )
        yield* Fiber.join(statements)
        expect(yield* waiting).toBe(0)
      }).pipe(Effect.provide(client))
    }))

  for (
    const [kind, assignment, counter] of [
      ["damaged", `expires_at = 'infinity'`, metrics.damagedRows],
      ["refused", `ruleset = 'other'`, metrics.refusedRows]
    ] as const
  ) {
    it.scopedLive(`CAC-11: a row that is ${kind} is counted once per read, and not in the election after it`, () =>
      Effect.gen(function*() {
        const cache = yield* Cache.Cache
        const sql = yield* PgClient.PgClient
        const document = accepted("https://app.example/counted.json")
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        yield* sql.unsafe(`UPDATE cimd_documents SET ${assignment}`)
        const before = (yield* Metric.value(counter)).count
        expect(Option.isNone(yield* cache.get(document.clientId, reader))).toBe(true)
        expect((yield* Effect.scoped(cache.elect(document.clientId, reader, { permit: Effect.void })))._tag).toBe(
          "Elected"
        )
        expect((yield* Metric.value(counter)).count - before).toBe(1)
      }).pipe(Effect.provide(Layer.provideMerge(PostgresCache.layer(), Postgres.migrated))))
  }
})

describe("PostgresClient.layer with blocked statements", () => {
  const settings = (config: PostgresClient.Options) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [row] = yield* sql<{ timeout: string }>`SELECT current_setting('statement_timeout') AS timeout`
      return row!.timeout
    }).pipe(Effect.provide(PostgresClient.layer(config)))

  it.scopedLive("CAC-09: leaves no waiting backend behind, also when the pool is full of them", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const client = PostgresClient.layer({
        url,
        applicationName: "blocked",
        maxConnections: 2,
        // Shorter than the socket timeout, so that no cancellation gets a connection.
        connectTimeout: "500 millis",
        socketTimeout: "2 seconds"
      })
      const cache = Context.get(
        yield* Layer.build(Layer.provide(PostgresCache.layer({ timeout: "1 second" }), client)),
        Cache.Cache
      )
      const puts = Array.from({ length: 6 }, (_, i) =>
        Effect.flip(
          cache.put(accepted(`https://app.example/blocked-${i}`), { fetchedAt: 0n, timeToLive: "1 hour" })
        ))
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const waiting = Effect.map(
          sql`SELECT 1 FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'blocked' AND wait_event_type = 'Lock'`,
          (rows) => rows.length
        )
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`LOCK TABLE cimd_documents IN ACCESS EXCLUSIVE MODE`
          const errors = yield* Effect.all(puts, { concurrency: "unbounded" })
          expect(errors.map(({ _tag }) => _tag)).toEqual(puts.map(() => "CacheError"))
          expect(yield* waiting).toBe(2)
          yield* Effect.repeat(Effect.delay(waiting, "50 millis"), { until: (count) => count === 0 }).pipe(
            Effect.timeout("5 seconds")
          )
        }))
      }).pipe(Effect.provide(PgClient.layer({ url })))
    }))

  it.scopedLive("CAC-09: starts connections with the socket timeout as statement_timeout, unless the host gives one", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      expect(yield* settings({ url })).toBe("10s")
      expect(yield* settings({ url, socketTimeout: "1500 millis" })).toBe("1500ms")
      expect(yield* settings({ url, socketTimeout: Duration.infinity })).toBe("0")
      expect(yield* settings({ url, pooler: "transaction" })).toBe("0")
      const withParameter = (name: string, value: string) => {
        const own = new URL(Redacted.value(url))
        own.searchParams.set(name, value)
        return { url: Redacted.make(own.href) }
      }
      expect(yield* settings(withParameter("options", "-c statement_timeout=7s"))).toBe("7s")
      expect(yield* settings(withParameter("options", "--statement-timeout=0"))).toBe("0")
      expect(yield* settings(withParameter("options", "-c lock_timeout=7s"))).toBe("10s")
      expect(yield* settings(withParameter("statement_timeout", "6000"))).toBe("6s")
    }))

  it.scopedLive("CAC-09: leaves the statement_timeout of PGOPTIONS, and replaces that of the database or the user", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      yield* Effect.flatMap(
        PgClient.PgClient,
        (sql) =>
          sql.unsafe(`ALTER DATABASE "${new URL(Redacted.value(url)).pathname.slice(1)}" SET statement_timeout = '5s'`)
      ).pipe(Effect.provide(PgClient.layer({ url })))
      expect(yield* settings({ url })).toBe("10s")
      expect(yield* settings({ url, socketTimeout: Duration.infinity })).toBe("5s")
      expect(yield* settings({ url, pooler: "transaction" })).toBe("5s")
      vi.stubEnv("PGOPTIONS", "-c statement_timeout=4s")
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllEnvs()))
      expect(yield* settings({ url })).toBe("4s")
    }))
})

describe("Migrations", () => {
  it.live("run once when several processes start at the same time", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      const migrator = Effect.provide(Migrations.run(), Layer.fresh(PgClient.layer({ url, maxConnections: 1 })))
      const runs = yield* Effect.all(Array.from({ length: 6 }, () => migrator), { concurrency: "unbounded" })
      expect(runs.flat()).toEqual([[1, "client_metadata_documents"], [2, "client_registry"], [3, "limits"]])
    }).pipe(Effect.scoped))

  it.scopedLive("run in an existing schema as a user that may not create schemas", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      const role = `cimd_migrator_${process.pid}`
      const asOwner = (statement: string) =>
        Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(Effect.provide(PgClient.layer({ url })))
      yield* Effect.acquireRelease(
        asOwner(`CREATE ROLE ${role} LOGIN PASSWORD 'migrator'`),
        () => Effect.orDie(Effect.zipRight(asOwner(`DROP OWNED BY ${role}`), asOwner(`DROP ROLE ${role}`)))
      )
      yield* asOwner("CREATE SCHEMA identity")
      yield* asOwner(`GRANT USAGE, CREATE ON SCHEMA identity TO ${role}`)
      const asMigrator = new URL(Redacted.value(url))
      asMigrator.username = role
      asMigrator.password = "migrator"
      const client = PgClient.layer({ url: Redacted.make(asMigrator.href) })
      expect(yield* Effect.provide(Migrations.run({ schema: "identity" }), client)).toHaveLength(3)
      expect(yield* Effect.provide(Migrations.run({ schema: "identity" }), client)).toHaveLength(0)
      const refused = yield* Effect.flip(Effect.provide(Migrations.run({ schema: "elsewhere" }), client))
      expect(refused._tag).toBe("SqlError")
    }))

  it.effect("with invalid names fail with a typed error", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Migrations.run({ schema: "no schema" }))
      expect(error).toMatchObject({ _tag: "InvalidOptions", message: expect.stringContaining("no schema") })
      // Effect's `Migrator` fixes the error of a loader.
      const loaded = yield* Effect.flip(Migrations.loader({ schema: "no schema" }))
      expect(loaded).toMatchObject({ _tag: "MigrationError", message: expect.stringContaining("no schema") })
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("a failed migration is a typed error and leaves no tables behind", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE cimd_state (unrelated integer)`
      const error = yield* Effect.flip(Migrations.run())
      expect(error).toMatchObject({ _tag: "MigrationError", reason: "failed" })
      const [tables] = yield* sql<{ count: string }>`SELECT count(*) FROM pg_tables WHERE tablename LIKE 'cimd_%'`
      expect(tables!.count).toBe("1")
    }).pipe(Effect.provide(Postgres.empty)))
})

describe("CAC-09: a database that stops at run time", () => {
  const clients = {
    "PgClient": (url: Redacted.Redacted) => Layer.orDie(PgClient.layer({ url })),
    "PostgresClient.layer": (url: Redacted.Redacted) => Layer.orDie(PostgresClient.layer({ url }))
  }
  it.live.each(Record.toEntries(clients))(
    "causes typed errors within the timeout, and is used again after it restarts (%s)",
    ([, client]) =>
      Effect.gen(function*() {
        const dataDirectory = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "effect-cimd-restart-"))),
          (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
        )
        const start = (port?: number) =>
          Effect.gen(function*() {
            const scope = yield* Scope.make()
            const url = yield* Scope.extend(PostgresServer.embedded({ dataDirectory, port }), scope)
            return { url, stop: Scope.close(scope, Exit.void) }
          })
        const first = yield* start()
        const context = yield* Layer.build(
          PostgresCache.layer({ timeout: "1 second" }).pipe(
            Layer.provide(Migrations.layer()),
            Layer.provide(client(first.url))
          )
        )
        const cache = yield* Effect.provide(Cache.Cache, context)
        const document = accepted("https://app.example/restart")
        yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
        yield* first.stop

        const began = Date.now()
        const failures = yield* Effect.all([
          Effect.flip(cache.get(document.clientId, reader)),
          Effect.flip(cache.put(document, { fetchedAt: 0n, timeToLive: "1 hour" })),
          Effect.flip(cache.evict(document.clientId)),
          Effect.flip(cache.evictAll),
          Effect.flip(cache.sweep()),
          Effect.flip(cache.now)
        ])
        expect(failures.map(({ _tag, operation }) => [_tag, operation])).toEqual(
          ["get", "put", "evict", "evictAll", "sweep", "now"].map((operation) => ["CacheError", operation])
        )
        expect(Date.now() - began).toBeLessThan(6 * 1000 + 500)

        yield* Effect.acquireRelease(start(Number(new URL(Redacted.value(first.url)).port)), ({ stop }) => stop)
        expect(Option.isSome(yield* cache.get(document.clientId, reader))).toBe(true)
      }).pipe(Effect.scoped)
  )
})
