import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import { printable, quote, quoteAll } from "../../src/internal/rules/text.js"
import { isLoopbackHost, isPlainHttps, parse } from "../../src/internal/rules/uriSyntax.js"
import { assertInSlices } from "../support/properties.js"

describe("uriSyntax", () => {
  it("DOC-11: parse returns the components of RFC 3986", () => {
    expect(parse("https://u:p@app.example.com:8443/a/b?c=d?e#f/g")).toEqual({
      scheme: "https",
      authority: "u:p@app.example.com:8443",
      userinfo: "u:p",
      host: "app.example.com",
      port: "8443",
      path: "/a/b",
      query: "c=d?e",
      fragment: "f/g"
    })
    expect(parse("com.example.app:cb")).toMatchObject({ authority: undefined, host: undefined, path: "cb" })
    expect(parse("com.example.app://@:?#")).toMatchObject({
      userinfo: "",
      host: "",
      port: "",
      path: "",
      query: "",
      fragment: ""
    })
    expect(parse("http://[2001:db8::1]:1/")).toMatchObject({ host: "[2001:db8::1]", port: "1" })
    expect(parse("http://[v1.a:b]/")).toMatchObject({ host: "[v1.a:b]" })
  })

  it("DOC-11: parse returns undefined for a string that is not a URI by RFC 3986", () => {
    for (
      const text of [
        "",
        "/",
        "//a",
        "1a:b",
        "a b:c",
        "http://a b/",
        "http://a@b@c/",
        "http://a:b:1/",
        "http://a:1x/",
        "http://[::1",
        "http://[::1]a/",
        "http://[1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://a/%4",
        "http://a/?%g0",
        "http://a/#%",
        "http://a/[",
        "http://a/##",
        "http://é/",
        "http://a\\b/",
        "http://a/\n"
      ]
    ) {
      expect(parse(text), text).toBeUndefined()
    }
  })

  it("DOC-11: the time for long hostile input is linear in its length", () => {
    const start = performance.now()
    for (const part of ["%", "%41", "a", ".", "-", "@", ":", "[", "/", "?", "#", "\\", "a.", "a-", "é"]) {
      const long = part.repeat(200_000)
      parse(`https://${long}`)
      parse(`https://a.b/${long}`)
      isPlainHttps(`https://${long}`)
      isPlainHttps(`https://a.b/${long}!`)
    }
    expect(performance.now() - start).toBeLessThan(3000)
  })

  it("DOC-12: isLoopbackHost recognizes loopback hosts", () => {
    for (const host of ["localhost", "127.0.0.1", "127.0.0.0", "127.255.255.255", "[::1]"]) {
      expect(isLoopbackHost(host), host).toBe(true)
    }
    for (
      const host of ["LOCALHOST", "localhost.", "127.0.0.256", "127.0.0.01", "127.1", "128.0.0.1", "::1", "[::2]", ""]
    ) {
      expect(isLoopbackHost(host), host).toBe(false)
    }
  })

  it("DOC-11: RFC 3986 and WHATWG read a plain URL alike, and no rule refuses it", async () => {
    const parts = fc.constantFrom(
      "a",
      "b-",
      "1",
      ".",
      "/",
      ":",
      "@",
      "?",
      "#",
      "%41",
      "xn--",
      "*",
      "A",
      "127",
      "0x1",
      "é"
    )
    await assertInSlices(
      fc.property(fc.array(parts, { maxLength: 10 }), (parts) => {
        const text = `https://${parts.join("")}`
        // Whether a browser opens an internationalized name depends on its version of Unicode. It opens no other host.
        if (isPlainHttps(text) && (URL.canParse(text) || !text.includes("xn--"))) {
          const url = new URL(text)
          expect(url.hostname).toBe(parse(text)?.host)
          expect([url.protocol, url.port, url.username, url.hash, url.search]).toEqual(["https:", "", "", "", ""])
        }
      }),
      Number(process.env["PROPERTY_RUNS"] ?? 5000)
    )
  })
})

describe("text", () => {
  it("DOC-19: a quotation is short, and escapes invisible characters", () => {
    expect(quote("a\"b\\c")).toBe("\"a\\\"b\\\\c\"")
    expect(quote("a\u0000\n\u001b\u007f\u009b\u202e\u2066\u200b\ufeff\ud800")).toBe(
      "\"a\\u0000\\n\\u001b\\u007f\\u009b\\u202e\\u2066\\u200b\\ufeff\\ud800\""
    )
    expect(quote("x".repeat(80))).toBe(`"${"x".repeat(80)}"`)
    expect(quote("x".repeat(81))).toBe(`"${"x".repeat(80)}"…`)
    expect(quoteAll(["a", "b", "c", "d", "e"])).toBe("\"a\", \"b\", \"c\", \"d\", \"e\"")
    expect(quoteAll(["a", "b", "c", "d", "e", "f", "g"])).toBe("\"a\", \"b\", \"c\", \"d\", \"e\" and 2 more")
    expect(printable("/a\u001b")).toBe("/a\\u001b")
    expect(printable("x".repeat(81))).toBe(`${"x".repeat(80)}…`)
  })
})
