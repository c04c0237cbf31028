/**
 * The rules for a redirect URI that a document registers: its form (DOC-11), and its scheme (DOC-12, RED-05).
 */
import type { Issue } from "../../Issue.js"
import * as Schemes from "./redirectSchemes.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, quote, typeName } from "./text.js"
import type { Uri } from "./uriSyntax.js"
import { hasDotSegment, isLoopbackHost, isPlainHttps, parse, splitAuthority } from "./uriSyntax.js"
import * as WebHost from "./webHost.js"

const schemeOf = (uri: string): string | undefined => /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase()

const isWeb = (scheme: string): boolean => scheme === "https" || scheme === "http"

/**
 * Whether a registered redirect URI may be matched: it has no error (DOC-11, DOC-12), and no other program than the
 * client's is likely to have its scheme (RED-05). `opened` are the private-use schemes that the server opens.
 */
export const isMatchable = (uri: string, opened: ReadonlyArray<string> = []): boolean => {
  if (isPlainHttps(uri)) return true
  const scheme = schemeOf(uri)
  return scheme !== undefined && (isWeb(scheme) || Schemes.isMatchable(scheme, opened)) &&
    !issuesOf(uri, "", opened).some((issue) => issue.severity === "error")
}

/** Returns every issue of a redirect URI: errors, then warnings (DOC-11, DOC-12). */
export const issuesOf = (
  uri: unknown,
  path: string,
  opened: ReadonlyArray<string> = []
): ReadonlyArray<Issue> => {
  if (typeof uri !== "string") {
    return [error("DOC-14", path, `A redirect URI must be a string, not ${typeName(uri)}.`)]
  }
  if (isPlainHttps(uri)) {
    return []
  }
  const bad = /[^\x21-\x5b\x5d-\x7e]/u.exec(uri)?.[0]
  if (bad !== undefined) {
    return [error(
      "DOC-11",
      path,
      `The URI has the character ${codePoint(bad.codePointAt(0) ?? 0)}, which is not allowed in a URI. ` +
        (bad === "\\" ? "Use \"/\"." : "Remove it, or percent-encode it.")
    )]
  }
  const scheme = schemeOf(uri)
  if (scheme === undefined) {
    return [error("DOC-11", path, `${quote(uri)} is not an absolute URI. Begin it with a scheme, such as https://.`)]
  }
  const errors: Array<Issue> = []
  if (Schemes.isRefused(scheme)) {
    errors.push(
      error(
        "DOC-12",
        path,
        `The scheme ${quote(scheme)} is never allowed, because other programs open it. Use https, or your own domain ` +
          "name in reverse, such as com.example.app."
      )
    )
  }
  const authority = /^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1]
  const server = authority === undefined ? undefined : splitAuthority(authority)
  const wildcardHost = server !== undefined && (server.host.includes("*") || server.port?.includes("*") === true)
  if (wildcardHost) {
    const advice = scheme === "http" ? wildcardAdvice(server.host.toLowerCase()) : listEach
    errors.push(error("DOC-11", path, `The URI has a "*" in its host or port. ${advice}`))
  }
  if (server?.userinfo !== undefined) {
    errors.push(
      error(
        "DOC-11",
        path,
        "The URI has a userinfo part. Remove the \"@\" before the host, and the user name and password before it."
      )
    )
  }
  if (uri.includes("#")) {
    errors.push(error("DOC-11", path, "The URI has a fragment. Remove the \"#\" and everything after it."))
  }
  if (scheme === "http" && server !== undefined && !isLoopbackHost(server.host.toLowerCase())) {
    errors.push(error(
      "DOC-12",
      path,
      `The scheme is http, but the host ${quote(server.host)} is not a loopback host. Use https. Only 127.0.0.1, ` +
        "[::1] and localhost may use http."
    ))
  }
  const read = parse(uri)
  if (read === undefined) {
    if (errors.length === 0) {
      errors.push(
        error("DOC-11", path, `${quote(uri)} is not a valid URI (RFC 3986). Check its host, port and "%" signs.`)
      )
    }
    return errors
  }
  if (!wildcardHost && server?.userinfo === undefined && !Schemes.isRefused(scheme)) {
    checkReadings(uri, read, scheme, path, errors)
  }
  if (errors.length > 0) {
    return errors
  }
  return warnings(uri, read, scheme, path, opened)
}

const listEach = "Redirect URIs are compared exactly, so list each one."

const wildcardAdvice = (host: string): string =>
  host === "localhost"
    ? "Remove the port, and add the same URI with the host 127.0.0.1: its port is ignored. The port of localhost is " +
      "ignored only by servers that enable it."
    : isLoopbackHost(host)
    ? host === "127.0.0.1" || host === "[::1]"
      ? "Remove the port, because any port matches for this host."
      : "Use the host 127.0.0.1 and remove the port, because any port matches for that host."
    : listEach

/**
 * Reports a URI in which RFC 3986 and WHATWG could find different hosts or ports: a browser follows WHATWG, while servers
 * and apps may follow RFC 3986.
 */
const checkReadings = (uri: string, read: Uri, scheme: string, path: string, errors: Array<Issue>): void => {
  const host = (read.host ?? "").toLowerCase()
  if (host === "" && (isWeb(scheme) || read.port !== undefined)) {
    errors.push(error("DOC-11", path, `${quote(uri)} has no host. Write it as ${scheme}://host/path.`))
    return
  }
  // The host of another scheme is opaque: WHATWG looks only into brackets.
  if (isWeb(scheme) || host.startsWith("[")) {
    const reading = WebHost.read(host)
    if (reading.kind === "invalid") errors.push(error("DOC-11", path, reading.message))
  }
  // A native app may register port 0 to say that it chooses the port later.
  if (read.port !== undefined && !WebHost.isPlainPort(read.port) && !(scheme === "http" && read.port === "0")) {
    errors.push(
      error("DOC-11", path, `${quote(read.port)} is not a port. Use a number from 1 to 65535 without leading zeros.`)
    )
  }
}

const warnings = (
  uri: string,
  read: Uri,
  scheme: string,
  path: string,
  opened: ReadonlyArray<string>
): ReadonlyArray<Issue> => {
  const issues: Array<Issue> = []
  if (uri.includes("*")) {
    issues.push(warning("DOC-11", path, "The \"*\" is not a wildcard, because redirect URIs are compared exactly."))
  }
  if (hasDotSegment(read.path)) {
    issues.push(
      warning("DOC-11", path, "The path has a \".\" or \"..\" segment, which a browser removes. Write it without it.")
    )
  }
  if (scheme === "https" && !WebHost.isPublic(WebHost.read((read.host ?? "").toLowerCase()))) {
    issues.push(warning(
      "DOC-12",
      path,
      `The host ${quote(read.host ?? "")} is not on the public internet, so it leads each user to another machine. ` +
        "Use a public host name."
    ))
  }
  if (isWeb(scheme) || opened.includes(scheme)) {
    return issues
  }
  const unmatched = Schemes.isMatchable(scheme)
    ? ""
    : " The URI never matches unless the server opens its scheme (RED-05)."
  if (read.authority === undefined && /^[0-9]{1,5}(?:\/|$)/.test(read.path)) {
    issues.push(warning(
      "DOC-12",
      path,
      `${quote(scheme)} is read as the scheme. If it is a host, begin the URI with https://, or with http:// for a ` +
        `loopback host.${unmatched}`
    ))
  } else if (!scheme.includes(".")) {
    issues.push(warning(
      "DOC-12",
      path,
      `Any app can claim the scheme ${quote(scheme)}. Use your own domain name in reverse, such as com.example.app.` +
        unmatched
    ))
  }
  return issues
}
