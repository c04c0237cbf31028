import { describe, expect, it } from "vitest"
import { MemoryStore } from "../src/internal/memoryStore.js"
import * as StoredDocument from "../src/internal/storedDocument.js"
import { accepted } from "./support/documents.js"

const remembered = (fetchedAt: bigint, expiresAt = 100n) => ({
  stored: StoredDocument.of(accepted("https://app.example/client.json")),
  fetchedAt,
  expiresAt,
  keptUntil: expiresAt,
  lifetimeMillis: 1,
  trustedUntil: expiresAt,
  withdrawn: false,
  withdrawnFor: []
})

describe("MemoryStore", () => {
  it("CAC-12: never holds more than its capacity", () => {
    const store = new MemoryStore(10)
    for (let i = 0; i < 1000; i++) store.set(`client ${i}`, remembered(1n))
    expect(store.size).toBe(10)
  })

  it("CAC-12: keeps what is read while a thousand identifiers pass that are read once", () => {
    const store = new MemoryStore(10)
    const live = ["a", "b", "c"]
    for (const client of live) store.set(client, remembered(1n))
    for (let i = 0; i < 1000; i++) {
      for (const client of live) expect(store.get(client)).toBeDefined()
      store.set(`stranger ${i}`, remembered(1n))
    }
  })

  it("evicts an entry even when every entry was read", () => {
    const store = new MemoryStore(3)
    for (const client of ["a", "b", "c"]) store.set(client, remembered(1n))
    for (const client of ["a", "b", "c"]) store.get(client)
    store.set("d", remembered(1n))
    expect(store.size).toBe(3)
    expect(store.get("d")).toBeDefined()
  })

  it("CAC-05: keeps the document of the latest fetch", () => {
    const store = new MemoryStore(3)
    const [older, newer] = [remembered(1n), remembered(2n)]
    expect(store.set("a", newer)).toBe(true)
    expect(store.set("a", older)).toBe(false)
    expect(store.get("a")).toBe(newer)
  })

  it("SWP-01: keeps what expires exactly at the boundary", () => {
    const store = new MemoryStore(3)
    store.set("before", remembered(1n, 99n))
    store.set("exactly", remembered(1n, 100n))
    expect(store.deleteExpired(100n)).toBe(1)
    expect(store.get("exactly")).toBeDefined()
  })

  it.each([0, -1, 1.5, Number.NaN])("rejects a capacity of %s", (capacity) => {
    expect(() => new MemoryStore(capacity)).toThrow("must be a positive integer")
  })
})
