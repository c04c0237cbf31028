/**
 * Ranges of addresses that an operator writes: one address, or a network in CIDR notation (ADR-09, ADR-10).
 *
 * Only the canonical start of a network is accepted, because `10.1.2.3/16` may be a mistyped `10.1.2.3/32`. The comparison
 * is that of `net.BlockList`, as for the special-use ranges.
 */
import type { BlockList } from "node:net"
import { isIP, SocketAddress } from "node:net"
import type { Subnet } from "./addressRules.js"
import { classifySubnet, groupsOf, listOf, nat64Ipv4 } from "./addressRules.js"
import { ipv4, ipv6 } from "./specialUseRanges.js"

const widths = { ipv4: 32, ipv6: 128 } as const

const numberOf = (address: string, family: Subnet["family"]): bigint =>
  family === "ipv4"
    ? address.split(".").reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n)
    : groupsOf(address).reduce((sum, group) => (sum << 16n) | BigInt(group), 0n)

const textOf = (number: bigint, family: Subnet["family"]): string => {
  const size = family === "ipv4" ? 8 : 16
  const parts = Array.from(
    { length: widths[family] / size },
    (_, index) => BigInt.asUintN(size, number >> BigInt(widths[family] - size * (index + 1)))
  )
  return family === "ipv4"
    ? parts.join(".")
    : new SocketAddress({ address: parts.map((part) => part.toString(16)).join(":"), family }).address
}

/** Returns the range as it is written in messages. A single address has no prefix. */
export const format = ({ family, network, prefix }: Subnet): string =>
  prefix === widths[family] ? network : `${network}/${prefix}`

/** Returns the IPv4 range that a range of IPv4-mapped or NAT64 addresses stands for. */
const carriedIpv4 = ({ family, network, prefix }: Subnet): Subnet | undefined => {
  if (family === "ipv4" || prefix < 96) {
    return undefined
  }
  const groups = groupsOf(network)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  return isMapped || nat64Ipv4(groups) !== undefined
    ? {
      family: "ipv4",
      network: textOf(BigInt.asUintN(32, numberOf(network, family)), "ipv4"),
      prefix: prefix - 96
    }
    : undefined
}

/** Reads one range. Returns a text that says what to write instead if it is invalid. */
export const parse = (text: unknown): Subnet | string => {
  const [address = "", digits, ...rest] = typeof text === "string" ? text.split("/") : []
  const version = address.includes("%") || rest.length > 0 ? 0 : isIP(address)
  if (version === 0) {
    return "write an IP address or a network, such as 203.0.113.0/24 or 2001:db8::/32"
  }
  const family = version === 4 ? "ipv4" : "ipv6"
  const width = widths[family]
  const prefix = digits === undefined ? width : /^(?:0|[1-9][0-9]{0,2})$/.test(digits) ? Number(digits) : Number.NaN
  if (!(prefix <= width)) {
    return `the prefix length must be an integer between 0 and ${width}`
  }
  const hostBits = BigInt(width - prefix)
  const number = numberOf(address, family)
  const network = (number >> hostBits) << hostBits
  const subnet: Subnet = { family, network: textOf(network, family), prefix }
  if (network !== number) {
    return `the network of this prefix length is ${format(subnet)}`
  }
  const carried = carriedIpv4(subnet)
  return carried === undefined ? subnet : `write the IPv4 addresses that it stands for, ${format(carried)}`
}

const privateRanges = [...ipv4, ...ipv6].filter(({ isPrivate }) => isPrivate).map(format).join(", ")

/** Returns why a range cannot be opened for a host; `undefined` if it can (ADR-10). */
export const reasonAgainstPermit = (subnet: Subnet): string | undefined => {
  const { kind, reason } = classifySubnet(subnet)
  switch (kind) {
    case "private":
      return undefined
    case "public":
      return `it is not within one of the private ranges ${privateRanges}`
    default:
      return `it is never permitted: ${reason}`
  }
}

interface Entry {
  readonly list: BlockList
  readonly text: string
}

const entriesOf = (subnets: ReadonlyArray<Subnet>, family: Subnet["family"]) => {
  const own = subnets.filter((subnet) => subnet.family === family)
  return {
    all: listOf(own),
    entries: own.map((subnet): Entry => ({ list: listOf([subnet]), text: format(subnet) }))
  }
}

/**
 * Returns a function that returns the first range with an address; `undefined` if none has it. An address of the
 * well-known NAT64 prefix is in the ranges of the IPv4 address that it carries too.
 */
export const matcher = (subnets: ReadonlyArray<Subnet>): (address: string) => string | undefined => {
  const families = { ipv4: entriesOf(subnets, "ipv4"), ipv6: entriesOf(subnets, "ipv6") }
  const find = (address: string, family: Subnet["family"]): string | undefined => {
    const { all, entries } = families[family]
    const parsed = new SocketAddress({ address, family })
    return all.check(parsed) ? entries.find(({ list }) => list.check(parsed))?.text : undefined
  }
  return (address) => {
    switch (address.includes("%") ? 0 : isIP(address)) {
      case 4:
        return find(address, "ipv4")
      case 6: {
        const carried = nat64Ipv4(groupsOf(address))
        return find(address, "ipv6") ?? (carried === undefined ? undefined : find(carried, "ipv4"))
      }
      default:
        return undefined
    }
  }
}
