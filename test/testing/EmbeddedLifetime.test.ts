import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { existsSync, readFileSync, statSync } from "node:fs"
import { chmod, mkdtemp, readdir, realpath, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
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
      yield* until(async () => existsSync(join(dataDirectory, await staging(), "cluster/data/global")))
      child.kill("SIGKILL")
      yield* Effect.promise(() => outcome)
      expect(yield* Effect.promise(staging)).toMatch(/^\.cluster-new-/)
      expect(yield* Effect.promise(() => Program.run(program, [options]))).toMatchObject({
        data: join(dataDirectory, "cluster/data")
      })
      expect(yield* Effect.promise(() => readdir(dataDirectory))).toEqual(["cluster"])
    }))

  it.scopedLive("is kept for the next start, with its password", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      const { password, port } = yield* Effect.scoped(Effect.gen(function*() {
        const url = yield* Postgres.embedded({ dataDirectory })
        yield* query(url, "CREATE TABLE kept AS SELECT 1 AS one")
        return new URL(Redacted.value(url))
      }))
      const second = yield* Postgres.embedded({ dataDirectory, port: Number(port) })
      expect(new URL(Redacted.value(second)).password).toBe(password)
      expect(yield* query(second, "SELECT one FROM kept")).toEqual([{ one: 1 }])
      const other = yield* Effect.flip(Postgres.embedded({ dataDirectory }))
      expect(other).toMatchObject({ _tag: "EmbeddedPostgresError" })
      expect(other.message).toMatch(/Stop the other server that uses .*\n[^]*postmaster\.pid/)
      expect(yield* query(second, "SELECT one FROM kept"), "the first server still runs").toEqual([{ one: 1 }])
    }))

  it.scopedLive("has a password of its own that other users cannot read", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      const url = yield* Postgres.embedded({ dataDirectory })
      const { password } = new URL(Redacted.value(url))
      expect(password).toMatch(/^[\w-]{32}$/)
      const file = join(dataDirectory, "cluster/password")
      expect(readFileSync(file, "utf8")).toBe(password)
      expect(statSync(file).mode & 0o777).toBe(0o600)
      const another = new URL(Redacted.value(yield* Postgres.embedded())).password
      for (const wrong of [another, "postgres", ""]) {
        const changed = new URL(Redacted.value(url))
        changed.password = wrong
        const error = yield* Effect.flip(query(Redacted.make(changed.href), "SELECT 1"))
        expect(String(error.cause)).toContain("password")
      }
    }))

  it.scopedLive("of another version is refused with what to do", () =>
    Effect.gen(function*() {
      const dataDirectory = join(yield* temporaryFolder, "data")
      yield* Effect.scoped(Postgres.embedded({ dataDirectory }))
      yield* Effect.promise(() => writeFile(join(dataDirectory, "cluster/data/PG_VERSION"), "14\n"))
      const error = yield* Effect.flip(Postgres.embedded({ dataDirectory }))
      expect(error.message).toMatch(/Another version of Postgres wrote .*\n[^]*initialized by PostgreSQL version 14/)
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

  it.live("starts where nothing may interrupt it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      yield* Effect.acquireUseRelease(
        Scope.extend(Postgres.embedded(), scope),
        (url) => Effect.map(query(url, "SELECT 1 AS one"), (rows) => expect(rows).toEqual([{ one: 1 }])),
        () => Scope.close(scope, Exit.void)
      )
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
      expect(error).toMatch(
        /^EmbeddedPostgresError: The embedded server did not start\. Choose another port\.\n[^]*Address already in use/
      )
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
      yield* until(async () => !isRunning(pid) && (await readdir(TMPDIR)).length === 0)
    }))
})
