import * as PgClient from "@effect/sql-pg/PgClient"
import * as Migrator from "@effect/sql/Migrator"
import { describe, expect, it } from "@effect/vitest"
import { Cache, Migrations, PostgresCache } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import pg from "pg"
import * as Tables from "../src/internal/postgres/tableNames.js"
import { accepted, reader } from "./support/documents.js"
import { ofVersion1, ofVersion2 } from "./support/oldTables.js"
import * as Postgres from "./support/postgres.js"

/** Runs statements with nothing but a client of Postgres, in one transaction. */
const execute = (url: Redacted.Redacted, statements: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const client = new pg.Client({ connectionString: Redacted.value(url) })
    await client.connect()
    try {
      await client.query(["BEGIN", ...statements, "COMMIT"].map((statement) => `${statement};\n`).join(""))
    } finally {
      await client.end()
    }
  })

const identifier = (name: string) => `"${name.replaceAll("\"", "\"\"")}"`

/** Creates a role, and returns the URL with which it connects. */
const newRole = (url: Redacted.Redacted, role: string) =>
  Effect.gen(function*() {
    yield* Effect.acquireRelease(
      execute(url, [`CREATE ROLE ${identifier(role)} LOGIN PASSWORD 'role'`]),
      () => execute(url, [`DROP OWNED BY ${identifier(role)}`, `DROP ROLE ${identifier(role)}`])
    )
    const asRole = new URL(Redacted.value(url))
    asRole.username = role
    asRole.password = "role"
    return Redacted.make(asRole.href)
  })

const migrations = [[1, "client_metadata_documents"], [2, "client_registry"], [3, "limits"]]

const status = (names?: Migrations.TableNames) => Migrations.status(names)

describe("Migrations.sql", () => {
  it.live.each<Migrations.TableNames>([
    {},
    { schema: "identity" },
    { prefix: "oauth_" },
    // Keywords of SQL, which are valid only in quotes.
    { schema: "select", prefix: "order" },
    { schema: "a".repeat(40), prefix: "b".repeat(40) }
  ])(
    "the statements and the grants are enough for a cache, and run finds nothing to do: %j",
    (names) =>
      Effect.gen(function*() {
        const url = yield* Postgres.emptyUrl
        const role = `App "${process.pid}" – Rolle`
        const app = PgClient.layer({ url: yield* newRole(url, role), maxConnections: 2 })
        yield* execute(url, [...yield* Migrations.sql(names), ...yield* Migrations.grants(role, names)])

        const used = yield* Effect.provide(
          Effect.gen(function*() {
            const cache = yield* Cache.Cache
            const document = accepted("https://app.example/by-hand")
            yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
            const found = yield* cache.get(document.clientId, reader)
            yield* cache.evict(document.clientId)
            yield* cache.evictAll
            yield* cache.sweep()
            return Option.isSome(found)
          }),
          // A server with these lines creates its tables itself, unless they are there.
          PostgresCache.layerTiered(names).pipe(Layer.provide(Migrations.layer(names)), Layer.provide(app))
        )
        expect(used).toBe(true)

        const version = { version: 3, usableFrom: 1, required: 3, pending: [] }
        expect(yield* Effect.provide(status(names), app)).toEqual(version)
        expect(yield* Effect.provide(Migrations.run(names), app)).toEqual([])
        expect(yield* Effect.provide(Migrations.run(names), PgClient.layer({ url }))).toEqual([])

        // Effect's migrator, which a later version of this package runs, knows them too.
        const tables = yield* Tables.settle("Migrations", names)
        const migrator = Migrator.make({})({ loader: Migrations.loader(names), table: tables.migrations })
        expect(yield* Effect.provide(migrator, PgClient.layer({ url }))).toEqual([])
      }).pipe(Effect.scoped)
  )

  it.live("creates the same tables as run", () =>
    Effect.gen(function*() {
      const describeTables = Effect.flatMap(PgClient.PgClient, (sql) =>
        Effect.all([
          sql`SELECT table_name, column_name, data_type, column_default, is_nullable, collation_name
            FROM information_schema.columns WHERE table_name LIKE 'cimd_%' ORDER BY 1, ordinal_position`,
          sql`SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'cimd_%' ORDER BY 1`,
          sql`SELECT conrelid::regclass::text AS name, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid::regclass::text LIKE 'cimd_%' ORDER BY 1, 2`,
          sql`SELECT relname, relpersistence FROM pg_class WHERE relname LIKE 'cimd_%' ORDER BY 1`,
          sql`SELECT migration_id, name FROM cimd_migrations`,
          sql`SELECT version, latest, evicted_at FROM cimd_state`
        ]))
      const byHand = yield* Postgres.emptyUrl
      yield* execute(byHand, yield* Migrations.sql())
      const byRun = yield* Postgres.emptyUrl
      yield* Effect.provide(Migrations.run(), PgClient.layer({ url: byRun }))
      const [found, wanted] = yield* Effect.all(
        [byHand, byRun].map((url) => Effect.provide(describeTables, PgClient.layer({ url })))
      )
      expect(wanted!.every((rows) => rows.length > 0)).toBe(true)
      expect(found).toEqual(wanted)
    }).pipe(Effect.scoped))

  it.live("the statements need no right to create schemas if the schema exists", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      const role = `cimd_owner_${process.pid}`
      const asOwner = yield* newRole(url, role)
      yield* execute(url, ["CREATE SCHEMA identity", `GRANT USAGE, CREATE ON SCHEMA identity TO ${role}`])
      yield* execute(asOwner, yield* Migrations.sql({ schema: "identity" }))
      expect(yield* Effect.provide(status({ schema: "identity" }), PgClient.layer({ url: asOwner }))).toMatchObject({
        version: 3
      })
    }).pipe(Effect.scoped))

  it.live("from a version, the statements bring its tables to this version, with all their rows", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.emptyUrl
      yield* Effect.gen(function*() {
        yield* ofVersion1
        const sql = yield* PgClient.PgClient
        const state = sql`SELECT evicted_at, notification_key FROM cimd_state`
        yield* sql`UPDATE cimd_state SET evicted_at = now()`
        const before = yield* state
        yield* execute(url, yield* Migrations.sql({ from: 1 }))
        expect(yield* state).toEqual(before)
        expect(yield* status()).toEqual({ version: 3, usableFrom: 1, required: 3, pending: [] })
        expect(yield* Migrations.run()).toEqual([])
        expect(yield* sql`SELECT migration_id, name FROM cimd_migrations ORDER BY 1`).toEqual(
          migrations.map(([migration_id, name]) => ({ migration_id, name }))
        )
      }).pipe(Effect.provide(PgClient.layer({ url })))
    }).pipe(Effect.scoped))

  it.effect("from the version of this package there are none, and from version 0 all", () =>
    Effect.gen(function*() {
      expect(yield* Migrations.sql({ from: 3 })).toEqual([])
      expect(yield* Migrations.sql({ from: 0 })).toEqual(yield* Migrations.sql())
    }))

  it.effect.each([-1, 1.5, Number.NaN, 4])("refuses to start from version %d", (from) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Migrations.sql({ from, prefix: "Cimd_" }))
      expect(error.issues).toHaveLength(2)
      expect(error.message).toContain(`\`from\` must be an integer between 0 and 3, but is ${from}`)
    }))

  it.effect.each([
    { schema: "Identity" },
    { schema: "a.b" },
    { schema: "it's" },
    { prefix: "\"; DROP TABLE users; --" },
    { prefix: "Cimd_" },
    { prefix: "" },
    { prefix: "a".repeat(41) }
  ])("CAC-08: names that Postgres would not find as written are refused: %j", (names) =>
    Effect.gen(function*() {
      const run = Effect.provide(Migrations.run(names), Postgres.empty)
      for (const refused of [Migrations.sql(names), Migrations.grants("app", names), Effect.asVoid(run)]) {
        expect(yield* Effect.flip<unknown, unknown, never>(refused)).toMatchObject({ _tag: "InvalidOptions" })
      }
    }))
})

describe("Migrations.grants", () => {
  // PostgreSQL reads the first two as every role and as no role, even in quotes.
  it.effect.each(["public", "none", "", "a\u0000b", "a\nb", "a\u200bb", "ä".repeat(32)])(
    "a name that is not the name of one role is refused: %j",
    (role) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Migrations.grants(role, { prefix: "Cimd_" }))
        expect(error.issues).toHaveLength(2)
        expect(error.message).toContain("`role` must be the name of one role")
        expect(error.message).toContain("`prefix` must")
      })
  )

  it.effect("grants nothing on the table of the migrations", () =>
    Effect.gen(function*() {
      const statements = yield* Migrations.grants("app")
      expect(statements).toEqual([
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \"cimd_documents\", \"cimd_leases\", \"cimd_nodes\", " +
        "\"cimd_clients\", \"cimd_decisions\", \"cimd_requests\" TO \"app\"",
        "GRANT SELECT, INSERT, DELETE ON \"cimd_audit\" TO \"app\"",
        "GRANT SELECT, INSERT, UPDATE ON \"cimd_usage\" TO \"app\"",
        "GRANT SELECT, UPDATE ON \"cimd_state\" TO \"app\""
      ])
      expect((yield* Migrations.grants("app", { schema: "identity" }))[0]).toBe(
        "GRANT USAGE ON SCHEMA \"identity\" TO \"app\""
      )
    }))
})

describe("Migrations.status", () => {
  it.live("tells what is pending before and after run, and changes nothing", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const tables = sql`SELECT tablename FROM pg_tables WHERE tablename LIKE 'cimd_%'`
      expect(yield* status()).toEqual({ version: 0, usableFrom: 0, required: 3, pending: migrations })
      expect(yield* status({ schema: "nowhere" })).toEqual({
        version: 0,
        usableFrom: 0,
        required: 3,
        pending: migrations
      })
      expect(yield* tables).toEqual([])
      expect(yield* Migrations.run()).toEqual(migrations)
      expect(yield* status()).toEqual({ version: 3, usableFrom: 1, required: 3, pending: [] })
      expect(yield* status({ prefix: "other_" })).toEqual({
        version: 0,
        usableFrom: 0,
        required: 3,
        pending: migrations
      })
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("tables of a newer version have nothing pending, and run leaves them alone", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`UPDATE cimd_state SET version = 5, latest = 7`
      expect(yield* status()).toEqual({ version: 7, usableFrom: 5, required: 3, pending: [] })
      expect(yield* Migrations.run()).toEqual([])
    }).pipe(Effect.provide(Postgres.migrated)))

  it.live.each([[1, ofVersion1], [2, ofVersion2]] as const)(
    "tables of version %d have the later migrations pending",
    ([version, create]) =>
      Effect.gen(function*() {
        yield* create
        const pending = migrations.slice(version)
        expect(yield* status()).toEqual({ version, usableFrom: 1, required: 3, pending })
        expect(yield* Migrations.run()).toEqual(pending)
        expect(yield* status()).toEqual({ version: 3, usableFrom: 1, required: 3, pending: [] })
      }).pipe(Effect.provide(Postgres.empty))
  )

  it.live("CAC-08: the third migration keeps the rows of version 2, whose nodes go on writing", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* ofVersion2
      // The statement of a node of version 2.
      const put = sql`INSERT INTO cimd_documents AS kept
          (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until, withdrawn)
        SELECT 'https://app.example/old', 'https://app.example', 'old', '{"client_id":"https://app.example/old"}', '{}',
          now(), now() + interval '1 hour', now() + interval '1 hour', false FROM cimd_state
        ON CONFLICT (client_id) DO UPDATE SET fetched_at = excluded.fetched_at, document = excluded.document`
      yield* put
      yield* sql`INSERT INTO cimd_leases (client_id, holder, began_at, expires_at) VALUES ('old', 'old', now(), now())`
      expect(yield* Migrations.run()).toEqual(migrations.slice(2))
      yield* put
      yield* sql`INSERT INTO cimd_leases (client_id, holder, began_at, expires_at) VALUES ('new', 'old', now(), now())`
      expect(yield* sql`SELECT ruleset, site, bytes FROM cimd_documents`).toEqual([
        { ruleset: "old", site: null, bytes: null }
      ])
      expect(yield* sql`SELECT awaited FROM cimd_leases`).toEqual([{ awaited: false }, { awaited: false }])
      expect(yield* sql`SELECT version, latest, swept_at > now() - interval '1 minute' AS swept FROM cimd_state`)
        .toEqual([
          { version: 1, latest: 3, swept: true }
        ])
      expect(yield* sql`SELECT bytes, outdated, measured_at = '-infinity' AS never FROM cimd_usage`).toEqual([
        { bytes: "0", outdated: false, never: true }
      ])
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("knows the tables that the migrator of a host created", () =>
    Effect.gen(function*() {
      const migrator = Migrator.make({})({ loader: Migrations.loader(), table: "host_migrations" })
      expect(yield* migrator).toEqual(migrations)
      expect(yield* status()).toMatchObject({ version: 3, pending: [] })
      expect(yield* Migrations.run()).toEqual([])
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("a table of another program is no version", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE cimd_state (unrelated integer)`
      expect(yield* status()).toMatchObject({ version: 0 })
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("works in a transaction of the caller, and over a client that renames columns", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      expect(yield* sql.withTransaction(Effect.zipLeft(status(), sql`SELECT 1`))).toMatchObject({ version: 0 })
      yield* Migrations.run()
      expect(yield* sql.withTransaction(Effect.zipLeft(status(), sql`SELECT 1`))).toMatchObject({ version: 3 })
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(Postgres.emptyUrl, (url) =>
      PgClient.layer({
        url,
        transformResultNames: (name) => name.toUpperCase(),
        transformQueryNames: (name) => name.toLowerCase()
      }))))))
})

describe("Migrations.run while another session uses the tables", () => {
  /** Takes the lock of a backup or of any other reader, until the scope closes or the effect is run. */
  const lockHeld = (url: Redacted.Redacted, table: string) =>
    Effect.gen(function*() {
      const client = new pg.Client({ connectionString: Redacted.value(url) })
      const release = yield* Effect.cached(Effect.promise(() => client.end()))
      yield* Effect.acquireRelease(Effect.promise(() => client.connect()), () => release)
      yield* Effect.promise(() => client.query(`BEGIN; LOCK TABLE ${table} IN ACCESS SHARE MODE`))
      return release
    })

  /** Reads as nodes of version 1 do, until it is interrupted. Sets how long the slowest read took. */
  const reading = (url: Redacted.Redacted, slowest: { millis: number; reads: number }) =>
    Effect.acquireUseRelease(
      Effect.promise(async () => {
        const client = new pg.Client({ connectionString: Redacted.value(url) })
        await client.connect()
        return client
      }),
      (client) =>
        Effect.forever(Effect.promise(async () => {
          const from = performance.now()
          await client.query("SELECT version, (SELECT count(*) FROM cimd_documents) FROM cimd_state")
          slowest.millis = Math.max(slowest.millis, performance.now() - from)
          slowest.reads++
          await new Promise((resolve) => setTimeout(resolve, 5))
        })),
      (client) => Effect.promise(() => client.end())
    )

  it.live.each(["cimd_state", "cimd_migrations", "cimd_documents", "cimd_leases"])(
    "CAC-08: succeeds once the lock of %s is gone, and blocks no reader for longer than about a second",
    (table) =>
      Effect.gen(function*() {
        const url = yield* Postgres.emptyUrl
        const client = PgClient.layer({ url })
        yield* Effect.provide(ofVersion1, client)
        const release = yield* lockHeld(url, table)
        const slowest = { millis: 0, reads: 0 }
        yield* Effect.forkScoped(reading(url, slowest))
        const running = yield* Effect.fork(Effect.provide(Migrations.run(), client))
        yield* Effect.sleep("4 seconds")
        expect(running.unsafePoll()).toBeNull()
        yield* release
        expect(yield* Fiber.join(running)).toEqual(migrations.slice(1))
        expect(slowest.reads).toBeGreaterThan(100)
        expect(slowest.millis).toBeLessThan(1500)
      }).pipe(Effect.scoped)
  )

  it.effect(
    "fails with what to do if the lock stays, changes nothing, and can be run again",
    () =>
      Effect.gen(function*() {
        const url = yield* Postgres.emptyUrl
        // It is connected before the clock moves, because connecting has a timeout.
        const client = yield* Layer.build(PgClient.layer({ url }))
        yield* Effect.provide(ofVersion1, client)
        const release = yield* lockHeld(url, "cimd_state")
        const running = yield* Effect.fork(Effect.provide(Effect.flip(Migrations.run()), client))
        // The pauses between the attempts pass at once.
        const pauses = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), TestClock.adjust("2 seconds"))
          )
        )
        const error = yield* Fiber.join(running)
        yield* Fiber.interrupt(pauses)
        expect(error).toMatchObject({ _tag: "MigrationError", reason: "locked" })
        expect(error.message).toContain("Nothing was changed. Run the migrations again after that session has ended.")
        yield* Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const [, query = ""] = /: (SELECT .*)$/.exec(error.message) ?? []
          expect(yield* sql.unsafe(query)).toEqual([
            expect.objectContaining({ query: expect.stringContaining("LOCK") })
          ])
          expect(yield* status()).toMatchObject({ version: 1 })
          expect(yield* sql`SELECT FROM pg_tables WHERE tablename = 'cimd_clients'`).toEqual([])
          yield* release
          expect(yield* Migrations.run()).toEqual(migrations.slice(1))
        }).pipe(Effect.provide(client))
      }).pipe(Effect.scoped),
    60_000
  )
})
