import { describe, expect, it } from "@effect/vitest"
import { Cache, ClientId, ClientRegistry, FetchError, HostPolicy, OAuthError, Validator } from "effect-cimd"
import { readFileSync } from "node:fs"
import type { Line } from "../src/internal/errorMeaning.js"
import { lineOf, meanings } from "../src/internal/errorMeaning.js"
import * as SharedFailure from "../src/internal/sharedFailure.js"
import * as StaleIfError from "../src/internal/staleIfError.js"

const clientId = "https://app.example/client.json"
const invalid = (...rules: ReadonlyArray<string>) =>
  new Validator.InvalidDocument({
    clientId,
    issues: rules.map((rule) => ({ rule, severity: "error" as const, path: "", message: "no", source: "own" }))
  })
const statuses = (...all: ReadonlyArray<number>) =>
  all.map((status) => new FetchError.UnexpectedStatus({ clientId, status }))
const timeouts = (...phases: ReadonlyArray<FetchError.Phase>) =>
  phases.map((phase) => new FetchError.FetchTimeout({ clientId, phase, millis: 1 }))
const throttled = (reason: "failed" | "rate" | "busy", originFault?: boolean) =>
  new FetchError.Throttled({ clientId, reason, originFault, retryAfterMillis: 10 })
const tooLarge = (part: "headers" | "fields" | "body") => new FetchError.ResponseTooLarge({ clientId, part, limit: 1 })
const notRecalled = (...reasons: ReadonlyArray<ClientRegistry.NotRecalled["reason"]>) =>
  reasons.map((reason) => new ClientRegistry.NotRecalled({ clientId, reason }))

/** Every error of each line. An error class without a sample does not compile. */
const samples = {
  "InvalidClientId": [new ClientId.InvalidClientId({ input: "x", issues: [] })],
  "HostRefused": [new HostPolicy.HostRefused({ clientId, host: "app.example", reason: "it is on the block list" })],
  "ClientBlocked": [
    new ClientRegistry.ClientBlocked({ clientId, subject: "app.example/", by: "operator", reason: "abuse" })
  ],
  "ClientUnapproved": [true, false].map((rejected) => new ClientRegistry.ClientUnapproved({ clientId, rejected })),
  "NotRecalled withdrawn or blocked": notRecalled("withdrawn", "blocked"),
  "NotRecalled unconfirmed or tooOld": notRecalled("unconfirmed", "tooOld"),
  "RegistryError": [new ClientRegistry.RegistryError({ operation: "admission", cause: new Error("away") })],
  "CacheError": [new Cache.CacheError({ operation: "get", cause: new Error("away") })],
  "LookupFailed": ["ENOTFOUND", "ESERVFAIL", "EMPTY"].map((code) =>
    new FetchError.LookupFailed({ clientId, host: "app.example", code })
  ),
  "AddressBlocked": [new FetchError.AddressBlocked({ clientId, address: "10.0.0.1", reason: "private" })],
  "ConnectFailed": [new FetchError.ConnectFailed({ clientId, attempts: [] })],
  "TlsFailed": [new FetchError.TlsFailed({ clientId, address: "192.0.2.1", code: "CERT_HAS_EXPIRED", detail: "" })],
  "FetchTimeout": timeouts("lookup", "connect", "tls", "headers", "body"),
  "UnexpectedStatus 404 or 410": statuses(404, 410),
  "UnexpectedStatus of any other status": statuses(
    ...[101, 201, 202, 204, 206, 304, 400, 401, 402, 403, 405, 407, 408, 409, 421, 425, 429, 451, 500, 502, 503, 999]
  ),
  "UnexpectedRedirect": [new FetchError.UnexpectedRedirect({ clientId, status: 302 })],
  "UnsupportedContentType": [new FetchError.UnsupportedContentType({ clientId, contentType: "text/html" })],
  "UnsupportedContentEncoding": [new FetchError.UnsupportedContentEncoding({ clientId, contentEncoding: "gzip" })],
  "ResponseTooLarge": [tooLarge("headers"), tooLarge("fields"), tooLarge("body")],
  "ResponseTruncated": (["headers", "body"] as const).map((part) =>
    new FetchError.ResponseTruncated({ clientId, part })
  ),
  "ResponseMalformed": [new FetchError.ResponseMalformed({ clientId, reason: "no" })],
  "Throttled busy or rate": [throttled("busy"), throttled("rate")],
  "Throttled after a failure that permits a stale document": [throttled("failed", true)],
  "Throttled after any other failure": [throttled("failed", false), throttled("failed")],
  "InvalidDocument that is not a JSON object (DOC-01, DOC-02)": [invalid("DOC-02"), invalid("DOC-03", "DOC-01")],
  "InvalidDocument with any other issues": [invalid("DOC-04"), invalid("DOC-03", "DOC-10")],
  "UnauthorizedClient": [new Validator.UnauthorizedClient({ clientId, declared: ["none"], supported: [] })]
} satisfies Record<Line, ReadonlyArray<unknown>>

const rows = [
  ...readFileSync(new URL("../docs/rules.md", import.meta.url), "utf8").matchAll(
    /^\| `([A-Z][A-Za-z]+)`([^|]*) \| (yes|no) \| (yes|no) \| `([a-z_]+)` \|$/gm
  )
].map(([, tag = "", rest = "", withdraws, stale, oauth]) => ({
  line: `${tag}${rest}`,
  withdraws: withdraws === "yes",
  permitsStale: stale === "yes",
  oauth
}))

describe("the table of errors", () => {
  it("FET-12, FET-16: docs/rules.md has the lines of the code, in their order", () => {
    expect(rows).toEqual(
      Object.entries(meanings).map(([line, { oauthError, permitsStale, withdraws }]) => ({
        line,
        withdraws,
        permitsStale,
        oauth: oauthError.error
      }))
    )
  })

  for (const { line, oauth, permitsStale, withdraws } of rows) {
    it(`FET-12, FET-16: ${line}`, () => {
      const errors = Object.entries(samples).find(([name]) => name === line)?.[1] ?? []
      expect(errors).not.toEqual([])
      for (const error of errors) {
        expect(lineOf(error)).toBe(line)
        expect(error.oauthError.error).toBe(oauth)
        if (SharedFailure.isFailure(error)) {
          expect([StaleIfError.withdraws(error), StaleIfError.permitsStale(error)]).toEqual([withdraws, permitsStale])
          expect(StaleIfError.isShared(error)).toBe(error._tag !== "Throttled")
        }
      }
    })
  }

  it("FET-12: what is not a verdict has one OAuth error, whatever answers inside the network", () => {
    const others = Object.values(samples).flat().filter(({ oauthError }) =>
      !["invalid_client", "unauthorized_client"].includes(oauthError.error)
    )
    expect(others.length).toBeGreaterThan(40)
    expect(new Set(others.map(({ oauthError }) => JSON.stringify(oauthError)))).toEqual(
      new Set([JSON.stringify(OAuthError.temporarilyUnavailable)])
    )
  })

  it("FET-12: a verdict has one text", () => {
    expect(OAuthError.unauthorizedClient.error_description).toBe(OAuthError.invalidClient.error_description)
  })

  it("FET-16: every failure that nodes share has a line", () => {
    const tags = SharedFailure.Failure.members.flatMap((member) =>
      "members" in member ? member.members.map(({ _tag }) => _tag) : [member._tag]
    )
    for (const tag of tags) expect(rows.some(({ line }) => line.split(" ")[0] === tag), tag).toBe(true)
  })
})
