/**
 * The hosts of URLs that a browser opens or a server fetches (URL-08, URL-10, DOC-11, DOC-13). RFC 3986 and WHATWG read a
 * name of letters, digits, hyphens and underscores alike, and an address in its canonical spelling. Every other host is
 * refused, so the two readings agree by construction. The decision is written here and not left to `URL`, because that
 * follows the runtime's version of Unicode and of WHATWG's standard, and all nodes must accept the same documents.
 */
import * as net from "node:net"
import { classify, groupsOf } from "../addressRules.js"
import { quote } from "./text.js"

/** How a host is read. A name has its labels, without the empty one of a trailing dot; `canonical` is the address that
 * an invalid spelling means to a browser. */
export type Host =
  | { readonly kind: "name"; readonly labels: ReadonlyArray<string>; readonly trailingDot: boolean }
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "invalid"; readonly message: string; readonly canonical: string | undefined }

const decimal = /^(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}$/

/** Whether WHATWG reads a host as an IPv4 address: its last label is a decimal, octal or hexadecimal number. */
export const isNumeric = (host: string): boolean => /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$/i.test(host)

/** The address that WHATWG reads in a numeric host, such as `127.1`, `0x7f000001` and `0177.0.0.1`. */
const numericAddress = (host: string): string | undefined => {
  const parts = (host.endsWith(".") ? host.slice(0, -1) : host).split(".")
  const numbers = parts.map(numberOf)
  const last = numbers.pop() ?? Number.NaN
  if (numbers.length > 3 || !numbers.every((each) => each <= 255) || !(last < 256 ** (4 - numbers.length))) {
    return undefined
  }
  const rest = Array.from({ length: 4 - numbers.length }, (_, i) => Math.floor(last / 256 ** i) % 256).reverse()
  return [...numbers, ...rest].join(".")
}

const numberOf = (part: string): number =>
  /^0x[0-9a-f]*$/i.test(part)
    ? Number.parseInt(`0${part.slice(2)}`, 16)
    : /^0[0-7]+$/.test(part)
    ? Number.parseInt(part, 8)
    : /^(?:0|[1-9][0-9]*)$/.test(part)
    ? Number(part)
    : Number.NaN

// An internationalized label (`xn--`) is checked by its syntax only. Whether its Punycode decodes to permitted characters
// depends on the version of Unicode; a browser that does not permit them opens nothing, and never another host.
export const isLabel = (label: string): boolean => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/.test(label)
const maxNameLength = 253

/** Reads a host in lower case, as it stands in a URL. */
export const read = (host: string): Host => {
  if (host.startsWith("[")) return readIpv6(host)
  if (isNumeric(host)) {
    return decimal.test(host) && net.isIPv4(host)
      ? { kind: "address", address: host }
      : notCanonical(host, numericAddress(host))
  }
  const trailingDot = host.endsWith(".")
  const name = trailingDot ? host.slice(0, -1) : host
  if (name.length > maxNameLength) {
    return invalid(`The host has more than ${maxNameLength} characters. Use a shorter host name.`)
  }
  const labels = name.split(".")
  const bad = labels.find((each) => !isLabel(each))
  return bad === undefined ? { kind: "name", labels, trailingDot } : invalid(
    `The host label ${quote(bad)} must be 1 to 63 letters, digits and hyphens, without a hyphen at either end. ` +
      "Write an international name in its xn-- form."
  )
}

const invalid = (message: string, canonical?: string): Host => ({ kind: "invalid", message, canonical })

const notCanonical = (host: string, address: string | undefined): Host => {
  if (address === undefined) {
    return invalid(`The host ${quote(host)} is neither a host name nor an address. Use a host name.`)
  }
  const canonical = quote(host.startsWith("[") ? `[${address}]` : address)
  return invalid(
    `The host ${quote(host)} is another spelling of the address ${canonical}. Write it as ${canonical}.`,
    address
  )
}

const readIpv6 = (host: string): Host => {
  const literal = host.slice(1, -1)
  // `net.isIPv6` accepts zone identifiers, which URLs do not have.
  if (!host.endsWith("]") || literal.includes("%") || !net.isIPv6(literal)) {
    return notCanonical(host, undefined)
  }
  const canonical = canonicalIpv6(literal)
  return canonical === literal ? { kind: "address", address: literal } : notCanonical(host, canonical)
}

/** Writes an IPv6 address as WHATWG does: the longest run of zeros as `::`, and no dotted decimal (RFC 5952). */
const canonicalIpv6 = (address: string): string => {
  const groups = groupsOf(address)
  let start = 0
  let length = 1
  for (let i = 0; i < groups.length; i++) {
    let end = i
    while (groups[end] === 0) end++
    if (end - i > length) {
      start = i
      length = end - i
    }
  }
  const hex = groups.map((group) => group.toString(16))
  return length < 2 ? hex.join(":") : `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`
}

/** Whether a port is empty, or a number from 1 to 65535 without leading zeros. */
export const isPlainPort = (port: string): boolean =>
  port === "" || (/^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65535)

/** Whether the host is `localhost`, a name below it (RFC 6761), or a loopback address. */
export const isLoopback = (host: Host): boolean =>
  host.kind === "name"
    ? host.labels.at(-1) === "localhost"
    : host.kind === "address" && classify(host.address).kind === "loopback"

/** Whether the host may be on the public internet: a name of two labels or more, or an address that is not special-use. */
export const isPublic = (host: Host): boolean =>
  host.kind === "name"
    ? host.labels.length > 1 && !isLoopback(host)
    : host.kind === "address" && classify(host.address).kind === "public"
