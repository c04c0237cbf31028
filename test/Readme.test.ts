import { readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import * as Tables from "../src/internal/postgres/tableNames.js"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")

const wordsOf = (text: string, pattern: RegExp): ReadonlyArray<string> =>
  [...new Set([...text.matchAll(pattern)].map(([, word = ""]) => word))].sort()

describe("README.md", () => {
  it("lists the metrics that there are, and no others", () => {
    const source = readFileSync(new URL("../src/internal/metrics.ts", import.meta.url), "utf8")
    const exported = wordsOf(source, /Metric\.(?:counter|gauge)\("([a-z_]+)"/g)
    expect(exported.length).toBeGreaterThan(5)
    expect(wordsOf(readme, /^\| `(cimd_[a-z_]+)` \|/gm)).toEqual(exported)
  })

  it("lists every tag that they have", () => {
    const source = readFileSync(new URL("../src/internal/metrics.ts", import.meta.url), "utf8")
    const tags = wordsOf(source, /Metric\.tagged\(\w+, "\w+", "([a-z_]+)"\)/g)
    expect(tags.length).toBeGreaterThan(5)
    for (const tag of tags) expect(readme).toMatch(new RegExp(`^\\| \`cimd_.*\\b${tag}\\b`, "m"))
  })

  it("names the tables that there are", () => {
    const { documents, leases, migrations, state } = Tables.defaults
    for (const table of [documents, leases, migrations, state]) expect(readme).toContain(`\`${table}\``)
  })

  it("names every module", () => {
    const modules = readdirSync(new URL("../src", import.meta.url))
      .filter((name) => name.endsWith(".ts") && name !== "index.ts")
      .map((name) => name.slice(0, -".ts".length))
    for (const module of modules) expect(readme).toContain(module)
  })
})
