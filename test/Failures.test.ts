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
    const gone = new FetchError.StatusRefused({ clientId, status: 404 })
    const unauthorized = new Validator.UnauthorizedClient({ clientId, declared: ["none"], supported: [] })
    for (const failure of [refused(2), unauthorized, gone]) {
      expect(Failures.decode(Failures.encode(failure, "a"), "a")).toEqual(failure)
    }
    expect(Failures.decode(Failures.encode(refused(2), "a"), "b")).toBeUndefined()
    expect(Failures.decode(Failures.encode(unauthorized, "a"), "b")).toBeUndefined()
    expect(Failures.decode(Failures.encode(gone, "a"), "b")).toEqual(gone)
  })

  it("what another version wrote is no failure", () => {
    for (const text of ["", "{}", "null", JSON.stringify(new FetchError.StatusRefused({ clientId, status: 404 }))]) {
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
})
