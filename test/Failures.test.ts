import { describe, expect, it } from "@effect/vitest"
import { FetchError, Validator } from "effect-cimd"
import * as Failures from "../src/internal/failures.js"

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

describe("failures that travel to other nodes", () => {
  it("CAC-11: a verdict is only for those of its rule set; the failure of a fetch is for all", () => {
    const gone = new FetchError.UnexpectedStatus({ clientId, status: 404 })
    const unauthorized = new Validator.UnauthorizedClient({ clientId, declared: ["none"], supported: [] })
    for (const failure of [refused(2), unauthorized, gone]) {
      expect(Failures.decode(Failures.encode(failure, "a"), "a")).toEqual(failure)
    }
    expect(Failures.decode(Failures.encode(refused(2), "a"), "b")).toBeUndefined()
    expect(Failures.decode(Failures.encode(unauthorized, "a"), "b")).toBeUndefined()
    expect(Failures.decode(Failures.encode(gone, "a"), "b")).toEqual(gone)
  })

  it("what another version wrote is no failure", () => {
    for (const text of ["", "{}", "null", JSON.stringify(new FetchError.UnexpectedStatus({ clientId, status: 404 }))]) {
      expect(Failures.decode(text, "a")).toBeUndefined()
    }
  })

  it("a document with thousands of faults makes no large row", () => {
    const text = Failures.encode(refused(10_000), "a")
    expect(text.length).toBeLessThan(10_000)
    expect(Failures.decode(text, "a")).toMatchObject({ _tag: "InvalidDocument", clientId })
  })

  it("FET-15: what one node's own budget refuses is not told to others", () => {
    const busy = new FetchError.Throttled({ clientId, reason: "busy", retryAfterMillis: 10 })
    expect(Failures.concernsAll(busy)).toBe(false)
    expect(Failures.concernsAll(refused(1))).toBe(true)
  })

  const status = (status: number) => new FetchError.UnexpectedStatus({ clientId, status })
  const throttled = (reason: "failed" | "rate" | "busy", originFault?: boolean) =>
    new FetchError.Throttled({ clientId, reason, originFault, retryAfterMillis: 10 })
  const faults = [
    ...[500, 503, 599, 429, 403].map(status),
    new FetchError.UnexpectedRedirect({ clientId, status: 302 }),
    new FetchError.LookupFailed({ clientId, host: "app.example", code: "ESERVFAIL" }),
    new FetchError.ConnectFailed({ clientId, attempts: [] }),
    new FetchError.TlsFailed({ clientId, address: "192.0.2.1", code: "CERT_HAS_EXPIRED", detail: "" }),
    new FetchError.FetchTimeout({ clientId, phase: "headers", millis: 1 }),
    new FetchError.ResponseTruncated({ clientId, part: "body" }),
    throttled("failed", true)
  ]
  const findings = [
    ...[404, 410, 400, 401, 204].map(status),
    new FetchError.AddressBlocked({ clientId, address: "10.0.0.1", reason: "private" }),
    new FetchError.UnsupportedContentType({ clientId }),
    new FetchError.UnsupportedContentEncoding({ clientId, contentEncoding: "gzip" }),
    new FetchError.ResponseTooLarge({ clientId, part: "body", limit: 1 }),
    new FetchError.ResponseMalformed({ clientId, reason: "" }),
    refused(1),
    new Validator.UnauthorizedClient({ clientId, declared: [], supported: [] })
  ]
  const unasked = new FetchError.FetchTimeout({ clientId, phase: "budget", millis: 1 })
  const refusals = [throttled("failed", false), throttled("failed"), throttled("rate"), throttled("busy"), unasked]

  it("FET-15: a fault of the origin, also one that is paused for, lets what was fetched before stand", () => {
    for (const fault of faults) {
      expect([Failures.isFault(fault), Failures.withdraws(fault)], fault.message).toEqual([true, false])
    }
  })

  it("FET-15: what is found in the answer withdraws what was fetched before", () => {
    for (const finding of findings) {
      expect([Failures.isFault(finding), Failures.withdraws(finding)], finding.message).toEqual([false, true])
    }
  })

  it("FET-15: what this node refuses by itself is no fault of the origin, and withdraws nothing", () => {
    for (const refusal of refusals) {
      expect([Failures.isFault(refusal), Failures.withdraws(refusal)], refusal.message).toEqual([false, false])
      expect(Failures.concernsAll(refusal), refusal.message).toBe(false)
    }
  })
})
