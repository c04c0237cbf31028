import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import ipaddr from "ipaddr.js"
import * as Address from "../../src/internal/addressRules.js"
import { ipv4, ipv6 } from "../../src/internal/specialUseRanges.js"
import type { Family } from "../fixtures/addresses.js"
import { bits, endsOf, landmarksOf, numberOf, splitCidr, textOf } from "../fixtures/addresses.js"

/**
 * Where this library and ipaddr.js differ, and why. The two must differ on every address of these sets and on no other.
 */
interface Difference {
  readonly why: string
  readonly holds: (number: bigint) => boolean
  readonly example: string
}

const within = (...cidrs: ReadonlyArray<string>) => (number: bigint): boolean =>
  cidrs.some((cidr) => {
    const [network, prefix] = splitCidr(cidr)
    const [first, last] = endsOf(network, prefix, "ipv6")
    return first <= number && number <= last
  })

const namedByBoth = within("::/127", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64")
const namedByBothHigh = within("5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")

/** The one difference in IPv4: the platform of Azure, which is in no registry. */
const azure = numberOf("168.63.129.16")

const differences: ReadonlyArray<Difference> = [
  {
    why: "::/96 carries an IPv4 address: ipaddr.js classifies all but :: and ::1 as unicast",
    holds: (number) => within("::/96")(number) && number > 1n,
    example: "::7f00:1"
  },
  {
    why: "the dummy prefix of RFC 9780 is not in its table",
    holds: within("100:0:0:1::/64"),
    example: "100:0:0:1::1"
  },
  {
    why: "global unicast is 2000::/3: it classifies the unallocated rest as unicast",
    holds: (number) =>
      within("::/3", "4000::/2", "8000::/1")(number) && !within("::/96", "100:0:0:1::/64")(number)
      && !namedByBoth(number) && !namedByBothHigh(number),
    example: "4000::1"
  },
  {
    why: "ISATAP is in the interface identifier, not in the prefix",
    holds: (number) =>
      within("2000::/3")(number) && ((number >> 32n) & 0xfcff_ffffn) === 0x5efen
      && ipaddr.parse(textOf(number, "ipv6")).range() === "unicast",
    example: "2606:4700::5efe:a00:1"
  },
  {
    why: "well-known NAT64 of a public IPv4 address is how an IPv6-only network reaches that address",
    holds: (number) =>
      within("64:ff9b::/96")(number) && (number & 0xffff_ffffn) !== azure &&
      ipaddr.parse(textOf(number & 0xffff_ffffn, "ipv4")).range() === "unicast",
    example: "64:ff9b::808:808"
  }
]

const differs = (address: string): boolean =>
  (Address.classify(address).kind === "public") !== (ipaddr.parse(address).range() === "unicast")

const explained = (number: bigint, family: Family): boolean =>
  family === "ipv4" ? number === azure : differences.some(({ holds }) => holds(number))

const compare = (number: bigint, family: Family) => {
  const address = textOf(number, family)
  assert.strictEqual(differs(address), explained(number, family), address)
}

/** The tables of ipaddr.js, read from its constructors, because its types do not declare them. */
const theirRanges = (family: Family): ReadonlyArray<string> => {
  const constructor: { readonly prototype: object } = family === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6
  const table: unknown = Reflect.get(constructor.prototype, "SpecialRanges")
  assert(typeof table === "object" && table !== null)
  const rows: ReadonlyArray<ReadonlyArray<unknown>> = Object.values(table)
  // A name has one range or a list of them.
  const pairs: ReadonlyArray<unknown> = rows.flatMap((row) => Array.isArray(row[0]) ? row : [row])
  return pairs.map((pair) => {
    assert(Array.isArray(pair))
    return pair.join("/")
  })
}

const landmarks = (family: Family): ReadonlyArray<bigint> =>
  [...theirRanges(family), ...(family === "ipv4" ? ipv4 : ipv6).map(({ network, prefix }) => `${network}/${prefix}`)]
    .flatMap((cidr) => {
      const [network, prefix] = splitCidr(cidr)
      const { inside, outside } = landmarksOf(network, prefix, family)
      return [...inside, ...outside]
    })

describe("Address.classify beside ipaddr.js", () => {
  it("reads the tables of ipaddr.js", () => {
    assert.include(theirRanges("ipv4"), "100.64.0.0/10")
    assert.include(theirRanges("ipv6"), "fec0::/10")
  })

  it.each(["ipv4", "ipv6"] as const)("ADR-03: agrees at the ends of every range of both tables: %s", (family) => {
    for (const number of landmarks(family)) {
      compare(number, family)
    }
  })

  it("ADR-03: agrees on any IPv4 address", () => {
    fc.assert(fc.property(fc.bigUint({ max: (1n << 32n) - 1n }), (number) => compare(number, "ipv4")), {
      numRuns: 2000
    })
  })

  it("ADR-03: agrees on any IPv6 address, in and near the ranges, and with an ISATAP identifier", () => {
    const ends = landmarks("ipv6")
    const near = fc.tuple(fc.constantFrom(...ends), fc.bigInt({ min: -0xffffn, max: 0xffffn }))
      .map(([end, offset]) => BigInt.asUintN(bits.ipv6, end + offset))
    const far = fc.bigUint({ max: (1n << 128n) - 1n })
    const isatap = fc.tuple(near, fc.constantFrom(0x5efen, 0x200_5efen), fc.bigUint({ max: 0xffff_ffffn }))
      .map(([prefix, identifier, tail]) => (prefix >> 64n << 64n) | (identifier << 32n) | tail)
    fc.assert(fc.property(fc.oneof(near, far, isatap), (number) => compare(number, "ipv6")), { numRuns: 3000 })
  })

  for (const { example, holds, why } of differences) {
    it(`ADR-04: differs, because ${why}`, () => {
      assert.isTrue(differs(example))
      assert.isTrue(holds(numberOf(example)))
      const others = differences.filter((difference) => difference.holds !== holds)
      assert.isFalse(others.some((other) => other.holds(numberOf(example))), "two explanations of one difference")
    })
  }
})
