import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as CacheControl from "../../src/internal/fetch/cacheControl.js"

const pairs = (...lines: ReadonlyArray<string>) =>
  CacheControl.parse(lines).directives.map(({ argument, name }) => argument === undefined ? [name] : [name, argument])

const words = (...lines: ReadonlyArray<string>) => CacheControl.parse(lines).malformed.filter((word) => word !== "")

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
    ["max-age='1'", [["max-age", "'1'"]]],
    ["private=\"set-cookie, x\"", [["private", "set-cookie, x"]]]
  ])("FRS-02: %j is well formed", (line, expected) => {
    assert.deepStrictEqual(pairs(line), expected)
    assert.deepStrictEqual(CacheControl.parse([line]).malformed, [])
  })

  it.each<readonly [string, ReadonlyArray<string>]>([
    ["a=", ["a"]],
    ["a==1", ["a", "1"]],
    ["a=b=c", ["a", "b", "c"]],
    ["max-age =1", ["max-age", "1"]],
    ["max-age= 1", ["max-age", "1"]],
    ["No-Store max-age=1", ["no-store", "max-age", "1"]],
    ["no-store\tx", ["no-store", "x"]],
    ["no-store; max-age=0", ["no-store", "max-age", "0"]],
    ["no-store;", ["no-store"]],
    ["no-store:", ["no-store"]],
    ["no-store.;", ["no-store"]],
    ["\"no-store\"", ["no-store"]],
    ["(no-store)", ["no-store"]],
    ["a=\"x, no-store\"b", ["a", "x", "no-store", "b"]],
    ["max-age=\"1\"0", ["max-age", "1", "0"]],
    ["max-age=1\"0\"", ["max-age", "1", "0"]],
    ["a=\"x\u0001\"", ["a", "x"]],
    ["\u00a0no-store", ["no-store"]],
    ["max-age=1\u00a0", ["max-age", "1"]],
    ["=1", ["1"]]
  ])("FRS-02: %j is malformed, and its words are kept", (line, expected) => {
    assert.deepStrictEqual(pairs(line), [])
    assert.deepStrictEqual(words(line), expected)
    assert.deepStrictEqual(pairs("a", `${line}, b`), [["a"], ["b"]], "and it hides nothing beside it")
  })

  it.each([";", "=", "\"", "\u00e9", "@"])("FRS-02: %j is malformed, although it has no word", (line) => {
    assert.isNotEmpty(CacheControl.parse([line]).malformed)
  })

  it("FRS-02: joins several lines to one list", () => {
    assert.deepStrictEqual(pairs("max-age=1", "", "no-store, a"), [["max-age", "1"], ["no-store"], ["a"]])
  })

  it("FRS-02: an unclosed quote hides no directive behind it", () => {
    assert.deepStrictEqual(pairs("a=\"x, no-store"), [["no-store"]])
    assert.deepStrictEqual(pairs("a=\"x\\\", no-store"), [["no-store"]])
    assert.deepStrictEqual(pairs("a=\"x", "y\", no-store"), [["no-store"]])
    assert.deepStrictEqual(words("a=\"x", "y\", no-store"), ["a", "x", "y"])
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
        { directives: directives.map(({ argument, name }) => ({ name: name.toLowerCase(), argument })), malformed: [] }
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
