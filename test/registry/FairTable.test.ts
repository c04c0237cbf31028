import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { FairTable } from "../../src/internal/registry/fairTable.js"
import { assertInSlices } from "../support/properties.js"

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 1000)

const siteOf = (key: string) => key.slice(0, 1)
const keysOf = <A>(table: FairTable<A>) => table.entries().map(([key]) => key)

const filled = (bounds: { readonly total: number; readonly perSite: number }, keys: ReadonlyArray<string>) => {
  const table = new FairTable<string>(bounds, siteOf)
  for (const key of keys) table.set(key, key)
  return table
}

describe("FairTable", () => {
  it("REG-12: a site at its bound loses its oldest entry", () => {
    expect(keysOf(filled({ total: 10, perSite: 2 }, ["a1", "b1", "a2", "a3"]))).toEqual(["b1", "a2", "a3"])
  })

  it("REG-12: when the table is full, the fullest site loses its oldest entry", () => {
    expect(keysOf(filled({ total: 4, perSite: 9 }, ["b1", "a1", "a2", "a3", "c1"]))).toEqual(["b1", "a2", "a3", "c1"])
  })

  it("REG-12: of equally full sites, the one with the oldest entry loses it", () => {
    expect(keysOf(filled({ total: 4, perSite: 9 }, ["c1", "a1", "a2", "b1", "b2"]))).toEqual(["c1", "a2", "b1", "b2"])
    expect(keysOf(filled({ total: 2, perSite: 9 }, ["c1", "a1", "b1"]))).toEqual(["a1", "b1"])
  })

  it("REG-12: an entry that is set again keeps its age, and one that is renewed becomes the youngest", () => {
    const table = filled({ total: 9, perSite: 2 }, ["a1", "a2"])
    table.set("a1", "new")
    expect([keysOf(table), table.get("a1")]).toEqual([["a1", "a2"], "new"])
    table.renew("a1", "newer")
    table.set("a3", "a3")
    expect([keysOf(table), table.get("a1"), table.get("a2")]).toEqual([["a1", "a3"], "newer", undefined])
    expect([table.delete("a1"), table.delete("a1"), table.size]).toEqual([true, false, 1])
  })

  it("REG-12: no bound is exceeded, and no insertion displaces an entry of a smaller site (property)", () => {
    const action = fc.record({
      name: fc.constantFrom("set", "renew", "delete"),
      site: fc.constantFrom(..."abcd"),
      n: fc.nat(9)
    })
    return assertInSlices(
      fc.property(fc.array(action, { maxLength: 80 }), fc.integer({ min: 1, max: 9 }), (actions, total) => {
        const bounds = { total, perSite: 4 }
        const table = new FairTable<number>(bounds, siteOf)
        for (const { n, name, site } of actions) {
          const before = keysOf(table)
          const key = `${site}${n}`
          if (name === "delete") table.delete(key)
          else if (name === "set") table.set(key, n)
          else table.renew(key, n)
          const after = keysOf(table)
          const countIn = (keys: Iterable<string>, of: string) => [...keys].filter((each) => siteOf(each) === of).length
          const counts = [..."abcd"].map((of) => countIn(after, of))
          const most = Math.max(...counts)
          const lost = before.filter((each) => each !== key && !after.includes(each))
          // The new entry counts too: its own site may be the fullest.
          const fair = lost.every((each) => countIn(new Set([...before, key]), siteOf(each)) >= most)
          if (!fair || table.size !== after.length || after.length > total || most > bounds.perSite) return false
        }
        return true
      }),
      numRuns
    )
  })
})
