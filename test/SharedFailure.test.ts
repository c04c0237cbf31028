import { describe, expect, it } from "@effect/vitest"
import { FetchError, Validator } from "effect-cimd"
import * as SharedFailure from "../src/internal/sharedFailure.js"
import * as StaleIfError from "../src/internal/staleIfError.js"

const clientId = "https://app.example/client.json"
const refused = (count: number, rule = "DOC-04") =>
  new Validator.InvalidDocument({
    clientId,
    issues: Array.from({ length: count }, (_, i) => ({
      rule,
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
})
