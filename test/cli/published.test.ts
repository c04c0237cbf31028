import { describe, expect, layer } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import { built, cimd } from "./command.js"
import { published } from "./published.js"

built()

const run = (...args: Parameters<typeof cimd>) => Effect.promise(() => cimd(...args))

describe("a published document", () => {
  layer(Origin.layer, { excludeTestServices: true })((it) => {
    it.scoped("lint fetches it once, and checks it for its own URL", () =>
      Effect.gen(function*() {
        const { asked, clientId, document, trusting } = yield* published()
        const { exitCode, stdout } = yield* run(["lint", clientId, ...trusting, "--json"])
        expect(JSON.parse(stdout)).toEqual({
          ok: true,
          clientId,
          issues: [],
          fetched: {
            address: "127.0.0.1",
            bytes: JSON.stringify(document).length,
            millis: expect.any(Number),
            timeToLiveSeconds: 300
          }
        })
        expect(exitCode).toBe(0)
        expect(yield* asked).toBe(1)
        const text = yield* run(["lint", clientId, ...trusting])
        expect(text.stdout).toMatch(/^fetched: \d+ bytes from 127\.0\.0\.1, in \d+ ms, to be stored for 300 s\nvalid: /)
      }))

    it.scoped("lint reports the issues, and what the headers say", () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const { clientId, document, trusting } = yield* published()
        const elsewhere = { ...document, client_id: "https://other.example/c", filler: "x".repeat(6000) }
        yield* origin.document(clientId, elsewhere, { "Cache-Control": "no-store" })
        const { exitCode, stdout } = yield* run(["lint", clientId, ...trusting, "--json"])
        const { fetched, issues } = JSON.parse(stdout)
        expect(issues.map(({ rule }: { readonly rule: string }) => rule)).toEqual(["FET-07", "DOC-04"])
        expect(fetched.timeToLiveSeconds).toBe(null)
        expect(exitCode).toBe(1)
        const given = yield* run(["lint", clientId, "--client-id", "https://other.example/c", ...trusting])
        expect(given.exitCode, "the URL where it will be published").toBe(0)
      }))

    it.scoped("match reads it too", () =>
      Effect.gen(function*() {
        const { clientId, trusting } = yield* published()
        const match = (uri: string) => run(["match", uri, "--metadata", clientId, ...trusting])
        expect((yield* match("https://app.example/callback")).exitCode).toBe(0)
        expect((yield* match("https://app.example/other")).exitCode).toBe(1)
        const origin = yield* Origin.Origin
        yield* origin.serve(clientId, { body: "[]" })
        const invalid = yield* match("https://app.example/callback")
        expect(invalid.stdout).toMatch(/failed: InvalidDocument/)
        expect(invalid.exitCode).toBe(1)
      }))

    it.scoped("FET-12: both exit as resolve does if it cannot be fetched", () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const { ca, clientId, trusting } = yield* published()
        const exitCodes = (url: string, flags: ReadonlyArray<string>) =>
          Effect.map(
            Effect.all([
              run(["lint", url, ...flags, "--json"]),
              run(["match", "https://app.example/callback", "--metadata", url, ...flags, "--json"])
            ]),
            (results) => results.map(({ exitCode, stdout }) => [exitCode, JSON.parse(stdout).error.code])
          )
        const both = (exitCode: number, code: string) => [[exitCode, code], [exitCode, code]]
        expect(yield* exitCodes(clientId, ["--ca", ca])).toEqual(both(1, "InvalidClientId"))
        expect(yield* exitCodes(clientId, ["--allow-loopback"])).toEqual(both(3, "TlsFailed"))
        expect(yield* exitCodes("https://nowhere.invalid/c.json", [])).toEqual(both(3, "LookupFailed"))
        expect(yield* exitCodes("HTTP://APP.EXAMPLE", [])).toEqual(both(1, "InvalidClientId"))
        expect(yield* exitCodes("https:app", [])).toEqual(both(1, "InvalidClientId"))
        yield* origin.serve(clientId, { status: 404 })
        expect(yield* exitCodes(clientId, trusting)).toEqual(both(1, "UnexpectedStatus"))
        yield* origin.serve(clientId, { status: 503 })
        expect(yield* exitCodes(clientId, trusting)).toEqual(both(3, "UnexpectedStatus"))
      }))
  })
})
