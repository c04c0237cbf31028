import { describe, expect, it } from "vitest"
import { MemoryStore } from "../src/internal/memoryStore.js"
import * as StoredDocument from "../src/internal/storedDocument.js"
import { accepted } from "./support/documents.js"

const stored = StoredDocument.of(accepted("https://app.example/client.json"))

const remembered = (fetchedAt: bigint, expiresAt = 100n) => ({
  stored,
  fetchedAt,
  expiresAt,
  keptUntil: expiresAt,
  lifetimeMillis: 1,
  trustedUntil: expiresAt,
  withdrawn: false,
  withdrawnFor: []
})

const roomFor = (documents: number) => new MemoryStore(documents * stored.heapSize)

describe("MemoryStore", () => {
  it("CAC-12: holds as many documents as its bytes are room for", () => {
    const store = roomFor(10)
    for (let i = 0; i < 1000; i++) store.set(`https://app${i}.example/`, remembered(1n))
    expect(store.size).toBe(10)
    expect(store.bytes).toBe(10 * stored.heapSize)
  })

  it("CAC-12: tombstones take room as well", () => {
    const store = roomFor(10)
    for (let i = 0; i < 1000; i++) store.set(`https://app${i}.example/`, { ...remembered(1n), stored: undefined })
    expect(store.size).toBeLessThan(60)
    expect(store.bytes).toBeLessThanOrEqual(10 * stored.heapSize)
  })

  it("CAC-27: knows whether it holds a document of a site, and a tombstone is none", () => {
    const store = roomFor(10)
    const [one, two] = ["https://app.example/one", "https://app.example:8443/two"]
    expect(store.hasSite("app.example")).toBe(false)
    store.set(one, { ...remembered(1n), stored: undefined })
    expect(store.hasSite("app.example")).toBe(false)
    store.set(two, remembered(1n))
    expect([store.hasSite("app.example"), store.hasSite("example")]).toEqual([true, false])
    store.weigh(two)
    expect(store.hasSite("app.example")).toBe(true)
    store.delete(two)
    expect(store.hasSite("app.example")).toBe(false)
    store.set(two, remembered(1n))
    store.clear()
    expect(store.hasSite("app.example")).toBe(false)
  })

  it("CAC-05: keeps the document of the latest fetch", () => {
    const store = roomFor(3)
    const [older, newer] = [remembered(1n), remembered(2n)]
    expect(store.set("https://a.example/", newer)).toBe(true)
    expect(store.set("https://a.example/", older)).toBe(false)
    expect(store.get("https://a.example/")).toBe(newer)
  })

  it("SWP-01: keeps what expires exactly at the boundary", () => {
    const store = roomFor(3)
    store.set("https://a.example/before", remembered(1n, 99n))
    store.set("https://a.example/exactly", remembered(1n, 100n))
    expect(store.deleteExpired(100n)).toBe(1)
    expect(store.get("https://a.example/exactly")).toBeDefined()
  })

  it("has a site while it has a document of it, whatever removes that", () => {
    const of = (url: string, expiresAt?: bigint) => ({
      ...remembered(1n, expiresAt),
      stored: StoredDocument.of(accepted(url))
    })
    const [one, other] = ["https://one.example/a", "https://other.example/a"]
    const has = (store: MemoryStore) => [store.hasSite("one.example"), store.hasSite("other.example")]
    const filled = (room = 3) => {
      const store = new MemoryStore(room * of(other).stored.heapSize)
      store.set(one, of(one))
      store.set(one, of(one))
      return store
    }
    const removals: Record<string, (store: MemoryStore) => void> = {
      delete: (store) => store.delete(one),
      clear: (store) => store.clear(),
      "a tombstone": (store) => store.set(one, { ...of(one), stored: undefined }),
      "a sweep": (store) => store.deleteExpired(1000n)
    }
    for (const [name, remove] of Object.entries(removals)) {
      const store = filled()
      expect([name, ...has(store)]).toEqual([name, true, false])
      store.weigh(one)
      remove(store)
      remove(store)
      expect([name, ...has(store)]).toEqual([name, false, false])
    }
    const two = filled()
    two.set("https://one.example/b", of("https://one.example/b"))
    two.delete(one)
    expect(has(two)).toEqual([true, false])
    const full = filled(1)
    full.set(other, of(other))
    full.set(other, of(other))
    expect(has(full)).toEqual([false, true])
    const small = new MemoryStore(100)
    small.set(one, of(one))
    expect(has(small)).toEqual([false, false])
  })
})
