/**
 * The URI syntax of RFC 3986: components, authority, dot segments, percent-encoding, loopback hosts. The redirect URI
 * rules refuse what WHATWG reads otherwise. Every regular expression here reads each character once,
 * because the input is untrusted.
 */
import * as net from "node:net"

/** The components of a URI. An absent component is `undefined`; one that is present but empty is `""`. */
export interface Uri {
  readonly scheme: string
  readonly authority: string | undefined
  readonly userinfo: string | undefined
  readonly host: string | undefined
  readonly port: string | undefined
  readonly path: string
  readonly query: string | undefined
  readonly fragment: string | undefined
}

const components = /^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#([^]*))?$/
const userinfoCharacters = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*$/
const registeredName = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$/
const pathCharacters = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*$/
const queryCharacters = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$/
const futureAddress = /^v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+$/i
const digits = /^[0-9]*$/

const isHost = (host: string): boolean => {
  if (!host.startsWith("[")) {
    return registeredName.test(host)
  }
  const literal = host.slice(1, -1)
  // `net.isIPv6` accepts zone ids, which RFC 3986 does not define.
  return host.endsWith("]") && (futureAddress.test(literal) || (net.isIPv6(literal) && !literal.includes("%")))
}

/** Returns the components of an absolute URI, or `undefined` if the string does not match the grammar of RFC 3986. */
export const parse = (text: string): Uri | undefined => {
  const match = components.exec(text)
  if (match === null) {
    return undefined
  }
  const [, scheme = "", authority, path = "", query, fragment] = match
  if (
    !pathCharacters.test(path) ||
    (query !== undefined && !queryCharacters.test(query)) ||
    (fragment !== undefined && !queryCharacters.test(fragment))
  ) {
    return undefined
  }
  if (authority === undefined) {
    return { scheme, authority, userinfo: undefined, host: undefined, port: undefined, path, query, fragment }
  }
  const { host, port, userinfo } = splitAuthority(authority)
  if (
    (userinfo !== undefined && !userinfoCharacters.test(userinfo)) ||
    !isHost(host) ||
    (port !== undefined && !digits.test(port))
  ) {
    return undefined
  }
  return { scheme, authority, userinfo, host, port, path, query, fragment }
}

/** Splits an authority at its separators. Does not check the characters between them. */
export const splitAuthority = (
  authority: string
): { readonly userinfo: string | undefined; readonly host: string; readonly port: string | undefined } => {
  const at = authority.lastIndexOf("@")
  const userinfo = at < 0 ? undefined : authority.slice(0, at)
  const hostAndPort = authority.slice(at + 1)
  // A colon within an address literal does not start a port, even if the closing bracket is missing.
  const bracket = hostAndPort.startsWith("[") ? hostAndPort.indexOf("]") : 0
  const colon = bracket < 0 ? -1 : hostAndPort.indexOf(":", bracket)
  return colon < 0
    ? { userinfo, host: hostAndPort, port: undefined }
    : { userinfo, host: hostAndPort.slice(0, colon), port: hostAndPort.slice(colon + 1) }
}

/** Returns the origin of an https URI: scheme, host in lower case, and port unless it is 443. */
export const httpsOrigin = (text: string): string | undefined => {
  const read = parse(text)
  if (read?.scheme.toLowerCase() !== "https" || read.host === undefined) return undefined
  const port = read.port === undefined || read.port === "" ? 443 : Number(read.port)
  return `https://${read.host.toLowerCase()}${port === 443 ? "" : `:${port}`}`
}

const plain =
  /^https:\/\/(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\/[A-Za-z0-9\-._~!$&'()+,;=:@/]*)?$/
const special = /^[^/]*\/\/(?:[^/]{254}|[^/]*\.localhost(?:\/|$))|\/\.\.?(?:\/|$)/

/** Whether a path has a `.` or `..` segment, also percent-encoded and between backslashes (RFC 3986, section 6.2.2.2). */
export const hasDotSegment = (path: string): boolean =>
  path.split(/[/\\]/).some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))

/** Returns the first "%" without two hexadecimal digits after it, and what stands there (RFC 3986, section 2.1). */
export const malformedPercentEncoding = (text: string): string | undefined => {
  const match = /%(?![0-9A-Fa-f]{2})/.exec(text)
  return match === null ? undefined : text.slice(match.index, match.index + 3)
}

/**
 * Whether the string is an https URL so plain that RFC 3986 and WHATWG cannot read it differently: a lower-case host
 * name whose last label starts with a letter, no port, no query, no percent-encoding, no dot segment. Most URLs are
 * plain, so most skip the full check.
 */
export const isPlainHttps = (text: string): boolean => plain.test(text) && !special.test(text)

const loopbackAddress = /^127(?:\.(?:0|[1-9][0-9]{0,2})){3}$/

/** Whether a host, as written in a URI, is `localhost` or a loopback address in its shortest spelling. */
export const isLoopbackHost = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || (loopbackAddress.test(host) && net.isIPv4(host))
