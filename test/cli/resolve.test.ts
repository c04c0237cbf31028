import { describe, expect, layer } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { emptyUrl, migratedUrl } from "../support/postgres.js"
import { built, cimd } from "./command.js"
import { published } from "./published.js"

built()

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
          {
            rule: "DOC-05",
            path: "/client_secret",
            message: expect.any(String),
            severity: "error",
            source: "CIMD 4.1"
          },
          expect.objectContaining({ rule: "DOC-12", path: "/redirect_uris/0" })
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
          error: { code: "UnexpectedStatus", verdict: true, message: expect.stringContaining("404") }
        })
        expect(exitCode).toBe(1)
      }))

    it.scoped("ADR-06: a loopback client is refused without --allow-loopback, and no request is made", () =>
      Effect.gen(function*() {
        const { asked, ca, clientId } = yield* published()
        const url = Redacted.value(yield* migratedUrl)
        const { exitCode, stdout } = yield* run(["resolve", clientId, "--database-url", url, "--ca", ca, "--json"])
        expect(JSON.parse(stdout)).toMatchObject({
          ok: false,
          error: { issues: [{ rule: "URL-10" }], hint: expect.stringContaining("--allow-loopback") }
        })
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
        expect(JSON.parse(stdout)).toMatchObject({
          ok: false,
          error: { code: "TlsFailed", verdict: false, hint: expect.stringContaining("--ca") }
        })
        expect(exitCode).toBe(3)
      }))

    it.scoped("CAC-08: without tables the error names the command that creates them", () =>
      Effect.gen(function*() {
        const { asked, clientId, trusting } = yield* published()
        const url = Redacted.value(yield* emptyUrl)
        const { exitCode, stdout } = yield* run(["resolve", clientId, "--database-url", url, ...trusting, "--json"])
        expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "DatabaseUnavailable" } })
        expect(stdout).toContain("cimd migrate")
        expect(exitCode).toBe(3)
        expect(yield* asked).toBe(0)
      }))

    it.scoped("without a database the document is kept in memory only, as stderr says", () =>
      Effect.gen(function*() {
        const { asked, clientId, document, trusting } = yield* published()
        for (const count of [1, 2]) {
          const { exitCode, stderr, stdout } = yield* run(["resolve", clientId, ...trusting, "--json"])
          expect(JSON.parse(stdout)).toMatchObject({ ok: true, source: "origin", metadata: document })
          expect(stderr).toMatch(/^cimd: No database is named.*--database-url/m)
          expect(exitCode).toBe(0)
          expect(yield* asked).toBe(count)
        }
      }))

    it.scoped("flags that only a database needs ask for one", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published()
        for (const flags of [["--schema", "oauth"], ["--prefix", "clients_"], ["--data-dir", "x"]]) {
          const { exitCode, stderr, stdout } = yield* run(["resolve", clientId, ...trusting, ...flags])
          expect(stdout).toBe("")
          expect(stderr).toMatch(/^cimd: .*(--database-url|--embedded)/m)
          expect(exitCode).toBe(2)
        }
      }))

    it.scoped("FET-12: exits with 1 for a verdict on the client, and with 3 for any other failure", () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const { clientId, document, trusting } = yield* published()
        const exitCodeOf = (args: ReadonlyArray<string>) =>
          Effect.map(run(["resolve", ...args, ...trusting, "--json"]), ({ exitCode, stdout }) => {
            const { error } = JSON.parse(stdout)
            expect(error.verdict).toBe(exitCode === 1)
            return [error.code, exitCode]
          })
        const answer = (answer: Origin.Answer) =>
          Effect.zipRight(origin.serve(clientId, answer), exitCodeOf([clientId]))
        const body = JSON.stringify(document)
        expect(yield* answer({ status: 404 })).toEqual(["UnexpectedStatus", 1])
        expect(yield* answer({ status: 410 })).toEqual(["UnexpectedStatus", 1])
        expect(yield* answer({ status: 500 })).toEqual(["UnexpectedStatus", 3])
        expect(yield* answer({ status: 302, headers: { Location: "/" } })).toEqual(["UnexpectedRedirect", 3])
        expect(yield* answer({ body, headers: { "Content-Type": "text/html" } })).toEqual(["UnsupportedContentType", 3])
        expect(yield* answer({ body, headers: { "Content-Encoding": "gzip" } })).toEqual([
          "UnsupportedContentEncoding",
          3
        ])
        expect(yield* answer({ body: " ".repeat(5121) })).toEqual(["ResponseTooLarge", 3])
        expect(yield* answer({ raw: "nonsense\r\n\r\n" })).toEqual(["ResponseMalformed", 3])
        expect(yield* answer({ body: "{}" })).toEqual(["InvalidDocument", 1])
        expect(yield* answer({ body: "[" })).toEqual(["InvalidDocument", 1])
        yield* origin.document(clientId, document)
        expect(yield* exitCodeOf([clientId, "--auth-method", "private_key_jwt"])).toEqual(["UnauthorizedClient", 1])
        expect(yield* exitCodeOf([clientId.toUpperCase()])).toEqual(["InvalidClientId", 1])
        expect(yield* exitCodeOf(["my-client"])).toEqual(["InvalidClientId", 1])
        expect(yield* exitCodeOf(["https://localhost:22/c.json"])).toEqual(["HostRefused", 1])
        expect(yield* exitCodeOf(["https://localhost:65535/c.json"])).toEqual(["ConnectFailed", 3])
        expect(yield* exitCodeOf(["https://nowhere.invalid/c.json"])).toEqual(["LookupFailed", 3])
      }))

    it.scoped("DOC-20: the flags of the profile apply", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published({ client_name: undefined, redirect_uris: ["acme:/cb"] })
        const rules = (...flags: ReadonlyArray<string>) =>
          Effect.map(run(["resolve", clientId, ...trusting, ...flags, "--json"]), ({ exitCode, stdout }) => {
            const { error, warnings } = JSON.parse(stdout)
            return [exitCode, ...(error?.issues ?? warnings).map(({ rule }: { readonly rule: string }) => rule)]
          })
        expect(yield* rules()).toEqual([0, "DOC-12"])
        expect(yield* rules("--private-use-scheme", "ACME")).toEqual([0])
        expect(yield* rules("--mcp")).toEqual([1, "DOC-20", "DOC-12"])
        expect(yield* rules("--require", "tos_uri", "--require", "logo_uri")).toEqual([1, "DOC-20", "DOC-20", "DOC-12"])
      }))

    it.scoped("a document cannot control the terminal", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published({ custom: "\u001b[2J\u200b\u{e0041}\u202e\u2800\u0085" })
        for (const flags of [[], ["--json"]]) {
          const { stdout } = yield* run(["resolve", clientId, ...trusting, ...flags])
          expect(stdout).toContain("\\u001b[2J\\u200b\\udb40\\udc41\\u202e\\u2800\\u0085")
          expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
        }
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
