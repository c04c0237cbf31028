import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { isIP } from "node:net"
import * as Address from "../../src/internal/addressRules.js"

const kinds: Record<Address.Classification["kind"], ReadonlyArray<string>> = {
  "public": [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::8.8.8.8",
    "64:ff9b::808:808"
  ],
  "loopback": ["127.0.0.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "::0.0.0.1"],
  "private": [
    "10.0.0.1",
    "100.64.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fc00::1",
    "fd12:3456:789a::1"
  ],
  "special-use": [
    "0.0.0.0",
    "100.100.100.200",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:808:808::1",
    "2001:0:1::1",
    "2606:4700::5efe:8.8.8.8",
    "2606:4700::200:5efe:8.8.8.8",
    "fe80::1",
    "fec0::1",
    "fd00::5efe:10.0.0.1",
    "fd00::200:5efe:127.0.0.1",
    "fd00:ec2::254",
    "ff02::1",
    "4000::1",
    "1000::1",
    "e000::1"
  ],
  "not-an-address": [
    "",
    "localhost",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    " 127.0.0.1",
    "2130706433",
    "[::1]",
    "::1%lo",
    "fe80::1%eth0",
    "2606:4700:4700::1111%1",
    ":::1",
    "１２７.0.0.1"
  ]
}

const rule = {
  "public": "ADR-03",
  "private": "ADR-10",
  "loopback": "ADR-06",
  "special-use": "ADR-03",
  "not-an-address": "ADR-05"
}

describe("Address.classify", () => {
  for (const kind of ["public", "loopback", "private", "special-use", "not-an-address"] as const) {
    it.each(kinds[kind])(`${rule[kind]}: %s is ${kind}`, (address) => {
      assert.strictEqual(Address.classify(address).kind, kind)
    })
  }

  it("ADR-05: a text that net.isIP does not accept is not an address, and nothing throws", () => {
    const pieces = fc.constantFrom(
      "0",
      "1",
      "00",
      "7f",
      "ffff",
      "10000",
      "255",
      "256",
      "a",
      "g",
      ":",
      "::",
      ".",
      "%",
      "%1"
    )
    const likeAnAddress = fc.array(pieces, { maxLength: 20 }).map((parts) => parts.join(""))
    const text = fc.oneof(likeAnAddress, fc.ipV4Extended(), fc.ipV4(), fc.ipV6(), fc.fullUnicodeString())
    fc.assert(
      fc.property(text, (address) => {
        const known = isIP(address) !== 0 && !address.includes("%")
        assert.strictEqual(Address.classify(address).kind !== "not-an-address", known)
      }),
      { numRuns: 5000 }
    )
  })

  it.each([undefined, null, 0, 2130706433, ["127.0.0.1"], { toString: () => "8.8.8.8" }, Symbol("8.8.8.8")])(
    "ADR-05: a value that is not a string is not an address (%#)",
    (input) => {
      // A cast, because a JavaScript caller may pass anything.
      assert.strictEqual(Address.classify(input as string).kind, "not-an-address")
    }
  )

  it("ADR-03: the reason names the narrowest range and its document", () => {
    assert.strictEqual(Address.classify("169.254.169.254").reason, "link local (169.254.0.0/16, RFC 3927)")
    assert.strictEqual(Address.classify("192.0.0.9").reason, "Port Control Protocol anycast (192.0.0.9/32, RFC 7723)")
    assert.strictEqual(
      Address.classify("64:ff9b::a00:1").reason,
      "NAT64 of 10.0.0.1: private use (10.0.0.0/8, RFC 1918)"
    )
  })
})
