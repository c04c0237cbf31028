/**
 * Who pays for what a client causes. Hosts below one registrable domain belong to one owner, who can make any number of
 * them, so they pay together. The port and the path never matter.
 *
 * `tldts` has the Public Suffix List (https://publicsuffix.org). A top-level domain that is not in the list counts as a
 * public suffix, as the list's own algorithm says.
 */
import { isIP } from "node:net"
import { getDomain } from "tldts"
import { networkOf } from "../addressNetwork.js"
import { parts } from "./clientIdParts.js"

/** The date of the list in the lowest version of `tldts` that is permitted. A later version has a later list. */
export const publicSuffixListDate = "2026-11-25"

// A client identifier has a valid host already.
const host = { extractHostname: false, validateHostname: false, detectIp: false } as const
const byWholeList = { ...host, allowPrivateDomains: true } as const
const byIcannPart = { ...host, allowPrivateDomains: false } as const

const payerOf = (clientId: string, list: typeof byWholeList | typeof byIcannPart): string => {
  const { host } = parts(clientId)
  return isIP(host) === 0 ? getDomain(host, list) ?? host : networkOf(host)
}

/**
 * Returns the site of a client: the registrable domain of its host by the whole list, so `alice.github.io` is a site of its
 * own. A host that is a public suffix itself is its own site, and so is an IPv4 address. The site of an IPv6 address is its
 * /64.
 */
export const siteOf = (clientId: string): string => payerOf(clientId, byWholeList)

/**
 * Returns the domain of a client: the registrable domain of its host by the ICANN part of the list, such as `github.io` for
 * `alice.github.io`. It has a larger share than each of its sites. It is the site itself for most clients.
 */
export const domainOf = (clientId: string): string => payerOf(clientId, byIcannPart)
