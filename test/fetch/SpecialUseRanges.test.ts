import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Address from "../../src/internal/addressRules.js"
import type { Range } from "../../src/internal/specialUseRanges.js"
import { ipv4, ipv6 } from "../../src/internal/specialUseRanges.js"
import type { Family } from "../fixtures/addresses.js"
import { bits, endsOf, landmarksOf, numberOf, spellingsOf, splitCidr, textOf } from "../fixtures/addresses.js"

const ranges: ReadonlyArray<Range> = [...ipv4, ...ipv6]
const cidrOf = (range: Range) => `${range.network}/${range.prefix}`

const cidrs = (rows: ReadonlyArray<Range>, select: (range: Range) => boolean) => rows.filter(select).map(cidrOf).sort()

/** The ranges that contain an address, found by arithmetic, the narrowest first. */
const holders = (number: bigint, family: Family): ReadonlyArray<Range> =>
  ranges
    .filter((range) => {
      const [first, last] = endsOf(range.network, range.prefix, range.family)
      return range.family === family && first <= number && number <= last
    })
    .sort((a, b) => b.prefix - a.prefix)

const expectedKind = (number: bigint, family: Family): Address.Classification["kind"] => {
  const [narrowest] = holders(number, family)
  return narrowest === undefined
    ? "public"
    : narrowest.name === "loopback"
    ? "loopback"
    : narrowest.isPrivate
    ? "private"
    : "special-use"
}

const nat64 = "64:ff9b::/96"

describe("Special-use ranges", () => {
  // A second copy of the registries, so that a row that the code loses fails the test.
  it("ADR-03: contain every row of the IPv4 special-purpose registry", () => {
    const registry = (range: Range) => range.registry === "IANA IPv4 Special-Purpose Address Registry"
    assert.deepStrictEqual(
      cidrs(ipv4, (range) => registry(range) && !range.globallyReachable),
      [
        "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24",
        "192.0.0.0/29 192.0.0.8/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.88.99.0/24 192.88.99.2/32",
        "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32"
      ].join(" ").split(" ").sort()
    )
    assert.deepStrictEqual(
      cidrs(ipv4, (range) => registry(range) && range.globallyReachable),
      "192.0.0.9/32 192.0.0.10/32 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24".split(" ").sort()
    )
  })

  it("ADR-03: contain every row of the IPv6 special-purpose registry", () => {
    const registry = (range: Range) => range.registry === "IANA IPv6 Special-Purpose Address Registry"
    assert.deepStrictEqual(
      cidrs(ipv6, (range) => registry(range) && !range.globallyReachable),
      [
        "::1/128 ::/128 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:2::/48",
        "2001:10::/28 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10"
      ].join(" ").split(" ").sort()
    )
    assert.deepStrictEqual(
      cidrs(ipv6, (range) => registry(range) && range.globallyReachable),
      [
        "64:ff9b::/96 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28",
        "2001:30::/28 2620:4f:8000::/48"
      ].join(" ").split(" ").sort()
    )
  })

  it("ADR-03, ADR-04: contain the ranges that no special-purpose registry has", () => {
    const others = (range: Range) => !range.registry.includes("Special-Purpose")
    assert.deepStrictEqual(cidrs(ipv4, others), [
      "100.100.100.200/32",
      "100.96.0.96/32",
      "168.63.129.16/32",
      "224.0.0.0/4"
    ])
    assert.deepStrictEqual(
      cidrs(ipv6, others),
      [
        "::/96 ::ffff:0:0:0/96 fec0::/10 ff00::/8 ::/3 4000::/2 8000::/1 fd00:ec2::/32 fd20:ce::254/128",
        "fd00:c1::a9fe:a9fe/128 fd00:100::100:200/128 fd00:a9fe:a9fe::1/128 fd00:42::42/128"
      ].join(" ").split(" ").sort()
    )
  })

  it("ADR-10: mark the ranges that networks assign to their own hosts, and no others", () => {
    assert.deepStrictEqual(
      cidrs(ranges, (range) => range.isPrivate),
      "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fc00::/7".split(" ").sort()
    )
  })

  it("ADR-03: exclude all of IPv6 but 2000::/3", () => {
    const outside = cidrs(ipv6, (range) => range.name === "outside global unicast").map((cidr) => {
      const [network, prefix] = splitCidr(cidr)
      return endsOf(network, prefix, "ipv6")
    })
    const [first, last] = endsOf("2000::", 3, "ipv6")
    assert.deepStrictEqual(outside, [
      [last + 1n, 2n * (last + 1n) - 1n],
      [2n * (last + 1n), (1n << 128n) - 1n],
      [0n, first - 1n]
    ])
  })
})

for (const range of ranges.filter((range) => cidrOf(range) !== nat64)) {
  describe(`ADR-03: ${cidrOf(range)}, ${range.name}`, () => {
    const { inside, outside } = landmarksOf(range.network, range.prefix, range.family)

    it("is excluded at its first, middle and last address, in every spelling", () => {
      for (const number of inside) {
        const kind = expectedKind(number, range.family)
        assert.notStrictEqual(kind, "public")
        for (const spelling of spellingsOf(number, range.family)) {
          const classification = Address.classify(spelling)
          assert.strictEqual(classification.kind, kind, spelling)
          if (kind !== "loopback") {
            assert.include(classification.reason, holders(number, range.family).map(cidrOf)[0] ?? "a range", spelling)
          }
        }
      }
    })

    it("does not extend to the address before it and the one after it", () => {
      for (const number of outside) {
        for (const spelling of spellingsOf(number, range.family)) {
          assert.strictEqual(Address.classify(spelling).kind, expectedKind(number, range.family), spelling)
        }
      }
    })
  })
}

describe("ADR-03: any address", () => {
  const check = (family: Family) => (number: bigint) =>
    assert.strictEqual(Address.classify(textOf(number, family)).kind, expectedKind(number, family))

  it("is classified by the tables: IPv4", () => {
    fc.assert(fc.property(fc.bigUint({ max: (1n << 32n) - 1n }), check("ipv4")), { numRuns: 2000 })
  })

  it("is classified by the tables: IPv6, near the ranges and far from them", () => {
    const near = fc
      .tuple(fc.constantFrom(...ipv6.filter((range) => cidrOf(range) !== nat64)), fc.bigUint({ max: 0xffffn }))
      .map(([range, offset]) => endsOf(range.network, range.prefix, "ipv6")[1] + offset)
      .filter((number) => number < 1n << BigInt(bits.ipv6))
    const far = fc.bigUint({ max: (1n << 128n) - 1n })
    // NAT64 and the embedded forms that are not ranges have tests of their own below.
    const plain = (number: bigint) => number >> 32n !== 0x64ff9bn << 64n && ((number >> 32n) & 0xfcff_ffffn) !== 0x5efen
    fc.assert(fc.property(fc.oneof(near, far).filter(plain), check("ipv6")), { numRuns: 2000 })
  })
})

describe("ADR-04: IPv6 addresses that carry an IPv4 address", () => {
  const prefixed = (prefix: string) => (ipv4Address: bigint) => numberOf(prefix) | ipv4Address

  const forms: Record<string, (ipv4Address: bigint) => bigint> = {
    "IPv4-mapped": prefixed("::ffff:0:0"),
    "IPv4-compatible": prefixed("::"),
    "IPv4-translated (SIIT)": prefixed("::ffff:0:0:0"),
    "NAT64 of a local prefix, /96 of it": prefixed("64:ff9b:1:fffe::"),
    // RFC 6052, section 2.2: bits 64 to 71 stay zero, so the address is cut in two.
    "NAT64 of a local prefix, /48": (a) => numberOf("64:ff9b:1::") | ((a >> 16n) << 64n) | ((a & 0xffffn) << 40n),
    "6to4": (a) => numberOf("2002::1") | (a << 80n),
    "Teredo server": (a) => numberOf("2001::") | (a << 64n) | 0xffff_ffffn,
    "Teredo client": (a) => numberOf("2001:0:4136:e378::") | (a ^ 0xffff_ffffn),
    "ISATAP on a public prefix": prefixed("2606:4700:4700:1::5efe:0:0"),
    "ISATAP on a public prefix, universal bit": prefixed("2606:4700:4700:1:200:5efe:0:0"),
    "ISATAP, group bit": prefixed("2a00:1450:4001:81b:100:5efe:0:0"),
    "ISATAP, both bits": prefixed("2a00:1450:4001:81b:300:5efe:0:0"),
    "ISATAP, link-local": prefixed("fe80::5efe:0:0")
  }

  const anyIpv4 = fc.oneof(
    fc.bigUint({ max: (1n << 32n) - 1n }),
    fc.constantFrom("8.8.8.8", "93.184.216.34", "127.0.0.1", "10.0.0.1", "169.254.169.254").map(numberOf)
  )

  it.each(Object.entries(forms))("%s is refused, whatever it carries", (_, form) => {
    fc.assert(fc.property(anyIpv4, (embedded) => {
      const number = form(embedded)
      // The two addresses of ::/96 with another meaning.
      fc.pre(number > 1n)
      for (const spelling of spellingsOf(number, "ipv6")) {
        assert.strictEqual(Address.classify(spelling).kind, "special-use", spelling)
      }
    }))
  })

  it("well-known NAT64 is classified by the IPv4 address that it carries, and is never loopback", () => {
    fc.assert(fc.property(anyIpv4, (embedded) => {
      const carried = Address.classify(textOf(embedded, "ipv4"))
      for (const spelling of spellingsOf(numberOf("64:ff9b::") | embedded, "ipv6")) {
        assert.strictEqual(
          Address.classify(spelling).kind,
          carried.kind === "public" ? "public" : "special-use",
          spelling
        )
      }
    }))
  })

  it("well-known NAT64 of every IPv4 range is excluded, and the reason names the range", () => {
    for (const range of ipv4) {
      const embedded = endsOf(range.network, range.prefix, "ipv4")[0]
      const { kind, reason } = Address.classify(textOf(numberOf("64:ff9b::") | embedded, "ipv6"))
      assert.strictEqual(kind, "special-use")
      assert.include(reason, `NAT64 of ${textOf(embedded, "ipv4")}`)
    }
  })

  it("an identifier that only looks like ISATAP is public", () => {
    for (const address of ["2606:4700::400:5efe:808:808", "2606:4700::5eff:808:808", "2606:4700:0:5efe::808:808"]) {
      assert.strictEqual(Address.classify(address).kind, "public", address)
    }
  })
})
