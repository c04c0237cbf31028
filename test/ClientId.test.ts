import { ClientId, Issue } from "effect-cimd"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { isPlain, issuesOf } from "../src/internal/rules/clientIdGrammar.js"
import { assertInSlices } from "./support/properties.js"

const found = (input: unknown, options?: ClientId.Options): ReadonlyArray<string> =>
  ClientId.issues(input, options).map((issue) => `${issue.severity} ${issue.rule}`)

const error = (rule: string) => [`error ${rule}`]
const warning = (rule: string) => [`warning ${rule}`]

/** Tests that each input has exactly the listed issues. */
const cases = (
  title: string,
  table: ReadonlyArray<readonly [input: string, issues: ReadonlyArray<string>]>,
  options?: ClientId.Options
) =>
  describe(title, () => {
    for (const [input, expected] of table) {
      it(`${title.slice(0, 6)}: ${JSON.stringify(input).slice(0, 90)} has ${expected.join(", ") || "no issues"}`, () => {
        expect(found(input, options)).toEqual(expected)
        expect(ClientId.is(input, options)).toBe(!expected.some((issue) => issue.startsWith("error")))
      })
    }
  })

describe("ClientId", () => {
  cases("URL-01 the scheme is https, and a host follows", [
    ["https://app.example.com/client.json", []],
    ["https://a.b/c", []],
    ["HTTPS://app.example.com/c", error("URL-01")],
    ["Https://app.example.com/c", error("URL-01")],
    ["http://app.example.com/c", error("URL-01")],
    ["https:/app.example.com/c", error("URL-01")],
    ["https:app.example.com/c", error("URL-01")],
    ["https:\\\\app.example.com/c", error("URL-01")],
    [" https://app.example.com/c", error("URL-01")],
    ["\thttps://app.example.com/c", error("URL-01")],
    ["ht\ntps://app.example.com/c", error("URL-01")],
    ["\ufeffhttps://app.example.com/c", error("URL-01")],
    ["//app.example.com/c", error("URL-01")],
    ["app.example.com/c", error("URL-01")],
    ["urn:example:client", error("URL-01")],
    ["https:///c", error("URL-01")],
    ["https://:443/c", error("URL-01")],
    ["", error("URL-01")]
  ])

  cases("URL-02 a path is there", [
    ["https://app.example.com", error("URL-02")],
    ["https://app.example.com:8443", error("URL-02")],
    ["https://app.example.com/", warning("URL-02")],
    ["https://app.example.com//", []],
    ["https://app.example.com/c/", []]
  ])

  cases("URL-03 no segment is . or ..", [
    ["https://app.example.com/.", error("URL-03")],
    ["https://app.example.com/..", error("URL-03")],
    ["https://app.example.com/./c", error("URL-03")],
    ["https://app.example.com/a/../c", error("URL-03")],
    ["https://app.example.com/a/%2e/c", error("URL-03")],
    ["https://app.example.com/a/%2E%2e/c", error("URL-03")],
    ["https://app.example.com/a/.%2e/c", error("URL-03")],
    ["https://app.example.com/a/%2E.", error("URL-03")],
    ["https://app.example.com/.well-known/c", []],
    ["https://app.example.com/...", []],
    ["https://app.example.com/a..b/c", []],
    ["https://app.example.com/a%2ejson", []],
    ["https://app.example.com/c?a=/../b", warning("URL-07")]
  ])

  cases("URL-04 no fragment", [
    ["https://app.example.com/c#", error("URL-04")],
    ["https://app.example.com/c#f", error("URL-04")],
    ["https://app.example.com/c#?q", error("URL-04")],
    ["https://app.example.com/c%23f", []]
  ])

  cases("URL-05 no userinfo", [
    ["https://user@app.example.com/c", error("URL-05")],
    ["https://user:secret@app.example.com/c", error("URL-05")],
    ["https://@app.example.com/c", error("URL-05")],
    ["https://:@app.example.com/c", error("URL-05")],
    ["https://a@b@app.example.com/c", error("URL-05")],
    ["https://app.example.com/@user", []],
    ["https://app.example.com/c?a=b@c", warning("URL-07")]
  ])

  cases("URL-06 a port is a number from 1 to 65535", [
    ["https://app.example.com:8443/c", []],
    ["https://app.example.com:443/c", []],
    ["https://app.example.com:1/c", []],
    ["https://app.example.com:65535/c", []],
    ["https://app.example.com:65536/c", error("URL-06")],
    ["https://app.example.com:0/c", error("URL-06")],
    ["https://app.example.com:08443/c", error("URL-06")],
    ["https://app.example.com:0443/c", error("URL-06")],
    ["https://app.example.com:/c", error("URL-06")],
    ["https://app.example.com:80a/c", error("URL-06")],
    ["https://app.example.com:-1/c", error("URL-06")],
    ["https://app.example.com:99999999999999999999/c", error("URL-06")]
  ])

  cases("URL-07 a query is a warning", [
    ["https://app.example.com/c?v=1", warning("URL-07")],
    ["https://app.example.com/c?", warning("URL-07")],
    ["https://app.example.com/?v=1", ["warning URL-02", "warning URL-07"]]
  ])

  cases("URL-08 the string is canonical", [
    ["https://app.example.com\\@evil.example/c", error("URL-08")],
    ["https://app.example.com/a\\b", error("URL-08")],
    ["https://app.example.com/a\tb", error("URL-08")],
    ["https://app.example.com/a\nb", error("URL-08")],
    ["https://app.exa\tmple.com/c", error("URL-08")],
    ["https://app.example.com/a b", error("URL-08")],
    ["https://app.example.com/c ", error("URL-08")],
    ["https://app.example.com/c\u0000", error("URL-08")],
    ["https://app.example.com/c\u007f", error("URL-08")],
    ["https://app.example.com/ü", error("URL-08")],
    ["https://app.example.com/\ud83d\ude00", error("URL-08")],
    ["https://app.example.com/\ud800", error("URL-08")],
    ["https://app.example.com/c?q=ü", ["error URL-08", "warning URL-07"]],
    ["https://app.example.com/c?q='", ["error URL-08", "warning URL-07"]],
    ["https://app.example.com/<c>", error("URL-08")],
    ["https://app.example.com/{c}", error("URL-08")],
    ["https://app.example.com/\"c\"", error("URL-08")],
    ["https://App.example.com/c", error("URL-08")],
    ["https://app.EXAMPLE.com/c", error("URL-08")],
    ["https://bücher.example/c", error("URL-08")],
    ["https://app\uff0eexample.com/c", error("URL-08")],
    ["https://\uff11\uff12\uff17.0.0.1/c", error("URL-08")],
    ["https://app.ex%61mple.com/c", error("URL-08")],
    ["https://app.example%2ecom/c", error("URL-08")],
    ["https://app.example.com/c^d", error("URL-08")],
    ["https://app.example.com/c|d", error("URL-08")],
    ["https://app.example.com/[c]", error("URL-08")],
    ["https://app.example.com/`c`", error("URL-08")],
    ["https://app.example.com/c?q=a^b", ["error URL-08", "warning URL-07"]],
    ["https://app.example.com/c?q=[a]", ["error URL-08", "warning URL-07"]],
    ["https://app.example.com/c?q={a}|b", ["error URL-08", "warning URL-07"]],
    ["https://xn--a.example.com/c", []],
    ["https://xn--a.example/c", []],
    ["https://xn--.example/c", error("URL-10")],
    ["https://XN--a.example/c", error("URL-08")],
    ["https://xn--bcher-kva.example/c", []],
    ["https://app.example.com/%41", []],
    ["https://app.example.com/%c3%bc", []],
    ["https://app.example.com/%C3%BC", []],
    ["https://app.example.com/%00", []],
    ["https://app.example.com/a;b=c,d!e'f(g)*h", []],
    ["https://app.example.com/a:b@c", []],
    ["https://app_1.example.com/c", []],
    ["https://_a.example.com/c", []]
  ])

  describe("URL-08 for addresses, if addresses are permitted", () => {
    const table: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["https://203.0.113.7/c", []],
      ["https://203.0.113.7:8443/c", []],
      ["https://[2001:db8::1]/c", []],
      ["https://0xcb.0.113.7/c", error("URL-08")],
      ["https://0313.0.113.7/c", error("URL-08")],
      ["https://203.0.28935/c", error("URL-08")],
      ["https://3405803783/c", error("URL-08")],
      ["https://0xcb007107/c", error("URL-08")],
      ["https://203.0.113.7./c", error("URL-08")],
      ["https://203.0.113.256/c", error("URL-08")],
      ["https://203.0.113.7.9/c", error("URL-08")],
      ["https://app.example.0x/c", error("URL-08")],
      ["https://[2001:DB8::1]/c", error("URL-08")],
      ["https://[2001:db8:0::1]/c", error("URL-08")],
      ["https://[2001:db8::203.0.113.7]/c", error("URL-08")],
      ["https://[fe80::1%25eth0]/c", error("URL-08")],
      ["https://[::1/c", error("URL-08")],
      ["https://[v1.a]/c", error("URL-08")],
      ["https://127.0.0.1/c", error("URL-10")],
      ["https://[::1]/c", error("URL-10")]
    ]
    for (const [input, expected] of table) {
      it(`URL-08: ${input} has ${expected.join() || "no issues"}`, () => {
        expect(found(input, { addressLiterals: true })).toEqual(expected)
      })
    }
  })

  it("URL-09: 2048 characters are accepted, and 2049 are refused", () => {
    const longest = `https://app.example.com/${"a".repeat(2024)}`
    expect(longest.length).toBe(2048)
    expect(found(longest)).toEqual([])
    expect(found(`${longest}a`)).toEqual(error("URL-09"))
    expect(found(`${longest}\u0000`)).toEqual(error("URL-09"))
    for (const maxLength of [2049, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(found(`${longest}a`, { maxLength })).toEqual(error("URL-09"))
    }
    expect(found("https://a.b/c", { maxLength: 12 })).toEqual(error("URL-09"))
    expect(found("https://a.b/c", { maxLength: 13 })).toEqual([])
  })

  it("URL-09: the length is checked first, so ten megabytes cost nothing", () => {
    const start = performance.now()
    for (const character of ["a", ".", "/", "%", "@", "[", "\\"]) {
      expect(found(`https://app.example.com/${character.repeat(10_000_000)}`)).toEqual(error("URL-09"))
    }
    expect(performance.now() - start).toBeLessThan(1000)
  })

  cases("URL-10 the host is a fully qualified host name", [
    ["https://localhost/c", error("URL-10")],
    ["https://intranet/c", error("URL-10")],
    ["https://app.example.com./c", error("URL-10")],
    ["https://app..example.com/c", error("URL-10")],
    ["https://.example.com/c", error("URL-10")],
    ["https://-app.example.com/c", error("URL-10")],
    ["https://app-.example.com/c", error("URL-10")],
    ["https://app.example.com!/c", error("URL-10")],
    ["https://*.example.com/c", error("URL-10")],
    [`https://${"a".repeat(63)}.example/c`, []],
    [`https://${"a".repeat(64)}.example/c`, error("URL-10")],
    [`https://${"a.".repeat(126)}a/c`, []],
    [`https://aa.${"a.".repeat(125)}a/c`, error("URL-10")],
    [`https://${"a.".repeat(127)}a/c`, error("URL-10")],
    ["https://203.0.113.7/c", error("URL-10")],
    ["https://127.0.0.1/c", error("URL-10")],
    ["https://[2001:db8::1]/c", error("URL-10")],
    ["https://[::1]/c", error("URL-10")],
    ["https://127.1/c", ["error URL-08", "error URL-10"]],
    ["https://2130706433/c", ["error URL-08", "error URL-10"]],
    ["https://0x7f000001/c", ["error URL-08", "error URL-10"]]
  ])

  cases("URL-10 in development mode", [
    ["https://localhost/c", []],
    ["https://localhost:8443/c", []],
    ["https://127.0.0.1:8443/c", []],
    ["https://127.8.9.10/c", []],
    ["https://[::1]:8443/c", []],
    ["https://localhost./c", error("URL-10")],
    ["https://LOCALHOST/c", error("URL-08")],
    ["https://127.1/c", error("URL-08")],
    ["https://[0::1]/c", error("URL-08")],
    ["https://10.0.0.1/c", error("URL-10")],
    ["https://[::ffff:127.0.0.1]/c", ["error URL-08", "error URL-10"]],
    ["https://[::ffff:7f00:1]/c", error("URL-10")],
    ["https://intranet/c", error("URL-10")],
    ["https://app.example.com/c", []]
  ], { loopback: true })

  cases("URL-11 percent-encoding is well formed", [
    ["https://app.example.com/%", error("URL-11")],
    ["https://app.example.com/%4", error("URL-11")],
    ["https://app.example.com/%zz", error("URL-11")],
    ["https://app.example.com/%4g", error("URL-11")],
    ["https://app.example.com/c?%", ["error URL-11", "warning URL-07"]],
    ["https://app.example.com/%25", []]
  ])

  it("URL-12: a value that is not a string is not a client id, and does not throw", () => {
    const hostile = {
      toString() {
        throw new Error("read")
      }
    }
    for (const input of [undefined, null, 1, true, {}, [], ["https://app.example.com/c"], Symbol("s"), 1n, hostile]) {
      expect(found(input)).toEqual(error("URL-12"))
      expect(ClientId.is(input)).toBe(false)
    }
    expect(ClientId.is(new String("https://app.example.com/c"))).toBe(false)
  })

  it("URL-12: an identifier of the server's own registry is not a client id", () => {
    for (const input of ["my-client", "s6BhdRkqt3", "client@example.com", "did:web:example.com"]) {
      expect(ClientId.is(input)).toBe(false)
    }
  })

  it.each([
    "https://app.example/client.json",
    "https://app.example",
    "https://APP.example/client.json",
    "HTTPS://APP.EXAMPLE/CLIENT.JSON",
    "hTTps://app.example/c",
    "http://app.example/c",
    "https:app",
    "https:/app.example/c",
    "https:\\\\app.example\\c",
    "https:",
    "https://",
    "https://localhost:8443/c",
    "https://[::1",
    " https://app.example/c",
    "\t\n https://app.example/c",
    "\u0000https://app.example/c",
    "\ufeffhttps://app.example/c",
    "https://app.example/c ",
    `https://app.example/${"c".repeat(100_000)}`
  ])("URL-12: what looks like a URL is not looked up in a registry: %j", (input) => {
    expect(ClientId.looksLikeUrl(input)).toBe(true)
  })

  it.each([
    "",
    " ",
    "https",
    "http",
    "httpsx://app.example/c",
    "xhttps://app.example/c",
    "https ://app.example/c",
    "app.example/c",
    "//app.example/c",
    "my-client",
    "s6BhdRkqt3",
    "client@example.com",
    "did:web:example.com",
    "urn:client:https://app.example",
    "client https://app.example/c",
    "com.example.app:/https://app.example",
    "%68ttps://app.example/c",
    "\u017fhttps://app.example",
    " ".repeat(100_000)
  ])("URL-12: an identifier of the server's own registry does not look like a URL: %j", (input) => {
    expect(ClientId.looksLikeUrl(input)).toBe(false)
  })

  it("URL-12: a value that is not a string does not look like a URL, and is not read", () => {
    const hostile = {
      toString() {
        throw new Error("read")
      }
    }
    for (const input of [undefined, null, 1, ["https://app.example/c"], new String("https://app.example/c"), hostile]) {
      expect(ClientId.looksLikeUrl(input)).toBe(false)
    }
  })

  it("URL-12: every client id looks like a URL", () => {
    fc.assert(fc.property(Arbitrary.make(ClientId.ClientId), (id) => ClientId.looksLikeUrl(id)), { numRuns: 50 })
  })

  it("URL-01: a blank before the scheme is named", () => {
    for (const [blank, name] of [[" ", "U+0020"], ["\n", "U+000A"], ["\ufeff", "U+FEFF"]] as const) {
      expect(ClientId.issues(`${blank}https://app.example/c`)).toMatchObject([
        { rule: "URL-01", message: expect.stringContaining(name) }
      ])
    }
  })

  it("DOC-19: independent issues of a client id are all reported", () => {
    expect(found("HTTP://user@Example.com:0/../%zz?q#f")).toEqual([
      "error URL-01",
      "error URL-05",
      "error URL-06",
      "error URL-08",
      "error URL-03",
      "error URL-04",
      "error URL-11",
      "warning URL-07"
    ])
  })

  it("parse succeeds with the string itself, or fails with every issue", () => {
    expect(Effect.runSync(ClientId.parse("https://app.example.com/c?v=1"))).toBe("https://app.example.com/c?v=1")
    const error = Effect.runSync(Effect.flip(ClientId.parse("https://user@app.example.com/c#")))
    expect(error._tag).toBe("InvalidClientId")
    expect(error.issues.map((issue) => issue.rule)).toEqual(["URL-05", "URL-04"])
    expect(error.message).toContain("URL-05")
    expect(error.message, "no registry has a URL").not.toContain("registry")
    expect(Effect.runSync(Effect.flip(ClientId.parse("s6BhdRkqt3"))).message).toContain("registry")
    expect(error.oauthError.error).toBe("invalid_client")
  })

  it("a message quotes little of the input, and no control character", () => {
    const error = Effect.runSync(Effect.flip(ClientId.parse(`https://app.example.com/${"\u001b\u202e".repeat(500)}`)))
    expect(error.message.length).toBeLessThan(1500)
    expect(error.message).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/)
  })

  it("host is lower-case without port and brackets, and origin has a port that is not 443", () => {
    const at = (text: string) => Effect.runSync(ClientId.parse(text, { loopback: true, addressLiterals: true }))
    expect(ClientId.host(at("https://app.example.com:8443/c:1/@"))).toBe("app.example.com")
    expect(ClientId.host(at("https://[2001:db8::1]:8443/c"))).toBe("2001:db8::1")
    expect(ClientId.host(at("https://[::1]/c"))).toBe("::1")
    for (const text of ["https://app.example.com/c", "https://app.example.com:443/c", "https://[::1]:8443/c"]) {
      expect(ClientId.origin(at(text))).toBe(new URL(text).origin)
    }
  })

  it("the schema decodes what parse accepts, and its arbitrary generates nothing else", () => {
    expect(Schema.decodeUnknownSync(ClientId.ClientId)("https://app.example.com/c")).toBe("https://app.example.com/c")
    expect(() => Schema.decodeUnknownSync(ClientId.ClientId)("https://app.example.com/c#")).toThrow("URL-04")
    fc.assert(fc.property(Arbitrary.make(ClientId.ClientId), (id) => ClientId.is(id)), { numRuns: 50 })
  })
})

describe("ClientId properties", () => {
  const parts = fc.constantFrom(
    "https://",
    "HTTPS://",
    "http://",
    "app.example.com",
    "a.b",
    "xn--a.b",
    "127.0.0.1",
    "[::1]",
    "localhost",
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%",
    "?",
    "#",
    "@",
    ":",
    "443",
    "8443",
    "\\",
    "\t",
    " ",
    "a",
    "A",
    "_",
    "-",
    "é",
    "'",
    "|",
    "^",
    "[",
    "0x7f",
    "{",
    "\u0000"
  )
  const text = fc.oneof(
    fc.string(),
    fc.fullUnicodeString(),
    fc.webUrl(),
    fc.array(parts, { maxLength: 12 }).map((parts) => parts.join("")),
    fc.array(parts, { maxLength: 8 }).map((parts) => `https://app.example.com${parts.join("")}`)
  )
  const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2000)
  const options = fc.record({ loopback: fc.boolean(), addressLiterals: fc.boolean() })

  it("URL-08: the URL parser returns an accepted client id unchanged, except for `:443`", async () => {
    await assertInSlices(
      fc.property(text, options, (input, options) => {
        // Whether the parser reads an internationalized name depends on its version of Unicode.
        if (ClientId.is(input, options) && (URL.canParse(input) || !input.includes("xn--"))) {
          const authority = input.slice(0, input.indexOf("/", 8))
          expect(new URL(input).href).toBe(authority.replace(/:443$/, "") + input.slice(authority.length))
        }
      }),
      numRuns
    )
  })

  it("URL-12: nothing throws, and `is` agrees with `issues`", async () => {
    await assertInSlices(
      fc.property(fc.oneof(text, fc.anything()), options, (input, options) => {
        expect(ClientId.is(input, options)).toBe(!ClientId.issues(input, options).some(Issue.isError))
      }),
      numRuns
    )
  })

  it("URL-08: the fast path and the full check agree", async () => {
    await assertInSlices(
      fc.property(text, (input) => {
        // An empty query forces the full check, and adds one warning.
        if (isPlain(input)) {
          expect(issuesOf(`${input}?`).map((issue) => issue.rule)).toEqual(["URL-07"])
        }
      }),
      numRuns
    )
  })
})
