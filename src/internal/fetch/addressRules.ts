/**
 * Whether an address may be dialed (ADR-03, ADR-04, ADR-05).
 *
 * What a network operator has chosen for itself cannot be told from the address: a NAT64 prefix of its own
 * (RFC 6052, section 3.3), a 6rd prefix (RFC 5969), or public addresses routed inside. A firewall has to hold those.
 */
import { BlockList, isIP, SocketAddress } from "node:net"
import type { Range } from "./specialUseRanges.js"
import { ipv4, ipv6 } from "./specialUseRanges.js"

/** What an address is, and why. */
export interface Judgement {
  readonly kind: "public" | "loopback" | "special-use" | "not-an-address"
  readonly reason: string
}

const publicAddress: Judgement = { kind: "public", reason: "a public address" }
const loopback: Judgement = { kind: "loopback", reason: "loopback (RFC 1122, RFC 4291)" }
const notAnAddress: Judgement = { kind: "not-an-address", reason: "not an IP address" }
const zoned: Judgement = { kind: "not-an-address", reason: "an address with a zone identifier (RFC 4007)" }
const isatap: Judgement = { kind: "special-use", reason: "ISATAP, which carries an IPv4 address (RFC 5214)" }

const listOf = (ranges: ReadonlyArray<Range>): BlockList => {
  const list = new BlockList()
  for (const range of ranges) {
    list.addSubnet(range.network, range.prefix, range.family)
  }
  return list
}

interface Entry {
  readonly list: BlockList
  readonly judgement: Judgement
}

/** A list of its own for each range, the narrowest first: only a refused address pays for finding out its name. */
const entriesOf = (ranges: ReadonlyArray<Range>): ReadonlyArray<Entry> =>
  [...ranges].sort((a, b) => b.prefix - a.prefix).map((range) => ({
    list: listOf([range]),
    judgement: range.name === "loopback"
      ? loopback
      : {
        kind: "special-use",
        reason: `${range.name} (${range.network}/${range.prefix}, ${range.source})`
      }
  }))

// One list per family: a list with both would also hold its IPv4 rows against IPv4-mapped addresses.
const families = {
  ipv4: { all: listOf(ipv4), entries: entriesOf(ipv4) },
  ipv6: { all: listOf(ipv6), entries: entriesOf(ipv6) }
}

const judgeByRanges = (address: string, family: Range["family"]): Judgement => {
  const { all, entries } = families[family]
  const parsed = new SocketAddress({ address, family })
  if (!all.check(parsed)) {
    return publicAddress
  }
  return entries.find(({ list }) => list.check(parsed))?.judgement ?? notAnAddress
}

const hexGroup = (high: string | undefined, low: string | undefined): string =>
  ((Number(high) << 8) | Number(low)).toString(16)

/** The eight groups of an IPv6 address, which `net.isIP` has accepted. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  const hex = address.replace(
    /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_, a: string, b: string, c: string, d: string) => `${hexGroup(a, b)}:${hexGroup(c, d)}`
  )
  const [head = "", tail] = hex.split("::")
  const left = head === "" ? [] : head.split(":")
  const right = tail === undefined || tail === "" ? [] : tail.split(":")
  const zeros = new Array<string>(8 - left.length - right.length).fill("0")
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16))
}

const judgeIpv6 = (address: string): Judgement => {
  const [g0 = 0, g1 = 0, g2 = 0, g3 = 0, g4 = 0, g5 = 0, g6 = 0, g7 = 0] = groupsOf(address)
  if (g0 === 0x64 && g1 === 0xff9b && g2 === 0 && g3 === 0 && g4 === 0 && g5 === 0) {
    const embedded = `${g6 >> 8}.${g6 & 0xff}.${g7 >> 8}.${g7 & 0xff}`
    const inner = judgeByRanges(embedded, "ipv4")
    return inner.kind === "public"
      ? publicAddress
      : { kind: "special-use", reason: `NAT64 of ${embedded}: ${inner.reason}` }
  }
  const judgement = judgeByRanges(address, "ipv6")
  // The two low bits of the identifier's first octet are flags (RFC 5214, section 6.1): 200:5efe is ISATAP as well.
  if (judgement.kind === "public" && (g4 & 0xfcff) === 0 && g5 === 0x5efe) {
    return isatap
  }
  return judgement
}

/**
 * Judges the text of an address. Only `"public"` may be dialed by a production server, `"loopback"` by one in
 * development mode too. Never throws.
 */
export const judge = (address: string): Judgement => {
  // `isIP` turns what it is given into a string, and accepts zone identifiers.
  if (typeof address !== "string") {
    return notAnAddress
  }
  if (address.includes("%")) {
    return zoned
  }
  switch (isIP(address)) {
    case 4:
      return judgeByRanges(address, "ipv4")
    case 6:
      return judgeIpv6(address)
    default:
      return notAnAddress
  }
}
