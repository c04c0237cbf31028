import { describe, expect, it } from "vitest"
import { BoundedStore } from "../src/internal/boundedStore.js"

describe("BoundedStore", () => {
  it("CAC-12: never holds more bytes than it may, whatever the entries weigh", () => {
    const store = new BoundedStore<number>(1000)
    let seed = 1
    for (let i = 0; i < 10_000; i++) {
      seed = (seed * 48_271) % 2_147_483_647
      store.set(`client ${seed % 300}`, i, seed % 400)
      expect(store.bytes).toBeLessThanOrEqual(1000)
      if (seed % 7 === 0) store.delete(`client ${(seed >> 8) % 300}`)
      store.get(`client ${(seed >> 4) % 300}`)
    }
    for (const [key] of [...store.entries()]) store.delete(key)
    expect([store.size, store.bytes]).toEqual([0, 0])
  })

  it("CAC-12: keeps what is read while a thousand identifiers pass that are read once", () => {
    const store = new BoundedStore<string>(10)
    const live = ["a", "b", "c"]
    for (const client of live) store.set(client, client, 1)
    for (let i = 0; i < 1000; i++) {
      for (const client of live) expect(store.get(client)).toBe(client)
      store.set(`stranger ${i}`, "", 1)
    }
  })

  it("CAC-12: a heavy entry takes the place of many light ones, and of no more than it must", () => {
    const removed: Array<true> = []
    const store = new BoundedStore<string>(10, () => removed.push(true))
    for (let i = 0; i < 10; i++) store.set(`light ${i}`, "", 1)
    store.set("heavy", "", 6)
    expect(store.bytes).toBe(10)
    expect(removed).toHaveLength(6)
    store.set("heavy", "", 7)
    expect(removed).toHaveLength(7)
    expect(store.size).toBe(4)
  })

  it("does not store what is heavier than all of it, and then holds no older value", () => {
    const store = new BoundedStore<string>(10)
    store.set("other", "", 1)
    store.set("client", "old", 1)
    store.set("client", "new", 11)
    expect(store.get("client")).toBeUndefined()
    expect(store.bytes).toBe(1)
  })

  it("removes an entry even when every entry was read", () => {
    const store = new BoundedStore<string>(3)
    for (const client of ["a", "b", "c"]) store.set(client, "", 1)
    for (const client of ["a", "b", "c"]) store.get(client)
    store.set("d", "", 1)
    expect(store.size).toBe(3)
    expect(store.get("d")).toBeDefined()
  })

  it.each([0, -1, Number.NaN])("rejects a bound of %s", (bound) => {
    expect(() => new BoundedStore(bound)).toThrow("must be a positive number")
  })
})
