import { describe, expect, layer } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { emptyUrl, migratedUrl } from "../support/postgres.js"
import { built, cimd } from "./command.js"

built()

let next = 0

/** Publishes a document on an origin. Returns the document and the flags with which the command trusts the origin. */
const published = (change: object = {}) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    const clientId = `https://localhost:${origin.port}/client-${next++}.json`
    const document = {
      client_id: clientId,
      client_name: "App",
      redirect_uris: ["https://app.example/callback"],
      token_endpoint_auth_method: "none",
      ...change
    }
    yield* origin.document(clientId, document)
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "cimd-resolve-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    // When run by root, the embedded server runs as another user, which needs access to its data.
    yield* Effect.promise(() => chmod(folder, 0o755))
    const ca = join(folder, "ca.pem")
    yield* Effect.promise(() => writeFile(ca, origin.ca))
    const asked = Effect.map(
      origin.requests,
      (requests) => requests.filter(({ target }) => clientId.endsWith(target)).length
    )
    return { clientId, document, folder, ca, asked, trusting: ["--allow-loopback", "--ca", ca] }
  })

const run = (...args: Parameters<typeof cimd>) => Effect.promise(() => cimd(...args))

describe("cimd resolve", () => {
  layer(Origin.layer, { excludeTestServices: true })((it) => {
    it.scoped("the first call fetches from the origin, the second reads the cache", () =>
      Effect.gen(function*() {
        const { asked, clientId, document, trusting } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const args = ["resolve", clientId, "--database-url", url, ...trusting, "--json"]
        const first = yield* run(args)
        expect(JSON.parse(first.stdout)).toEqual({
          ok: true,
          clientId,
          source: "origin",
          stale: false,
          millis: expect.any(Number),
          authMethods: ["none"],
          warnings: [],
          metadata: document
        })
        expect(first.exitCode).toBe(0)
        const second = yield* run(args)
        expect(JSON.parse(second.stdout)).toMatchObject({ ok: true, source: "postgres", metadata: document })
        expect(second.exitCode).toBe(0)
        expect(yield* asked).toBe(1)
      }))

    it.scoped("--embedded keeps the cache between calls, and the text names the source", () =>
      Effect.gen(function*() {
        const { asked, clientId, folder, trusting } = yield* published()
        const args = ["resolve", clientId, "--embedded", "--data-dir", join(folder, "data"), ...trusting]
        const first = yield* run(args)
        expect(first.stdout).toContain(`accepted: ${clientId}\n`)
        expect(first.stdout).toMatch(/source: the client's origin, in \d+ ms\n$/)
        expect(first.exitCode).toBe(0)
        const second = yield* run(args)
        expect(second.stdout).toMatch(/source: the cache in Postgres, in \d+ ms\n$/)
        expect(second.exitCode).toBe(0)
        expect(yield* asked).toBe(1)
        const failed = yield* run(["resolve", `${clientId}#`, ...args.slice(2)])
        expect(failed.exitCode, "a negative result, even if the embedded server has run").toBe(1)
      }))

    it.scoped("DOC-19: an invalid document fails with every issue", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published({ client_secret: "s", redirect_uris: ["javascript:alert(1)"] })
        const url = Redacted.value(yield* migratedUrl)
        const args = ["resolve", clientId, "--database-url", url, ...trusting]
        const { exitCode, stdout } = yield* run([...args, "--json"])
        const { error, ok } = JSON.parse(stdout)
        expect(ok).toBe(false)
        expect(error.code).toBe("InvalidDocument")
        expect(error.issues).toEqual(expect.arrayContaining([
          { rule: "DOC-05", path: "/client_secret", message: expect.any(String), severity: "error" },
          { rule: "DOC-12", path: "/redirect_uris/0", message: expect.any(String), severity: "error" }
        ]))
        expect(exitCode).toBe(1)
        expect((yield* run(args)).stdout).toMatch(/^errors:\n[^]*\nfailed: InvalidDocument, 2 errors, 0 warnings\n$/)
      }))

    it.scoped("FET-03: a status other than 200 fails with its code", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const missing = clientId.replace("/client-", "/missing-")
        const { exitCode, stdout } = yield* run(["resolve", missing, "--database-url", url, ...trusting, "--json"])
        expect(JSON.parse(stdout)).toEqual({
          ok: false,
          error: { code: "UnexpectedStatus", message: expect.stringContaining("404") }
        })
        expect(exitCode).toBe(1)
      }))

    it.scoped("ADR-06: a loopback client is refused without --allow-loopback, and no request is made", () =>
      Effect.gen(function*() {
        const { asked, ca, clientId } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const { exitCode, stdout } = yield* run(["resolve", clientId, "--database-url", url, "--ca", ca, "--json"])
        expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { issues: [{ rule: "URL-10" }] } })
        expect(exitCode).toBe(1)
        expect(yield* asked).toBe(0)
      }))

    it.scoped("the warning of development mode goes to stderr, so stdout has only the result", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const { stderr, stdout } = yield* run(["resolve", clientId, "--database-url", url, ...trusting, "--json"])
        expect(stderr).toContain("Development mode")
        expect(stdout.trim().split("\n")).toHaveLength(1)
      }))

    it.scoped("without --ca a private certificate authority is not trusted", () =>
      Effect.gen(function*() {
        const { clientId } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const { exitCode, stdout } = yield* run([
          "resolve",
          clientId,
          "--database-url",
          url,
          "--allow-loopback",
          "--json"
        ])
        expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "TlsFailed" } })
        expect(exitCode).toBe(1)
      }))

    it.scoped("CAC-08: without tables the error names the command that creates them", () =>
      Effect.gen(function*() {
        const { asked, clientId, trusting } = yield* published()
        const url = Redacted.value(yield* emptyUrl)
        const { exitCode, stdout } = yield* run(["resolve", clientId, "--database-url", url, ...trusting, "--json"])
        expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "CacheUnavailable" } })
        expect(stdout).toContain("cimd migrate")
        expect(exitCode).toBe(1)
        expect(yield* asked).toBe(0)
      }))

    it.scoped("a --ca file that does not exist or has no valid certificate is a usage error", () =>
      Effect.gen(function*() {
        const { clientId, folder } = yield* published()
        const text = join(folder, "text")
        yield* Effect.promise(() => writeFile(text, "not a certificate"))
        const broken = join(folder, "broken")
        yield* Effect.promise(() => writeFile(broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
        for (const file of [text, broken, join(folder, "missing")]) {
          const { exitCode, stderr, stdout } = yield* run(["resolve", clientId, "--embedded", "--ca", file])
          expect(stdout).toBe("")
          expect(stderr).toMatch(/^cimd: .+\n$/)
          expect(exitCode).toBe(2)
        }
      }))
  })
})
