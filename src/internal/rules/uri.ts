/**
 * A URI as RFC 3986 reads it, to be compared with how WHATWG's `URL` reads the same string. Every regular expression
 * here looks at each character once: a stranger chose the input.
 */
import * as net from "node:net"

/** The components of a URI. A component that is absent is `undefined`; one that is present and empty is `""`. */
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
  // `net.isIPv6` takes zone ids, which RFC 3986 does not know.
  return host.endsWith("]") && (futureAddress.test(literal) || (net.isIPv6(literal) && !literal.includes("%")))
}

/** The components of an absolute URI, or `undefined` if RFC 3986 does not generate the string. */
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

/** An authority at its separators, with no regard to which characters stand between them. */
export const splitAuthority = (
  authority: string
): { readonly userinfo: string | undefined; readonly host: string; readonly port: string | undefined } => {
  const at = authority.lastIndexOf("@")
  const userinfo = at < 0 ? undefined : authority.slice(0, at)
  const hostAndPort = authority.slice(at + 1)
  // The colons within an address literal are its own, also when its closing bracket is missing.
  const bracket = hostAndPort.startsWith("[") ? hostAndPort.indexOf("]") : 0
  const colon = bracket < 0 ? -1 : hostAndPort.indexOf(":", bracket)
  return colon < 0
    ? { userinfo, host: hostAndPort, port: undefined }
    : { userinfo, host: hostAndPort.slice(0, colon), port: hostAndPort.slice(colon + 1) }
}

/** How WHATWG reads the string, if it reads it at all. */
export const whatwg = (text: string): URL | undefined => URL.canParse(text) ? new URL(text) : undefined

const plain = /^https:\/\/(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*(?:\/[A-Za-z0-9\-._~!$&'()+,;=:@/]*)?$/

/**
 * Whether the string is an https URL so plain that the two ways of reading cannot differ: a lower-case host name whose
 * last label starts with a letter, no port, no query, no percent-encoding. Most are; the others take the long way.
 */
export const isPlainHttps = (text: string): boolean => plain.test(text) && !text.includes("xn--")

const loopbackAddress = /^127(?:\.(?:0|[1-9][0-9]{0,2})){3}$/

/** Whether a host, as it stands in a URI, is `localhost` or a loopback literal in its shortest spelling. */
export const isLoopbackHost = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || (loopbackAddress.test(host) && net.isIPv4(host))
