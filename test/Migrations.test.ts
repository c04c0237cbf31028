import * as PgClient from "@effect/sql-pg/PgClient"
import * as Migrator from "@effect/sql/Migrator"
import { describe, expect, it } from "@effect/vitest"
import { Cache, Migrations, PostgresCache } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import pg from "pg"
import * as Tables from "../src/internal/postgres/tableNames.js"
import { accepted, ruleset } from "./support/documents.js"
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

const migrations = [[1, "client_metadata_documents"]]

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
            const found = yield* cache.get(document.clientId, ruleset)
            yield* cache.evict(document.clientId)
            yield* cache.evictAll
            yield* cache.sweep()
            return Option.isSome(found)
          }),
          // A server with these lines creates its tables itself, unless they are there.
          PostgresCache.layerTiered(names).pipe(Layer.provide(Migrations.layer(names)), Layer.provide(app))
        )
        expect(used).toBe(true)

        const version = { version: 1, required: 1, pending: [] }
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
          sql`SELECT version, evicted_at FROM cimd_state`
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
        version: 1
      })
    }).pipe(Effect.scoped))

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
        "GRANT SELECT, INSERT, UPDATE, DELETE ON \"cimd_documents\", \"cimd_leases\" TO \"app\"",
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
      expect(yield* status()).toEqual({ version: 0, required: 1, pending: migrations })
      expect(yield* status({ schema: "nowhere" })).toEqual({ version: 0, required: 1, pending: migrations })
      expect(yield* tables).toEqual([])
      expect(yield* Migrations.run()).toEqual(migrations)
      expect(yield* status()).toEqual({ version: 1, required: 1, pending: [] })
      expect(yield* status({ prefix: "other_" })).toEqual({ version: 0, required: 1, pending: migrations })
    }).pipe(Effect.provide(Postgres.empty)))

  it.live("tables of a newer version have nothing pending, and run leaves them alone", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`UPDATE cimd_state SET version = 7`
      expect(yield* status()).toEqual({ version: 7, required: 1, pending: [] })
      expect(yield* Migrations.run()).toEqual([])
    }).pipe(Effect.provide(Postgres.migrated)))

  it.live("knows the tables that the migrator of a host created", () =>
    Effect.gen(function*() {
      const migrator = Migrator.make({})({ loader: Migrations.loader(), table: "host_migrations" })
      expect(yield* migrator).toEqual(migrations)
      expect(yield* status()).toMatchObject({ version: 1, pending: [] })
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
      expect(yield* sql.withTransaction(Effect.zipLeft(status(), sql`SELECT 1`))).toMatchObject({ version: 1 })
    }).pipe(Effect.provide(Layer.unwrapScoped(Effect.map(Postgres.emptyUrl, (url) =>
      PgClient.layer({
        url,
        transformResultNames: (name) => name.toUpperCase(),
        transformQueryNames: (name) => name.toLowerCase()
      }))))))
})
