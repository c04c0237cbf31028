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
    const store = new BoundedStore<string>(10, { removed: () => removed.push(true) })
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

  const siteOf = (key: string) => key.split("/")[0] ?? ""

  it("CAC-27: accounts for each site exactly, whatever is set, deleted and displaced", () => {
    const store = new BoundedStore<number>(1000, { siteOf })
    let seed = 1
    const expectExact = () => {
      const bytes: Record<string, number> = {}
      for (const [key, value] of store.entries()) bytes[siteOf(key)] = (bytes[siteOf(key)] ?? 0) + value
      for (let site = 0; site < 8; site++) {
        expect(store.bytesOf(`site${site}`)).toBe(bytes[`site${site}`] ?? 0)
        expect([...store.valuesOf(`site${site}`)].reduce((sum, value) => sum + value, 0)).toBe(
          bytes[`site${site}`] ?? 0
        )
      }
      expect(Object.values(bytes).reduce((sum, value) => sum + value, 0)).toBe(store.bytes)
      expect(store.bytes).toBeLessThanOrEqual(1000)
    }
    for (let i = 0; i < 20_000; i++) {
      seed = (seed * 48_271) % 2_147_483_647
      const key = (n: number) => `site${Math.floor(n / 8) % 8}/${n % 60}`
      const bytes = seed % 53
      store.set(key(seed >> 3), bytes, bytes)
      if (seed % 5 === 0) store.delete(key(seed >> 7))
      if (seed % 3 === 0) store.get(key(seed >> 5))
      if (seed % 4001 === 0) store.clear()
      if (i % 100 === 0) expectExact()
    }
    for (const [key] of [...store.entries()]) store.delete(key)
    expectExact()
    expect(store.size).toBe(0)
  })

  it("CAC-27: a site with more than its share displaces its own entries, even if it reads them all the time", () => {
    const store = new BoundedStore<string>(160, { siteOf })
    const honest = Array.from({ length: 20 }, (_, i) => `honest${i}/client`)
    for (const key of honest) store.set(key, key, 1)
    for (let i = 0; i < 1000; i++) {
      store.set(`attacker/${i}`, "", 1)
      for (let j = 0; j < i; j++) store.get(`attacker/${j}`)
    }
    expect(honest.filter((key) => store.get(key) === undefined)).toEqual([])
    expect(store.bytesOf("attacker")).toBe(140)
  })

  it("CAC-27: a newcomer displaces entries of the site that has the most beyond its share", () => {
    const store = new BoundedStore<string>(160, { siteOf })
    for (let i = 0; i < 60; i++) store.set(`first/${i}`, "", 1)
    for (let i = 0; i < 90; i++) store.set(`second/${i}`, "", 1)
    for (let i = 0; i < 10; i++) store.set(`small/${i}`, "", 1)
    for (let i = 0; i < 40; i++) store.set(`newcomer${i}/client`, "", 1)
    expect(["first", "second", "small"].map((site) => store.bytesOf(site))).toEqual([55, 55, 10])
    expect(store.get("newcomer0/client")).toBeDefined()
    // What was read since its last turn stays, and the oldest of the others goes.
    expect(store.get("second/89")).toBeDefined()
    expect(store.get("second/0")).toBeUndefined()
  })

  it("CAC-27: sites within their shares displace each other's entries that nobody reads", () => {
    const store = new BoundedStore<string>(160, { siteOf })
    for (let i = 0; i < 1000; i++) store.set(`site${i}/client`, "", 10)
    expect(store.bytes).toBe(160)
    expect(store.get("site999/client")).toBeDefined()
  })

  it("CAC-27: displacing takes a constant time for each entry", () => {
    const count = 100_000
    const store = new BoundedStore<string>(count, { siteOf })
    for (let i = 0; i < count; i++) store.set(`attacker/${i}`, "", 1)
    for (let i = 0; i < count; i++) store.get(`attacker/${i}`)
    const from = performance.now()
    for (let i = 0; i < count; i++) store.set(`honest${i % 1000}/${i}`, "", 1)
    expect(performance.now() - from).toBeLessThan(10_000)
    expect(store.bytes).toBe(count)
  })

  it.each([0, -1, Number.NaN])("rejects a bound of %s", (bound) => {
    expect(() => new BoundedStore(bound)).toThrow("must be a positive number")
  })
})
