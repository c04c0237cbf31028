import { describe, expect, it } from "@effect/vitest"
import { FetchError, Validator } from "effect-cimd"
import * as SharedFailure from "../src/internal/sharedFailure.js"
import * as StaleIfError from "../src/internal/staleIfError.js"

const clientId = "https://app.example/client.json"
const refused = (count: number) =>
  new Validator.InvalidDocument({
    clientId,
    issues: Array.from({ length: count }, (_, i) => ({
      rule: "DOC-01",
      severity: "error" as const,
      path: `/${i}`,
      message: "no",
      source: "effect-cimd"
    }))
  })

describe("the failure of a fetch that other nodes share", () => {
  it("CAC-11: a refused document is shared within its rule set, a failed fetch with all nodes", () => {
    const gone = new FetchError.UnexpectedStatus({ clientId, status: 404 })
    const unauthorized = new Validator.UnauthorizedClient({ clientId, declared: ["none"], supported: [] })
    for (const failure of [refused(2), unauthorized, gone]) {
      expect(SharedFailure.decode(SharedFailure.encode(failure, "a"), "a")).toEqual(failure)
    }
    expect(SharedFailure.decode(SharedFailure.encode(refused(2), "a"), "b")).toBeUndefined()
    expect(SharedFailure.decode(SharedFailure.encode(unauthorized, "a"), "b")).toBeUndefined()
    expect(SharedFailure.decode(SharedFailure.encode(gone, "a"), "b")).toEqual(gone)
  })

  it("a text of another version is not decoded", () => {
    for (const text of ["", "{}", "null", JSON.stringify(new FetchError.UnexpectedStatus({ clientId, status: 404 }))]) {
      expect(SharedFailure.decode(text, "a")).toBeUndefined()
    }
  })

  it("a document with thousands of issues makes no large row", () => {
    const text = SharedFailure.encode(refused(10_000), "a")
    expect(text.length).toBeLessThan(10_000)
    expect(SharedFailure.decode(text, "a")).toMatchObject({ _tag: "InvalidDocument", clientId })
  })

  it("FET-15: a limit of one node is not shared with others", () => {
    const busy = new FetchError.Throttled({ clientId, reason: "busy", retryAfterMillis: 10 })
    expect(StaleIfError.isShared(busy)).toBe(false)
    expect(StaleIfError.isShared(refused(1))).toBe(true)
  })

  const status = (status: number) => new FetchError.UnexpectedStatus({ clientId, status })
  const throttled = (reason: "failed" | "rate" | "busy", originFault?: boolean) =>
    new FetchError.Throttled({ clientId, reason, originFault, retryAfterMillis: 10 })
  const originFailures = [
    ...[500, 503, 599, 429, 403].map(status),
    new FetchError.UnexpectedRedirect({ clientId, status: 302 }),
    new FetchError.LookupFailed({ clientId, host: "app.example", code: "ESERVFAIL" }),
    new FetchError.ConnectFailed({ clientId, attempts: [] }),
    new FetchError.TlsFailed({ clientId, address: "192.0.2.1", code: "CERT_HAS_EXPIRED", detail: "" }),
    new FetchError.FetchTimeout({ clientId, phase: "headers", millis: 1 }),
    new FetchError.ResponseTruncated({ clientId, part: "body" }),
    throttled("failed", true)
  ]
  const documentFailures = [
    ...[404, 410, 400, 401, 204].map(status),
    new FetchError.AddressBlocked({ clientId, address: "10.0.0.1", reason: "private" }),
    new FetchError.UnsupportedContentType({ clientId }),
    new FetchError.UnsupportedContentEncoding({ clientId, contentEncoding: "gzip" }),
    new FetchError.ResponseTooLarge({ clientId, part: "body", limit: 1 }),
    new FetchError.ResponseMalformed({ clientId, reason: "" }),
    refused(1),
    new Validator.UnauthorizedClient({ clientId, declared: [], supported: [] })
  ]
  const timeoutInQueue = new FetchError.FetchTimeout({ clientId, phase: "budget", millis: 1 })
  const ownLimits = [
    throttled("failed", false),
    throttled("failed"),
    throttled("rate"),
    throttled("busy"),
    timeoutInQueue
  ]

  it("FET-15: a failure of the origin, also during its back-off, permits a stale document", () => {
    for (const failure of originFailures) {
      expect([StaleIfError.permitsStale(failure), StaleIfError.withdraws(failure)], failure.message).toEqual([
        true,
        false
      ])
    }
  })

  it("FET-15: a failure of the document withdraws the stored document", () => {
    for (const failure of documentFailures) {
      expect([StaleIfError.permitsStale(failure), StaleIfError.withdraws(failure)], failure.message).toEqual([
        false,
        true
      ])
    }
  })

  it("FET-15: a limit of this node permits no stale document and withdraws nothing", () => {
    for (const failure of ownLimits) {
      expect([StaleIfError.permitsStale(failure), StaleIfError.withdraws(failure)], failure.message).toEqual([
        false,
        false
      ])
      expect(StaleIfError.isShared(failure), failure.message).toBe(false)
    }
  })
})
