/**
 * Every range of addresses that is never dialed, with the registry and the document that reserves it (ADR-03, ADR-04).
 *
 * The tables hold all rows of the two special-purpose registries, including those that are globally reachable. Each of
 * the latter is either an anycast service, whose nearest instance may be inside the network of this server, or an
 * identifier that is not routed at all. No client publishes a document there. The one exception is the well-known NAT64
 * prefix, which `addressRules.ts` unwraps before it looks here.
 *
 * Written by hand, because the tables of `ipaddr.js` lack ranges, among them 100:0:0:1::/64 and ::/96. It serves as a
 * differential test: `test/fetch/AddressDifferential.test.ts` lists every difference and its reason.
 *
 * - https://www.iana.org/assignments/iana-ipv4-special-registry
 * - https://www.iana.org/assignments/iana-ipv6-special-registry
 * - https://www.iana.org/assignments/ipv4-address-space
 * - https://www.iana.org/assignments/ipv6-address-space
 */

/** The registry that lists a range. */
export type Registry =
  | "IANA IPv4 Special-Purpose Address Registry"
  | "IANA IPv6 Special-Purpose Address Registry"
  | "IANA IPv4 Address Space Registry"
  | "IANA IPv6 Address Space Registry"
  | "none: carries an IPv4 address"
  | "none: the platform of a cloud"

/**
 * One row. `globallyReachable` is the column of the registry; "N/A" there is `false` here. `isPrivate` marks the ranges
 * that a network assigns to its own hosts, which an operator can open for named hosts (ADR-10).
 */
export interface Range {
  readonly family: "ipv4" | "ipv6"
  readonly network: string
  readonly prefix: number
  readonly name: string
  readonly source: string
  readonly registry: Registry
  readonly globallyReachable: boolean
  readonly isPrivate: boolean
}

type Row = readonly [cidr: string, name: string, source: string, reach?: "globally reachable" | "private"]

const ranges = (
  family: Range["family"],
  registry: Registry,
  rows: ReadonlyArray<Row>
): ReadonlyArray<Range> =>
  rows.map(([cidr, name, source, reach]) => {
    const slash = cidr.indexOf("/")
    return {
      family,
      network: cidr.slice(0, slash),
      prefix: Number(cidr.slice(slash + 1)),
      name,
      source,
      registry,
      globallyReachable: reach === "globally reachable",
      isPrivate: reach === "private"
    }
  })

/** The IPv4 ranges. */
export const ipv4: ReadonlyArray<Range> = [
  ...ranges("ipv4", "IANA IPv4 Special-Purpose Address Registry", [
    ["0.0.0.0/8", "this network", "RFC 791"],
    ["0.0.0.0/32", "this host on this network", "RFC 1122"],
    ["10.0.0.0/8", "private use", "RFC 1918", "private"],
    ["100.64.0.0/10", "shared address space", "RFC 6598", "private"],
    ["127.0.0.0/8", "loopback", "RFC 1122"],
    ["169.254.0.0/16", "link local", "RFC 3927"],
    ["172.16.0.0/12", "private use", "RFC 1918", "private"],
    ["192.0.0.0/24", "IETF protocol assignments", "RFC 6890"],
    ["192.0.0.0/29", "IPv4 service continuity prefix", "RFC 7335"],
    ["192.0.0.8/32", "IPv4 dummy address", "RFC 7600"],
    ["192.0.0.9/32", "Port Control Protocol anycast", "RFC 7723", "globally reachable"],
    ["192.0.0.10/32", "TURN anycast", "RFC 8155", "globally reachable"],
    ["192.0.0.170/32", "NAT64/DNS64 discovery", "RFC 8880"],
    ["192.0.0.171/32", "NAT64/DNS64 discovery", "RFC 8880"],
    ["192.0.2.0/24", "documentation (TEST-NET-1)", "RFC 5737"],
    ["192.31.196.0/24", "AS112-v4", "RFC 7535", "globally reachable"],
    ["192.52.193.0/24", "Automatic Multicast Tunneling", "RFC 7450", "globally reachable"],
    ["192.88.99.0/24", "deprecated 6to4 relay anycast", "RFC 7526"],
    ["192.88.99.2/32", "6a44 relay anycast", "RFC 6751"],
    ["192.168.0.0/16", "private use", "RFC 1918", "private"],
    ["192.175.48.0/24", "direct delegation AS112 service", "RFC 7534", "globally reachable"],
    ["198.18.0.0/15", "benchmarking", "RFC 2544"],
    ["198.51.100.0/24", "documentation (TEST-NET-2)", "RFC 5737"],
    ["203.0.113.0/24", "documentation (TEST-NET-3)", "RFC 5737"],
    ["240.0.0.0/4", "reserved", "RFC 1112"],
    ["255.255.255.255/32", "limited broadcast", "RFC 919"]
  ]),
  ...ranges("ipv4", "IANA IPv4 Address Space Registry", [
    ["224.0.0.0/4", "multicast", "RFC 5771"]
  ]),
  // Addresses that lead from a virtual machine to services of its cloud, such as its credentials. The first one is public.
  // The others are in private ranges, which an operator can open, so each has a row of its own that stays closed. Those
  // in link-local ranges, such as 169.254.169.254, need none.
  ...ranges("ipv4", "none: the platform of a cloud", [
    ["168.63.129.16/32", "Azure platform", "Microsoft Learn: What is IP address 168.63.129.16?"],
    ["100.100.100.200/32", "Alibaba Cloud instance metadata", "documentation of Alibaba Cloud"],
    ["100.96.0.96/32", "Volcengine instance metadata", "documentation of Volcengine"]
  ])
]

/**
 * The IPv6 ranges. Global unicast addresses come from 2000::/3 alone (RFC 4291, section 2.4, and the address space
 * registry). So the three rows around it exclude what is not assigned, and what will be assigned for another use.
 */
export const ipv6: ReadonlyArray<Range> = [
  ...ranges("ipv6", "IANA IPv6 Special-Purpose Address Registry", [
    ["::1/128", "loopback", "RFC 4291"],
    ["::/128", "unspecified address", "RFC 4291"],
    ["::ffff:0:0/96", "IPv4-mapped", "RFC 4291"],
    ["64:ff9b::/96", "IPv4-IPv6 translation", "RFC 6052", "globally reachable"],
    ["64:ff9b:1::/48", "IPv4-IPv6 translation, local use", "RFC 8215"],
    ["100::/64", "discard only", "RFC 6666"],
    ["100:0:0:1::/64", "dummy IPv6 prefix", "RFC 9780"],
    ["2001::/23", "IETF protocol assignments", "RFC 2928"],
    ["2001::/32", "Teredo", "RFC 4380"],
    ["2001:1::1/128", "Port Control Protocol anycast", "RFC 7723", "globally reachable"],
    ["2001:1::2/128", "TURN anycast", "RFC 8155", "globally reachable"],
    ["2001:1::3/128", "DNS-SD service registration anycast", "RFC 9665", "globally reachable"],
    ["2001:2::/48", "benchmarking", "RFC 5180"],
    ["2001:3::/32", "Automatic Multicast Tunneling", "RFC 7450", "globally reachable"],
    ["2001:4:112::/48", "AS112-v6", "RFC 7535", "globally reachable"],
    ["2001:10::/28", "deprecated ORCHID", "RFC 4843"],
    ["2001:20::/28", "ORCHIDv2", "RFC 7343", "globally reachable"],
    ["2001:30::/28", "drone remote identification", "RFC 9374", "globally reachable"],
    ["2001:db8::/32", "documentation", "RFC 3849"],
    ["2002::/16", "6to4", "RFC 3056"],
    ["2620:4f:8000::/48", "direct delegation AS112 service", "RFC 7534", "globally reachable"],
    ["3fff::/20", "documentation", "RFC 9637"],
    ["5f00::/16", "segment routing identifiers", "RFC 9602"],
    ["fc00::/7", "unique local", "RFC 4193", "private"],
    ["fe80::/10", "link-local unicast", "RFC 4291"]
  ]),
  ...ranges("ipv6", "none: carries an IPv4 address", [
    ["::/96", "IPv4-compatible", "RFC 4291"],
    ["::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"]
  ]),
  ...ranges("ipv6", "none: the platform of a cloud", [
    ["fd00:ec2::/32", "Amazon EC2 instance services", "documentation of Amazon EC2"],
    ["fd20:ce::254/128", "Google Cloud instance metadata", "documentation of Google Cloud"],
    ["fd00:c1::a9fe:a9fe/128", "Oracle Cloud instance metadata", "documentation of Oracle Cloud"],
    ["fd00:100::100:200/128", "Alibaba Cloud instance metadata", "documentation of Alibaba Cloud"],
    ["fd00:a9fe:a9fe::1/128", "Akamai instance metadata", "documentation of Akamai"],
    ["fd00:42::42/128", "Scaleway instance metadata", "documentation of Scaleway"]
  ]),
  ...ranges("ipv6", "IANA IPv6 Address Space Registry", [
    ["fec0::/10", "deprecated site-local unicast", "RFC 3879"],
    ["ff00::/8", "multicast", "RFC 4291"],
    ["::/3", "outside global unicast", "RFC 4291"],
    ["4000::/2", "outside global unicast", "RFC 4291"],
    ["8000::/1", "outside global unicast", "RFC 4291"]
  ])
]
