/**
 * Decides whether an address may be dialed (ADR-03, ADR-04, ADR-05).
 *
 * What a network operator has chosen for itself does not show in an address: its own NAT64 prefix (RFC 6052,
 * section 3.3), a 6rd prefix (RFC 5969), or public addresses that are routed internally. Those need a firewall.
 *
 * The comparison itself is that of `net.BlockList`. The embedded IPv4 addresses are decoded by hand, because neither
 * `BlockList` nor `ipaddr.js` looks into NAT64 and ISATAP. `ipaddr.js` serves as a differential test:
 * `test/fetch/AddressDifferential.test.ts` lists every difference and its reason.
 */
import { BlockList, isIP, SocketAddress } from "node:net"
import type { Range } from "./specialUseRanges.js"
import { ipv4, ipv6 } from "./specialUseRanges.js"

/**
 * The kind of an address, and why it is that. A private address is one that a network assigns to its own hosts
 * (RFC 1918, RFC 4193, RFC 6598); every other special-use address is `"special-use"` or `"loopback"`.
 */
export interface Classification {
  readonly kind: "public" | "loopback" | "private" | "special-use" | "not-an-address"
  readonly reason: string
}

const publicAddress: Classification = { kind: "public", reason: "a public address" }
const loopback: Classification = { kind: "loopback", reason: "loopback (RFC 1122, RFC 4291)" }
const notAnAddress: Classification = { kind: "not-an-address", reason: "not an IP address" }
const zoned: Classification = { kind: "not-an-address", reason: "an address with a zone identifier (RFC 4007)" }
const isatap: Classification = { kind: "special-use", reason: "ISATAP, which carries an IPv4 address (RFC 5214)" }

/** A network with the length of its prefix, in which an address is a network of full length. */
export interface Subnet {
  readonly family: Range["family"]
  readonly network: string
  readonly prefix: number
}

export const listOf = (ranges: ReadonlyArray<Subnet>): BlockList => {
  const list = new BlockList()
  for (const range of ranges) {
    list.addSubnet(range.network, range.prefix, range.family)
  }
  return list
}

interface Entry {
  readonly list: BlockList
  readonly prefix: number
  readonly classification: Classification
}

/** One list for each range, the narrowest first: only an excluded address pays for the search of its range. */
const entriesOf = (ranges: ReadonlyArray<Range>): ReadonlyArray<Entry> =>
  [...ranges].sort((a, b) => b.prefix - a.prefix).map((range) => ({
    list: listOf([range]),
    prefix: range.prefix,
    classification: range.name === "loopback"
      ? loopback
      : {
        kind: range.isPrivate ? "private" : "special-use",
        reason: `${range.name} (${range.network}/${range.prefix}, ${range.source})`
      }
  }))

// One list per family: a list with both would also apply its IPv4 rows to IPv4-mapped addresses.
const families = {
  ipv4: { all: listOf(ipv4), entries: entriesOf(ipv4) },
  ipv6: { all: listOf(ipv6), entries: entriesOf(ipv6) }
}

const classifyByRanges = (address: string, family: Range["family"]): Classification => {
  const { all, entries } = families[family]
  const parsed = new SocketAddress({ address, family })
  if (!all.check(parsed)) {
    return publicAddress
  }
  return entries.find(({ list }) => list.check(parsed))?.classification ?? notAnAddress
}

/** Returns the classification that every address of a subnet has, except those in a narrower range. */
export const classifySubnet = ({ family, network, prefix }: Subnet): Classification => {
  const parsed = new SocketAddress({ address: network, family })
  return families[family].entries.find((entry) => entry.prefix <= prefix && entry.list.check(parsed))?.classification
    ?? publicAddress
}

const hexGroup = (high: string | undefined, low: string | undefined): string =>
  ((Number(high) << 8) | Number(low)).toString(16)

/** Returns the eight groups of an IPv6 address, which `net.isIP` has accepted. */
export const groupsOf = (address: string): ReadonlyArray<number> => {
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

const nat64Prefix = [0x64, 0xff9b, 0, 0, 0, 0]

/** Returns the IPv4 address in an IPv6 address of the well-known NAT64 prefix (RFC 6052); otherwise `undefined`. */
export const nat64Ipv4 = (groups: ReadonlyArray<number>): string | undefined => {
  const [high = 0, low = 0] = groups.slice(6)
  return nat64Prefix.every((group, index) => groups[index] === group)
    ? `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
    : undefined
}

const classifyIpv6 = (address: string): Classification => {
  const groups = groupsOf(address)
  const embedded = nat64Ipv4(groups)
  if (embedded !== undefined) {
    const inner = classifyByRanges(embedded, "ipv4")
    return inner.kind === "public"
      ? publicAddress
      : { kind: "special-use", reason: `NAT64 of ${embedded}: ${inner.reason}` }
  }
  const classification = classifyByRanges(address, "ipv6")
  const [g4 = 0, g5 = 0] = groups.slice(4)
  // The two low bits of the first octet of the identifier are flags (RFC 5214, section 6.1): 200:5efe is ISATAP too.
  const isIsatap = (g4 & 0xfcff) === 0 && g5 === 0x5efe
  return isIsatap && (classification.kind === "public" || classification.kind === "private") ? isatap : classification
}

/**
 * Classifies the text of an address. Only `"public"` may be dialed by a production server, and `"private"` for the hosts
 * that its policy opens. A server in development mode may dial `"loopback"` too. Never throws.
 */
export const classify = (address: string): Classification => {
  // `isIP` converts its argument to a string, and accepts zone identifiers.
  if (typeof address !== "string") {
    return notAnAddress
  }
  if (address.includes("%")) {
    return zoned
  }
  switch (isIP(address)) {
    case 4:
      return classifyByRanges(address, "ipv4")
    case 6:
      return classifyIpv6(address)
    default:
      return notAnAddress
  }
}
