import { describe, expect, it } from "@effect/vitest"
import { ClientId } from "effect-cimd"
import { readFileSync } from "node:fs"
import { networkOf } from "../../src/internal/addressNetwork.js"
import { domainOf, publicSuffixListDate, siteOf } from "../../src/internal/rules/site.js"

/** The payers of a host, which has to be that of a client identifier. */
const payersOf = (host: string) => {
  const id = `https://${host}/client.json`
  expect(ClientId.is(id, { loopback: true, addressLiterals: true })).toBe(true)
  return [siteOf(id), domainOf(id)]
}

describe("siteOf and domainOf", () => {
  for (
    const [kind, rows] of Object.entries<ReadonlyArray<readonly [host: string, site: string, domain?: string]>>({
      "a suffix of one label": [
        ["example.com", "example.com"],
        ["a.b.example.com", "example.com"],
        ["xexample.com", "xexample.com"],
        ["_dmarc.a_b.example.com", "example.com"]
      ],
      "a suffix of several labels": [
        ["example.co.uk", "example.co.uk"],
        ["a.example.co.uk", "example.co.uk"],
        ["login.example.com.au", "example.com.au"],
        ["a.b.example.k12.ca.us", "example.k12.ca.us"]
      ],
      "a private suffix": [
        ["alice.github.io", "alice.github.io", "github.io"],
        ["a.b.alice.github.io", "alice.github.io", "github.io"],
        ["app.pages.dev", "app.pages.dev", "pages.dev"],
        ["branch.app.pages.dev", "app.pages.dev", "pages.dev"],
        ["bucket.s3.amazonaws.com", "bucket.s3.amazonaws.com", "amazonaws.com"],
        ["alice.duckdns.org", "alice.duckdns.org", "duckdns.org"]
      ],
      "a host that is a private suffix": [
        ["github.io", "github.io", "github.io"],
        ["s3.amazonaws.com", "s3.amazonaws.com", "amazonaws.com"]
      ],
      "a host that is a suffix of ICANN": [["co.uk", "co.uk"], ["com.au", "com.au"], ["kawasaki.jp", "kawasaki.jp"]],
      "a wildcard rule (*.kawasaki.jp)": [
        ["any.kawasaki.jp", "any.kawasaki.jp"],
        ["shop.any.kawasaki.jp", "shop.any.kawasaki.jp"],
        ["www.shop.any.kawasaki.jp", "shop.any.kawasaki.jp"],
        ["foo.ck", "foo.ck"],
        ["a.b.foo.ck", "b.foo.ck"]
      ],
      "an exception rule (!city.kawasaki.jp)": [
        ["city.kawasaki.jp", "city.kawasaki.jp"],
        ["www.city.kawasaki.jp", "city.kawasaki.jp"],
        ["a.www.ck", "www.ck"]
      ],
      "a single label": [["localhost", "localhost"]],
      "a top-level domain that is not in the list": [
        ["app.example", "app.example"],
        ["a.b.app.example", "app.example"],
        ["a.localhost", "a.localhost"],
        ["a.b.unlisted", "b.unlisted"]
      ],
      "Punycode": [
        ["a.example.xn--p1ai", "example.xn--p1ai"],
        ["a.xn--bcher-kva.example.com", "example.com"],
        ["www.xn--bcher-kva.de", "xn--bcher-kva.de"],
        ["a.b.xn--55qx5d.cn", "b.xn--55qx5d.cn"]
      ],
      "an IPv4 address": [["192.0.2.7", "192.0.2.7"], ["203.0.113.7", "203.0.113.7"], ["127.0.0.1", "127.0.0.1"]],
      "an IPv6 address": [
        ["[2001:db8:1:2::1]", "2001:db8:1:2::/64"],
        ["[2001:db8:1:2:ffff::]", "2001:db8:1:2::/64"],
        ["[2001:db8:1:3::1]", "2001:db8:1:3::/64"],
        ["[::1]", "0:0:0:0::/64"],
        ["[64:ff9b::c000:207]", "192.0.2.7"]
      ],
      "a port": [
        ["example.com:8443", "example.com"],
        ["a.alice.github.io:25", "alice.github.io", "github.io"],
        ["192.0.2.7:8443", "192.0.2.7"],
        ["[2001:db8:1:2::1]:8443", "2001:db8:1:2::/64"]
      ]
    })
  ) {
    it(`FET-20: ${kind}`, () => {
      for (const [host, site, domain = site] of rows) expect([host, ...payersOf(host)]).toEqual([host, site, domain])
    })
  }

  it("FET-20: neither path nor query has a meaning", () => {
    expect(siteOf("https://a.example.com/https://b.other.com/?x=c.third.com")).toBe("example.com")
    expect(domainOf("https://a.alice.github.io/@b.other.com:9/")).toBe("github.io")
  })

  it("FET-20: no client identifier has upper case or a trailing dot, so a host has one spelling", () => {
    for (const host of ["Example.com", "example.com.", "ALICE.github.io", "[2001:DB8::1]", "[2001:db8:0::1]"]) {
      expect(ClientId.is(`https://${host}/client.json`, { addressLiterals: true })).toBe(false)
    }
  })

  it("FET-20: a host of the maximum length is read in little time", () => {
    const long = `https://${"a.".repeat(125)}com/c`
    const start = performance.now()
    for (let call = 0; call < 10_000; call++) siteOf(long)
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

describe("networkOf", () => {
  for (
    const [address, network] of [
      ["192.0.2.7", "192.0.2.7"],
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["::ffff:c000:207", "192.0.2.7"],
      ["64:ff9b::192.0.2.7", "192.0.2.7"],
      ["2001:DB8::1", "2001:db8:0:0::/64"],
      ["2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:0::/64"],
      ["fe80::1%eth0", "fe80:0:0:0::/64"],
      ["::192.0.2.7", "0:0:0:0::/64"]
    ] as const
  ) {
    it(`FET-20: ${address} is of ${network}`, () => {
      expect(networkOf(address)).toBe(network)
    })
  }
})

describe("the date of the Public Suffix List", () => {
  it("FET-20: is that of the lowest version of tldts that package.json permits", () => {
    const { dependencies } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      dependencies: Record<string, string>
    }
    // Whoever raises the range also reads the date of the new list, and changes both.
    expect([dependencies["tldts"], publicSuffixListDate]).toEqual(["^7.6.0", "2026-11-25"])
  })
})
