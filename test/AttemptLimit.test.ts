import { describe, expect, it } from "vitest"
import * as AttemptLimit from "../src/internal/attemptLimit.js"

describe("AttemptLimit", () => {
  it("permits one attempt per key and interval", () => {
    const may = AttemptLimit.make({ interval: 10n, maxKeys: 100 })
    expect([may("a", 0n), may("a", 0n), may("a", 9n), may("b", 9n)]).toEqual([true, false, false, true])
    expect([may("a", 10n), may("b", 18n), may("a", 19n), may("b", 19n)]).toEqual([true, false, false, true])
    expect(may("a", 20n)).toBe(true)
  })

  it("remembers a bounded number of keys, and permits no key a second attempt because of the others", () => {
    const may = AttemptLimit.make({ interval: 10n, maxKeys: 3 })
    expect(["a", "b", "c", "d", "a"].map((key) => may(key, 0n))).toEqual([true, true, true, false, false])
    expect(["d", "e", "f", "a"].map((key) => may(key, 10n))).toEqual([true, true, true, false])
  })
})
