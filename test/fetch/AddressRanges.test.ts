import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { BlockList, isIP } from "node:net"
import * as Ranges from "../../src/internal/addressRanges.js"
import type { Subnet } from "../../src/internal/addressRules.js"
import { classify } from "../../src/internal/addressRules.js"
import type { Family } from "../fixtures/addresses.js"
import { bits, endsOf, numberOf, spellingsOf, textOf } from "../fixtures/addresses.js"

const parsed = (text: string): Subnet => {
  const range = Ranges.parse(text)
  if (typeof range === "string") throw new Error(`${text}: ${range}`)
  return range
}

const numbers = (family: Family) => fc.bigUint({ max: (1n << BigInt(bits[family])) - 1n })

/** A range that an operator may write. The ranges of IPv4-mapped and NAT64 addresses are to be written as IPv4. */
const ranges = (family: Family) =>
  fc.tuple(numbers(family), fc.integer({ min: 0, max: bits[family] })).map(([number, prefix]) => {
    const host = BigInt(bits[family] - prefix)
    return { family, prefix, first: (number >> host) << host }
  }).filter(({ first, family }) => family === "ipv4" || ![0xffffn, 0x64ff9b0000000000000000n].includes(first >> 32n))

const anyRange = fc.constantFrom<Family>("ipv4", "ipv6").chain(ranges)

describe("ADR-09: the ranges of an operator", () => {
  it.each([
    ["203.0.113.7", "203.0.113.7"],
    ["203.0.113.7/32", "203.0.113.7"],
    ["203.0.113.0/24", "203.0.113.0/24"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["2001:db8::/32", "2001:db8::/32"],
    ["2001:DB8:0:0::/32", "2001:db8::/32"],
    ["2001:db8::1", "2001:db8::1"],
    ["2001:db8::1.2.3.4", "2001:db8::102:304"],
    ["::/0", "::/0"],
    ["64:ff9b::/64", "64:ff9b::/64"]
  ])("ADR-09: reads %s", (text, canonical) => {
    assert.strictEqual(Ranges.format(parsed(text)), canonical)
  })

  it.each<readonly [unknown, string]>([
    ["", "write an IP address"],
    ["app.example", "write an IP address"],
    ["203.0.113", "write an IP address"],
    ["203.0.113.0-203.0.113.9", "write an IP address"],
    ["0xcb.0.113.7", "write an IP address"],
    [" 203.0.113.7", "write an IP address"],
    ["[2001:db8::1]", "write an IP address"],
    ["fe80::1%eth0", "write an IP address"],
    ["fe80::%eth0/64", "write an IP address"],
    ["203.0.113.0/24/1", "write an IP address"],
    [7, "write an IP address"],
    [null, "write an IP address"],
    ["203.0.113.0/", "between 0 and 32"],
    ["203.0.113.0/33", "between 0 and 32"],
    ["203.0.113.0/024", "between 0 and 32"],
    ["203.0.113.0/-1", "between 0 and 32"],
    ["203.0.113.0/255.255.255.0", "between 0 and 32"],
    ["2001:db8::/129", "between 0 and 128"],
    ["203.0.113.7/24", "the network of this prefix length is 203.0.113.0/24"],
    ["2001:db8::1/32", "the network of this prefix length is 2001:db8::/32"],
    ["::ffff:203.0.113.0/120", "write the IPv4 addresses that it stands for, 203.0.113.0/24"],
    ["::ffff:203.0.113.7", "write the IPv4 addresses that it stands for, 203.0.113.7"],
    ["64:ff9b::cb00:7107", "write the IPv4 addresses that it stands for, 203.0.113.7"],
    ["64:ff9b::/96", "write the IPv4 addresses that it stands for, 0.0.0.0/0"]
  ])("ADR-09: refuses %s and says what to write", (text, advice) => {
    const issue = Ranges.parse(text)
    assert.isString(issue)
    assert.include(issue, advice)
  })

  it("ADR-09: reads every spelling of a range, and writes it in one", () => {
    fc.assert(fc.property(anyRange, ({ family, first, prefix }) => {
      const all = spellingsOf(first, family).map((spelling) => Ranges.format(parsed(`${spelling}/${prefix}`)))
      assert.strictEqual(new Set(all).size, 1)
      const [canonical = ""] = all
      assert.strictEqual(Ranges.format(parsed(canonical)), canonical)
    }))
  })

  it("ADR-09: matches as net.BlockList and as arithmetic do, in every spelling", () => {
    const near = (first: bigint, size: bigint, width: number) =>
      fc.tuple(fc.constantFrom(first, first + size), fc.bigInt({ min: -2n, max: 2n }))
        .map(([end, offset]) => BigInt.asUintN(width, end + offset))
    const cases = anyRange.chain(({ family, first, prefix }) =>
      fc.tuple(
        fc.constant({ family, first, prefix }),
        fc.oneof(near(first, 1n << BigInt(bits[family] - prefix), bits[family]), numbers(family))
      )
    )
    fc.assert(
      fc.property(cases, ([{ family, first, prefix }, number]) => {
        const network = textOf(first, family)
        const [low, high] = endsOf(network, prefix, family)
        const list = new BlockList()
        list.addSubnet(network, prefix, family)
        const find = Ranges.matcher([parsed(`${network}/${prefix}`)])
        for (const spelling of spellingsOf(number, family)) {
          const inside = find(spelling) !== undefined
          assert.strictEqual(inside, low <= number && number <= high, spelling)
          assert.strictEqual(inside, list.check(spelling, family), spelling)
        }
      }),
      { numRuns: 2000 }
    )
  })

  it("ADR-09: an address in a range of IPv4 is refused in every form that carries it", () => {
    const prefixed = (prefix: string) => (a: bigint) => numberOf(prefix) | a
    const forms: ReadonlyArray<(ipv4: bigint) => bigint> = [
      prefixed("64:ff9b::"),
      prefixed("::ffff:0:0"),
      prefixed("::"),
      prefixed("::ffff:0:0:0"),
      prefixed("64:ff9b:1:fffe::"),
      (a) => numberOf("2002::1") | (a << 80n),
      (a) => numberOf("2001:0:4136:e378::") | (a ^ 0xffff_ffffn),
      prefixed("2606:4700:4700:1:0:5efe:0:0"),
      prefixed("fd00::5efe:0:0")
    ]
    fc.assert(fc.property(
      ranges("ipv4").chain((range) =>
        fc.tuple(fc.constant(range), fc.bigUint({ max: (1n << BigInt(32 - range.prefix)) - 1n }))
      ),
      ([{ first, prefix }, offset]) => {
        const find = Ranges.matcher([parsed(`${textOf(first, "ipv4")}/${prefix}`)])
        for (const form of forms) {
          for (const spelling of spellingsOf(form(first + offset), "ipv6")) {
            // Only the NAT64 form can be public, and only private addresses can be opened.
            const closed = !["public", "private"].includes(classify(spelling).kind)
            assert.isTrue(closed || find(spelling) !== undefined, spelling)
          }
        }
      }
    ))
  })

  it("ADR-09: no range, and no address, match nothing", () => {
    assert.isUndefined(Ranges.matcher([])("203.0.113.7"))
    const everything = Ranges.matcher([parsed("0.0.0.0/0"), parsed("::/0")])
    for (const text of ["", "app.example", "fe80::1%eth0", "203.0.113"]) assert.isUndefined(everything(text))
    assert.strictEqual(everything("203.0.113.7"), "0.0.0.0/0")
    assert.strictEqual(everything("2001:db8::1"), "::/0")
  })

  it("ADR-09: an IPv4 range is not applied to other IPv6 addresses", () => {
    const find = Ranges.matcher([parsed("0.0.0.0/0")])
    assert.isUndefined(find("2606:4700::1"))
    assert.strictEqual(find("64:ff9b::808:808"), "0.0.0.0/0")
  })
})

describe("ADR-10: the ranges that can be opened", () => {
  it.each([
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "172.16.0.0/12",
    "172.31.255.255",
    "192.168.1.0/24",
    "100.64.0.0/10",
    "fc00::/7",
    "fd00::/8",
    "fd12:3456:789a::/48"
  ])("ADR-10: %s can", (text) => {
    assert.isUndefined(Ranges.reasonAgainstPermit(parsed(text)))
  })

  it.each([
    "0.0.0.0",
    "0.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/7",
    "172.0.0.0/11",
    "172.0.0.0/8",
    "192.168.0.0/15",
    "127.0.0.1",
    "127.0.0.0/8",
    "::1",
    "::",
    "169.254.0.0/16",
    "169.254.169.254",
    "169.254.170.2",
    "fe80::/10",
    "fe80::a9fe:a9fe",
    "224.0.0.0/4",
    "239.1.2.3",
    "ff02::1",
    "255.255.255.255",
    "168.63.129.16",
    "168.63.0.0/16",
    "100.100.100.200",
    "100.96.0.96",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:ec2::/32",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:100::100:200",
    "fd00:a9fe:a9fe::1",
    "fd00:42::42",
    "64:ff9b:1::/48",
    "2002::/16",
    "2001::/32",
    "192.0.0.192",
    "198.18.0.0/15",
    "8.8.8.8",
    "93.184.216.0/24",
    "2606:4700::/32",
    "fc00::/6"
  ])("ADR-10: %s cannot", (text) => {
    assert.isString(Ranges.reasonAgainstPermit(parsed(text)))
  })

  it("ADR-10: a range that can be opened has private addresses only, but for the metadata services in it", () => {
    const roots = [["10.0.0.0", 8], ["172.16.0.0", 12], ["192.168.0.0", 16], ["100.64.0.0", 10], ["fc00::", 7]] as const
    const inside = fc.constantFrom(...roots).chain(([root, least]) => {
      const family = root.includes(":") ? "ipv6" as const : "ipv4" as const
      return fc.tuple(
        fc.oneof(numbers(family), fc.constantFrom("100.100.100.200", "fd00:ec2::254", "fd20:ce::254").map(numberOf)),
        fc.integer({ min: least, max: bits[family] }),
        numbers(family)
      ).map(([low, prefix, offset]) => {
        const start = numberOf(root) + BigInt.asUintN(bits[family] - least, low)
        const host = BigInt(bits[family] - prefix)
        return { family, prefix, first: (start >> host) << host, offset: BigInt.asUintN(Number(host), offset) }
      })
    })
    let opened = 0
    fc.assert(
      fc.property(inside, ({ family, first, offset, prefix }) => {
        const range = parsed(`${textOf(first, family)}/${prefix}`)
        if (Ranges.reasonAgainstPermit(range) !== undefined) return
        opened++
        const { kind, reason } = classify(textOf(first + offset, family))
        assert.isTrue(kind === "private" || /metadata|EC2|ISATAP/.test(reason), reason)
      })
    )
    assert.isAbove(opened, 50)
  })

  it("reads only what net.isIP reads", () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4Extended(), fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
      if (typeof Ranges.parse(text) !== "string") assert.notStrictEqual(isIP(text), 0)
    }))
  })
})
