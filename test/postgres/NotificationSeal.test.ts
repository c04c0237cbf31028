import { describe, expect, it } from "vitest"
import * as Seal from "../../src/internal/postgres/notificationSeal.js"

const seal = Seal.make("0b".repeat(32))
const text = "changed node https://app.example/client.json"

describe("CAC-15: a sealed notification", () => {
  it("is opened with the same key on the same channel only", () => {
    const payload = seal.close("channel", text)
    expect(seal.open("channel", payload)).toBe(text)
    expect(seal.open("other", payload)).toBeUndefined()
    expect(Seal.make("0c".repeat(32)).open("channel", payload)).toBeUndefined()
  })

  it("does not show its text, nor that two are the same, nor the length of a short client id", () => {
    const payloads = [text, text, "changed node https://a.example/"].map((text) => seal.close("channel", text))
    for (const payload of payloads) {
      expect(payload).toMatch(/^[\w-]+$/)
      expect(Buffer.from(payload, "base64url").toString("latin1")).not.toContain("example")
    }
    expect(new Set(payloads).size).toBe(3)
    expect(new Set(payloads.map(({ length }) => length)).size).toBe(1)
  })

  it("shows a fingerprint of its key to the statements, and never the key", () => {
    const key = "0b".repeat(32)
    expect(JSON.stringify(seal)).not.toContain(key)
    expect(seal.fingerprint).toMatch(/^[0-9a-f]{64}$/)
    expect(seal.fingerprint).not.toBe(Seal.make("0c".repeat(32)).fingerprint)
  })

  it("fits a notification with the longest client id", () => {
    const longest = `released ${"n".repeat(12)} https://app.example/`.padEnd(9 + 13 + 2048, "x")
    const payload = seal.close("channel", longest)
    expect(payload.length).toBeLessThan(8000)
    expect(seal.open("channel", payload)).toBe(longest)
  })

  it.each(["", "changed node https://app.example/", "A".repeat(37), "A".repeat(7999), "\u0000\u2028é😀", "===="])(
    "is not opened if a stranger made it up: %j",
    (payload) => expect(seal.open("channel", payload)).toBeUndefined()
  )

  it("is not opened if any of its bytes was changed", () => {
    const bytes = Buffer.from(seal.close("channel", text), "base64url")
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1
      expect(seal.open("channel", changed.toString("base64url"))).toBeUndefined()
    }
    expect(seal.open("channel", bytes.subarray(0, -1).toString("base64url"))).toBeUndefined()
  })
})
