import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as CacheControl from "../../src/internal/fetch/cacheControl.js"

const pairs = (...lines: ReadonlyArray<string>) =>
  CacheControl.parse(lines).map(({ argument, name }) => argument === undefined ? [name] : [name, argument])

describe("CacheControl.parse", () => {
  it.each<readonly [string, ReadonlyArray<ReadonlyArray<string>>]>([
    ["", []],
    [" ", []],
    [",", []],
    [" , ,\t,", []],
    ["no-store", [["no-store"]]],
    ["max-age=1", [["max-age", "1"]]],
    ["MaX-aGe=1, No-StOrE", [["max-age", "1"], ["no-store"]]],
    ["max-age=1 ", [["max-age", "1"]]],
    ["\t max-age=1\t ,no-store", [["max-age", "1"], ["no-store"]]],
    ["max-age=\"1\"", [["max-age", "1"]]],
    ["max-age=\"\\1\\0\"", [["max-age", "10"]]],
    ["a=\"x, no-store\", b", [["a", "x, no-store"], ["b"]]],
    ["a=\"x\\\", no-store\", b", [["a", "x\", no-store"], ["b"]]],
    ["a=\"x\\\\\", no-store", [["a", "x\\"], ["no-store"]]],
    ["a=\"\"", [["a", ""]]],
    ["a=", [["a", ""]]],
    ["a==1", [["a", "=1"]]],
    ["a=b=c", [["a", "b=c"]]],
    ["max-age =1", [["max-age", " =1"]]],
    ["no-store max-age=1", [["no-store", " max-age=1"]]],
    ["no-store\tx", [["no-store", "\tx"]]],
    ["max-age= 1", [["max-age", " 1"]]],
    ["private=\"set-cookie, x\"", [["private", "set-cookie, x"]]],
    ["=1, no-store", [["no-store"]]]
  ])("FRS-02: %j", (line, expected) => {
    assert.deepStrictEqual(pairs(line), expected)
  })

  it("FRS-02: joins several lines to one list", () => {
    assert.deepStrictEqual(pairs("max-age=1", "", "no-store, a"), [["max-age", "1"], ["no-store"], ["a"]])
  })

  it("FRS-02: an unclosed quote hides no directive behind it", () => {
    assert.deepStrictEqual(pairs("a=\"x, no-store"), [["a", "\"x"], ["no-store"]])
    assert.deepStrictEqual(pairs("a=\"x\\\", no-store"), [["a", "\"x\\\""], ["no-store"]])
    assert.deepStrictEqual(pairs("a=\"x", "y\", no-store"), [["a", "\"x"], ["y\""], ["no-store"]])
  })

  it("FRS-02: a quoted string with text around it stays as it is", () => {
    assert.deepStrictEqual(pairs("max-age=\"1\"0"), [["max-age", "\"1\"0"]])
    assert.deepStrictEqual(pairs("max-age=1\"0\""), [["max-age", "1\"0\""]])
    assert.deepStrictEqual(pairs("max-age='1'"), [["max-age", "'1'"]])
  })

  it("FRS-02: keeps white space that is neither space nor tab", () => {
    assert.deepStrictEqual(pairs("\u00a0no-store"), [["\u00a0no-store"]])
    assert.deepStrictEqual(pairs("max-age=1\u00a0"), [["max-age", "1\u00a0"]])
  })

  it("FRS-02: reads back every list that the grammar generates", () => {
    const tokenText = fc.stringOf(fc.constantFrom(..."abcxyzABC0129!#$%&'*+-.^_`|~"), { minLength: 1, maxLength: 8 })
    const quoted = fc.string({ maxLength: 12 })
    const directive = fc.oneof(
      tokenText.map((name) => ({ name, argument: undefined, text: name })),
      fc.tuple(tokenText, tokenText).map(([name, argument]) => ({ name, argument, text: `${name}=${argument}` })),
      fc.tuple(tokenText, quoted).map(([name, argument]) => ({
        name,
        argument,
        text: `${name}="${argument.replace(/["\\]/g, "\\$&")}"`
      }))
    )
    const separator = fc.constantFrom(",", ", ", " ,", ",,", "\t, \t")
    fc.assert(fc.property(fc.array(directive, { minLength: 1, maxLength: 6 }), separator, (directives, comma) => {
      assert.deepStrictEqual(
        CacheControl.parse([directives.map(({ text }) => text).join(comma)]),
        directives.map(({ argument, name }) => ({ name: name.toLowerCase(), argument }))
      )
    }))
  })

  it("FRS-02: parses 256 KiB of any text in linear time", () => {
    for (const text of ["\"", "\\", "\\\"", ",", "\",", "a=\"\\", "=", " "]) {
      const line = text.repeat(Math.ceil(2 ** 18 / text.length))
      const started = performance.now()
      CacheControl.parse([line])
      assert.isBelow(performance.now() - started, 2000, JSON.stringify(text))
    }
  })
})
