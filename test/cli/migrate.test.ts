import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Migrations } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import pg from "pg"
import { ofVersion1 } from "../support/oldTables.js"
import { emptyUrl, migratedUrl } from "../support/postgres.js"
import { built, cimd } from "./command.js"

built()

const run = (...args: Parameters<typeof cimd>) => Effect.promise(() => cimd(...args))

const migrations = Effect.runSync(
  Effect.map(Migrations.loader(), (loaded) => loaded.map(([id, name]) => ({ id, name })))
)
/** The version of the tables that this package needs. */
const latest = migrations.length

/** Runs a script with nothing but a client of Postgres. */
const execute = (url: string, script: string) =>
  Effect.promise(async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      await client.query(script)
    } finally {
      await client.end()
    }
  })

describe("cimd migrate --print", () => {
  it.scopedLive.each([[], ["--schema", "select", "--prefix", "order"]])(
    "prints a script that creates the tables for a role with no other rights: %j",
    (names) =>
      Effect.gen(function*() {
        const owner = Redacted.value(yield* emptyUrl)
        const role = `App "${process.pid}"`
        yield* Effect.acquireRelease(
          execute(owner, `CREATE ROLE "App ""${process.pid}""" LOGIN PASSWORD 'app'`),
          () => execute(owner, `DROP OWNED BY "App ""${process.pid}"""; DROP ROLE "App ""${process.pid}"""`)
        )
        const app = new URL(owner)
        app.username = role
        app.password = "app"

        const printed = yield* run(["migrate", "--print", "--role", role, ...names])
        expect(printed).toMatchObject({ exitCode: 0, stderr: "" })
        yield* execute(owner, printed.stdout)

        const env = { DATABASE_URL: app.href }
        expect(yield* run(["migrate", "--status", ...names], { env })).toMatchObject({ exitCode: 0 })
        expect(yield* run(["sweep", ...names], { env })).toMatchObject({ exitCode: 0 })
        for (const url of [app.href, owner]) {
          expect(yield* run(["migrate", ...names], { env: { DATABASE_URL: url } })).toEqual({
            exitCode: 0,
            stdout: "The tables are up to date.\n",
            stderr: ""
          })
        }
      })
  )

  it.live("has the grants as a comment if no role is given, and needs no database", () =>
    Effect.gen(function*() {
      const { exitCode, stdout } = yield* run(["migrate", "--print"], { env: { DATABASE_URL: "nonsense" } })
      expect(stdout).toMatch(/^BEGIN;\nCREATE TABLE IF NOT EXISTS "cimd_migrations" \(\n[^]*\nCOMMIT;\n$/)
      expect(stdout).toMatch(/^-- GRANT SELECT, UPDATE ON "cimd_state" TO "your_role";$/m)
      expect(stdout).not.toMatch(/^GRANT/m)
      expect(stdout).toContain(
        `INSERT INTO "cimd_migrations" (migration_id, name) VALUES (1, 'client_metadata_documents');\n`
      )
      expect(exitCode).toBe(0)
    }))

  it.scopedLive("with --json prints the statements one by one, without a transaction", () =>
    Effect.gen(function*() {
      const { stdout } = yield* run(["migrate", "--print", "--json"])
      const { ok, statements } = JSON.parse(stdout)
      expect(ok).toBe(true)
      expect(statements).not.toContain("BEGIN")
      const url = Redacted.value(yield* emptyUrl)
      for (const statement of statements) yield* execute(url, statement)
      expect(yield* run(["migrate", "--status", "--database-url", url])).toMatchObject({ exitCode: 0 })
    }))

  it.live.each([
    ["--print", "--status"],
    ["--role", "app"],
    ["--from", "1"],
    ["--status", "--from", "1"],
    ["--print", "--from", `${latest + 1}`],
    ["--print", "--from", "-1"],
    ["--status", "--role", "app"],
    ["--print", "--role", "public"],
    ["--print", "--schema", "Identity"],
    ["--print", "--prefix", "x\"; DROP TABLE users; --"],
    ["--status", "--embedded", "--schema", "it's"]
  ])("is a usage error: %j", (flags) =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run(["migrate", ...flags])
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
      expect(stderr).toMatch(/^cimd: .+\n$/)
    }))
})

describe("cimd migrate --print --from", () => {
  it.scopedLive("prints a script that updates the tables of that version", () =>
    Effect.gen(function*() {
      const url = Redacted.value(yield* emptyUrl)
      const env = { DATABASE_URL: url }
      yield* Effect.provide(ofVersion1, PgClient.layer({ url: Redacted.make(url) }))
      const printed = yield* run(["migrate", "--print", "--from", "1"])
      expect(printed.stdout).not.toContain("CREATE TABLE \"cimd_documents\"")
      yield* execute(url, printed.stdout)
      expect(yield* run(["migrate", "--status"], { env })).toMatchObject({ exitCode: 0 })
      expect((yield* run(["migrate"], { env })).stdout).toBe("The tables are up to date.\n")
    }))

  it.live("prints the grants alone if the tables have the version of this package", () =>
    Effect.gen(function*() {
      const { exitCode, stdout } = yield* run(["migrate", "--print", "--from", `${latest}`, "--role", "app"])
      expect(stdout).toMatch(/^BEGIN;\n(GRANT .*\n)+COMMIT;\n$/)
      expect(exitCode).toBe(0)
    }))
})

describe("cimd migrate --status", () => {
  it.scopedLive("exits with 1 while something is pending, and changes nothing", () =>
    Effect.gen(function*() {
      const env = { DATABASE_URL: Redacted.value(yield* emptyUrl) }
      for (const _ of [1, 2]) {
        const { exitCode, stdout } = yield* run(["migrate", "--status", "--json"], { env })
        expect(JSON.parse(stdout)).toEqual({
          ok: false,
          version: 0,
          usableFrom: 0,
          required: latest,
          pending: migrations
        })
        expect(exitCode).toBe(1)
      }
      const text = yield* run(["migrate", "--status", "--schema", "oauth"], { env })
      const pending = migrations.map(({ id, name }) => `pending migration ${id}: ${name}\n`).join("")
      expect(text.stdout).toMatch(new RegExp(`\n${pending}Run .*cimd migrate --schema oauth\n$`))
      expect(yield* run(["migrate"], { env })).toMatchObject({ exitCode: 0 })
      expect(yield* run(["migrate", "--status"], { env })).toEqual({
        exitCode: 0,
        stdout:
          `version ${latest}, and ${latest} is needed\nusable by programs that need version 1 or later\nThe tables are up to date.\n`,
        stderr: ""
      })
    }))

  it.scopedLive("CAC-08: says no to tables of a newer version, and migrate does not call them up to date", () =>
    Effect.gen(function*() {
      const url = Redacted.value(yield* migratedUrl)
      yield* execute(url, "UPDATE cimd_state SET version = 5, latest = 7")
      const status = yield* run(["migrate", "--status", "--database-url", url])
      expect(status.stdout).toMatch(
        new RegExp(
          `^version 7, and ${latest} is needed\nusable by programs that need version 5 or later\n.*npm install effect-cimd@latest\n$`
        )
      )
      expect(status.exitCode).toBe(1)
      const asJson = yield* run(["migrate", "--status", "--json", "--database-url", url])
      expect(JSON.parse(asJson.stdout)).toEqual({ ok: false, version: 7, usableFrom: 5, required: latest, pending: [] })
      const migrated = yield* run(["migrate", "--database-url", url])
      expect(migrated.stdout).toContain("npm install effect-cimd@latest")
      expect(migrated.exitCode).toBe(3)
    }))

  it.scopedLive.each([1, latest])(
    "CAC-08: says yes to newer tables that this package can use, from version %d",
    (version) =>
      Effect.gen(function*() {
        const url = Redacted.value(yield* migratedUrl)
        yield* execute(url, `UPDATE cimd_state SET version = ${version}, latest = 7`)
        expect(yield* run(["migrate", "--status", "--database-url", url])).toMatchObject({
          exitCode: 0,
          stdout: expect.stringMatching(/\nThe tables are newer, and this version can use them\.\n$/)
        })
        expect(yield* run(["migrate", "--database-url", url])).toMatchObject({ exitCode: 0 })
        expect(yield* run(["sweep", "--database-url", url])).toMatchObject({ exitCode: 0 })
      })
  )

  it.scopedLive("a user who may not create tables, and a table of another program, have a hint", () =>
    Effect.gen(function*() {
      const owner = Redacted.value(yield* emptyUrl)
      yield* execute(owner, "CREATE TABLE cimd_leases (unrelated integer)")
      const taken = yield* run(["migrate", "--database-url", owner])
      expect(taken.stdout).toMatch(/cause: .*already exists\nhint: .*--prefix/)
      expect(taken.exitCode).toBe(3)
      const role = `cimd_nobody_${process.pid}`
      yield* Effect.acquireRelease(
        execute(owner, `CREATE ROLE ${role} LOGIN PASSWORD 'nobody'; REVOKE CREATE ON SCHEMA public FROM PUBLIC`),
        () => execute(owner, `DROP ROLE ${role}`)
      )
      const nobody = new URL(owner)
      nobody.username = role
      nobody.password = "nobody"
      const denied = yield* run(["migrate", "--database-url", nobody.href])
      expect(denied.stdout).toMatch(/cause: permission denied.*\nhint: .*cimd migrate --print/)
      expect(denied.exitCode).toBe(3)
    }))
})
