/**
 * Host patterns: `app.example` matches that host, `*.app.example` matches every name below it (ADR-07).
 */
import { isIP } from "node:net"
import * as WebHost from "./webHost.js"

/** Whether a host is an IP address. For most names the last character decides, which saves the slower check. */
export const isAddress = (host: string): boolean => {
  const last = host.charCodeAt(host.length - 1)
  return ((last >= 0x30 && last <= 0x39) || host.includes(":")) && isIP(host) !== 0
}

const withBrackets = (host: string): string => isIP(host) === 6 ? `[${host}]` : host

/** Returns the host as a browser spells it in a URL. It is used in advice only, because it depends on the runtime. */
const canonical = (host: string): string | undefined => {
  const url = `https://${withBrackets(host)}/`
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, "$1") : undefined
}

const isHost = (host: string): boolean => {
  const reading = WebHost.read(withBrackets(host))
  return reading.kind === "address" || (reading.kind === "name" && !reading.trailingDot)
}

const issueOfHost = (host: string): string | undefined => {
  if (isIP(host) === 0 && /[:/@?#[\]\s]/.test(host)) {
    return "write only the host, without scheme, port, path or brackets"
  }
  if (host.endsWith(".")) {
    return "remove the dot at the end"
  }
  if (host.includes("*")) {
    return "a `*` may only stand for the first labels, as in `*.app.example`"
  }
  if (isHost(host)) {
    return undefined
  }
  const spelling = canonical(host)
  return spelling !== undefined && spelling !== host
    ? `write ${spelling}, because client identifiers spell it so`
    : "it is neither a host name nor an address"
}

/** Returns what is wrong with a pattern and what to write instead; `undefined` if it is well formed. */
export const issueOf = (pattern: string): string | undefined => {
  if (pattern === "*") {
    return "to permit every host, omit `allow`"
  }
  if (!pattern.startsWith("*.")) {
    return issueOfHost(pattern)
  }
  const base = pattern.slice(2)
  return isIP(base) === 0 ? issueOfHost(base) : "an address has no names below it"
}

/**
 * Returns a function that decides whether a host matches one of the patterns, which must be well formed. It reads no
 * more labels of a name than the longest pattern has, so its cost does not grow with the name.
 */
export const matcher = (patterns: ReadonlyArray<string>): (host: string) => boolean => {
  if (patterns.length === 0) return () => false
  const hosts = new Set(patterns.filter((pattern) => !pattern.startsWith("*.")))
  const bases = new Set(patterns.filter((pattern) => pattern.startsWith("*.")).map((pattern) => pattern.slice(2)))
  let depth = 0
  for (const base of bases) {
    depth = Math.max(depth, base.split(".").length)
  }

  const isBelowBase = (host: string): boolean => {
    let dot = host.length
    for (let labels = 1; labels <= depth; labels++) {
      dot = host.lastIndexOf(".", dot - 1)
      if (dot < 0) {
        return false
      }
      if (bases.has(host.slice(dot + 1))) {
        return true
      }
    }
    return false
  }

  return (host) => hosts.has(host) || isBelowBase(host)
}
