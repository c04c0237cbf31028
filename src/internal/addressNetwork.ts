import { isIPv6 } from "node:net"
import { groupsOf, nat64Ipv4 } from "./addressRules.js"

/**
 * Returns the network that an address stands for when its owner pays: an IPv4 address itself, an IPv6 address its /64,
 * because a single host usually has a whole /64. An IPv6 address that carries an IPv4 address is that address; otherwise
 * all of IPv4 would be one network behind NAT64. The address is one that `net.isIP` accepts.
 */
export const networkOf = (address: string): string => {
  if (!isIPv6(address)) return address
  const groups = groupsOf(address.split("%", 1)[0] ?? "")
  const [high = 0, low = 0] = groups.slice(6)
  return isMapped(groups)
    ? `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
    : nat64Ipv4(groups) ?? `${groups.slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`
}

const isMapped = (groups: ReadonlyArray<number>): boolean =>
  groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
