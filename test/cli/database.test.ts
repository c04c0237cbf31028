import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { chmod, mkdtemp, readdir, rm, symlink } from "node:fs/promises"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { emptyUrl, migratedUrl } from "../support/postgres.js"
import { built, cimd } from "./command.js"

built()

const run = (...args: Parameters<typeof cimd>) => Effect.promise(() => cimd(...args))

const unreachable = "postgresql://postgres:sesame@127.0.0.1:1/postgres"

describe("cimd migrate", () => {
  it.scopedLive("creates the tables, and changes nothing the second time", () =>
    Effect.gen(function*() {
      const args = ["migrate", "--database-url", Redacted.value(yield* emptyUrl), "--json"]
      const first = yield* run(args)
      expect(JSON.parse(first.stdout)).toEqual({
        ok: true,
        migrations: expect.arrayContaining([{ id: 1, name: "client_metadata_documents" }])
      })
      expect(first).toMatchObject({ exitCode: 0, stderr: "" })
      expect(yield* run(args)).toEqual({ exitCode: 0, stdout: "{\"ok\":true,\"migrations\":[]}\n", stderr: "" })
    }))

  it.scopedLive("prints the result as text, and uses the database of DATABASE_URL", () =>
    Effect.gen(function*() {
      const env = { DATABASE_URL: Redacted.value(yield* emptyUrl) }
      expect((yield* run(["migrate"], { env })).stdout).toMatch(/^ran migration 1: client_metadata_documents\n/)
      expect((yield* run(["migrate"], { env })).stdout).toBe("The tables are up to date.\n")
    }))
})

describe("tables of other names", () => {
  it.scopedLive("are created, found and swept as the flags say", () =>
    Effect.gen(function*() {
      const env = { DATABASE_URL: Redacted.value(yield* emptyUrl) }
      const names = ["--schema", "oauth", "--prefix", "clients_"]
      expect(yield* run(["migrate", ...names], { env })).toMatchObject({ exitCode: 0, stderr: "" })
      expect(yield* run(["sweep", ...names], { env })).toMatchObject({ exitCode: 0 })
      expect(yield* run(["sweep"], { env })).toMatchObject({ exitCode: 3 })
      expect(yield* run(["migrate", "--prefix", "no such"], { env })).toMatchObject({
        exitCode: 2,
        stdout: "",
        stderr: expect.stringMatching(/^cimd: Invalid .+ options: `prefix` must /)
      })
    }))
})

describe("cimd sweep", () => {
  it.scopedLive("SWP-07: prints how many rows were deleted from each table", () =>
    Effect.gen(function*() {
      const url = Redacted.value(yield* migratedUrl)
      const { exitCode, stdout } = yield* run(["sweep", "--database-url", url, "--json"])
      expect(JSON.parse(stdout)).toMatchObject({ ok: true, swept: { documents: 0 } })
      expect(exitCode).toBe(0)
      expect((yield* run(["sweep", "--database-url", url])).stdout).toContain("removed 0 expired documents\n")
    }))

  it.scopedLive.each([[], ["--schema", "oauth"], ["--prefix", "clients_"], [
    "--schema",
    "oauth",
    "--prefix",
    "clients_"
  ]])(
    "CAC-08: without tables the error names the very command that creates them: %j",
    (names) =>
      Effect.gen(function*() {
        const env = { DATABASE_URL: Redacted.value(yield* emptyUrl) }
        const { exitCode, stdout } = yield* run(["sweep", ...names, "--json"], { env })
        const { error, ok } = JSON.parse(stdout)
        expect({ ok, code: error.code, exitCode }).toEqual({ ok: false, code: "DatabaseUnavailable", exitCode: 3 })
        const [, command = ""] = /npx effect-cimd (.+) \(/.exec(error.message) ?? []
        expect(command.split(" ")).toEqual(["migrate", ...names])
        expect(yield* run(command.split(" "), { env })).toMatchObject({ exitCode: 0 })
        expect(yield* run(["sweep", ...names], { env })).toMatchObject({ exitCode: 0 })
      })
  )
})

describe("the database", () => {
  it.live.each([
    { name: "migrate", args: ["migrate"] },
    { name: "migrate --status", args: ["migrate", "--status"] },
    { name: "sweep", args: ["sweep"] }
  ])("$name without a database is a usage error that lists the choices", ({ args }) =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run(args)
      expect(stdout).toBe("")
      expect(stderr).toMatch(/^cimd: .*--database-url.*DATABASE_URL.*--embedded.*\n$/)
      expect(exitCode).toBe(2)
    }))

  it.live.each([
    { name: "--database-url and --embedded", args: ["sweep", "--database-url", unreachable, "--embedded"] },
    { name: "a URL of another database system", args: ["sweep", "--database-url", "mysql://root:sesame@127.0.0.1/db"] },
    { name: "a text that is not a URL", args: ["sweep", "--database-url", "sesame"] },
    {
      name: "a folder for a server that is not embedded",
      args: ["sweep", "--database-url", unreachable, "--data-dir", "x"]
    }
  ])("is a usage error: $name", ({ args }) =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run(args)
      expect(stdout).toBe("")
      expect(stderr).toMatch(/^cimd: .+\n$/)
      expect(stderr).not.toContain("sesame")
      expect(exitCode).toBe(2)
    }))

  it.live.each(["migrate", "migrate --status", "sweep", "resolve https://app.example/client.json"])(
    "CAC-08: %s with an unreachable server fails without printing a stack or the password",
    (command) =>
      Effect.gen(function*() {
        const { exitCode, stderr, stdout } = yield* run([...command.split(" "), "--database-url", unreachable])
        expect(stdout).toMatch(/^failed: DatabaseUnavailable\n {2}.*cannot connect to its Postgres server/)
        expect(stderr + stdout).not.toMatch(/^\s+at |sesame/m)
        expect(exitCode).toBe(3)
      })
  )

  const openFolder = Effect.acquireRelease(
    Effect.promise(async () => {
      const folder = await mkdtemp(join(tmpdir(), "cimd-embedded-"))
      // As root the server runs as another user, which must be able to enter.
      await chmod(folder, 0o755)
      return folder
    }),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )

  it.scopedLive("--embedded starts a server, creates the tables, and keeps its data between calls", () =>
    Effect.gen(function*() {
      const env = { TMPDIR: yield* openFolder }
      const flags = ["--embedded", "--json"]
      expect(JSON.parse((yield* run(["sweep", ...flags], { env })).stdout)).toMatchObject({ ok: true })
      expect(yield* run(["migrate", ...flags], { env })).toEqual({
        exitCode: 0,
        stdout: "{\"ok\":true,\"migrations\":[]}\n",
        stderr: ""
      })
      expect(yield* Effect.promise(() => readdir(env.TMPDIR))).toEqual([`effect-cimd-${userInfo().uid}`])
    }))

  it.scopedLive("--embedded does not follow a symbolic link that another user made in the temporary folder", () =>
    Effect.gen(function*() {
      const env = { TMPDIR: yield* openFolder }
      const target = yield* openFolder
      yield* Effect.promise(() => symlink(target, join(env.TMPDIR, `effect-cimd-${userInfo().uid}`)))
      const { exitCode, stderr, stdout } = yield* run(["sweep", "--embedded"], { env })
      expect(stdout).toMatch(/^failed: EmbeddedPostgresError\n.*is not a folder\. Choose another, or delete it/)
      expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: "" })
      expect(yield* Effect.promise(() => readdir(target))).toEqual([])
    }))

  it.scopedLive("--data-dir is the folder of the data", () =>
    Effect.gen(function*() {
      const folder = join(yield* openFolder, "kept")
      const { exitCode } = yield* run(["sweep", "--embedded", "--data-dir", folder])
      expect(exitCode).toBe(0)
      expect(yield* Effect.promise(() => readdir(folder))).toEqual(["cluster"])
    }))
})
