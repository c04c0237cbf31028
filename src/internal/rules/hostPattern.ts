/**
 * Patterns over hosts: `app.example` is itself, `*.app.example` is every name below it (ADR-07).
 */
import { isIP } from "node:net"

/** Whether a host is an address. Most names are told from one by their last character, before the costlier test. */
export const isLiteral = (host: string): boolean => {
  const last = host.charCodeAt(host.length - 1)
  return ((last >= 0x30 && last <= 0x39) || host.includes(":")) && isIP(host) !== 0
}

const written = (host: string): string => isIP(host) === 6 ? `[${host}]` : host

/** The host as a URL spells it. */
const canonical = (host: string): string | undefined => {
  const url = `https://${written(host)}/`
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, "$1") : undefined
}

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

const isName = (host: string): boolean =>
  host.length <= 253 && host.split(".").every((part) => label.test(part)) && canonical(host) === host

const faultOfHost = (host: string): string | undefined => {
  if (isIP(host) === 0 && /[:/@?#[\]\s]/.test(host)) {
    return "write the host alone, without scheme, port, path or brackets"
  }
  if (host.endsWith(".")) {
    return "write it without the dot at its end"
  }
  if (host.includes("*")) {
    return "a `*` may only stand for the first labels, as in `*.app.example`"
  }
  const spelling = canonical(host)
  if (spelling !== undefined && spelling !== host) {
    return `client identifiers spell it ${spelling}, so write that`
  }
  return isIP(host) !== 0 || isName(host) ? undefined : "it is no host name and no address"
}

/** What is wrong with a pattern, and what to write instead; nothing if it is well formed. */
export const fault = (pattern: string): string | undefined => {
  if (pattern === "*") {
    return "to permit every host, leave `allow` out"
  }
  if (!pattern.startsWith("*.")) {
    return faultOfHost(pattern)
  }
  const base = pattern.slice(2)
  return isIP(base) === 0 ? faultOfHost(base) : "an address has no names below it"
}

/**
 * Whether a host matches one of the patterns, which are well formed. It looks no further down a name than the deepest
 * pattern, so its cost does not grow with the name.
 */
export const matcher = (patterns: ReadonlyArray<string>): (host: string) => boolean => {
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
