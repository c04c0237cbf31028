import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { sources } from "../../src/internal/rules/ruleCatalog.js"

const rows = [
  ...readFileSync(new URL("../../docs/rules.md", import.meta.url), "utf8").matchAll(
    /^\| ((?:URL|DOC|RED|REG)-\d+) \| .* \| ([^|]+) \|$/gm
  )
].map(([, id = "", source = ""]) => ({ id, source: source.trim() }))

describe("docs/rules.md", () => {
  it("has the same rule ids as the catalog", () => {
    expect(rows.map((row) => row.id).sort()).toEqual(Object.keys(sources).sort())
  })

  for (const { id, source } of rows) {
    it(`gives ${id} the source that its issues have`, () => {
      // A row may end with its reason, and names an RFC by its number only.
      const texts = source.replace(/(?:;|: ).*$/, "").split(", ")
      const expected = texts.map((text) => text === "own" ? "effect-cimd" : text.replace(/^(\d{4})\b/, "RFC $1"))
      for (const text of expected) {
        expect(Object.entries(sources)).toContainEqual([id, expect.stringContaining(text)])
      }
    })
  }
})
