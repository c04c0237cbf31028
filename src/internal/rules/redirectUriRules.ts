/**
 * The rules for a redirect URI that a document registers: its form (DOC-11), and forbidden schemes (DOC-12).
 */
import type { Issue } from "../../Issue.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, quote, typeName } from "./text.js"
import type { Uri } from "./uriSyntax.js"
import { isLoopbackHost, isPlainHttps, parse, splitAuthority, whatwg } from "./uriSyntax.js"

// A browser runs, reads or opens these schemes itself, or they lead to a server over a protocol other than https.
const forbiddenSchemes: ReadonlySet<string> = new Set([
  "about",
  "blob",
  "data",
  "file",
  "filesystem",
  "ftp",
  "javascript",
  "mailto",
  "vbscript",
  "view-source",
  "ws",
  "wss"
])

/** Returns every issue of a redirect URI: errors, then warnings (DOC-11, DOC-12). */
export const issuesOf = (uri: unknown, path: string): ReadonlyArray<Issue> => {
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
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase()
  if (scheme === undefined) {
    return [error("DOC-11", path, `${quote(uri)} is not an absolute URI. Begin it with a scheme, such as https://.`)]
  }
  const errors: Array<Issue> = []
  if (forbiddenSchemes.has(scheme)) {
    errors.push(
      error(
        "DOC-12",
        path,
        `The scheme ${quote(scheme)} is never allowed. Use https, or a private-use scheme of the app.`
      )
    )
  }
  const authority = /^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1]
  const server = authority === undefined ? undefined : splitAuthority(authority)
  const wildcardHost = server !== undefined && (server.host.includes("*") || server.port?.includes("*") === true)
  if (wildcardHost) {
    const advice = scheme === "http" && isLoopbackHost(server.host.toLowerCase())
      ? "Remove the port: any port matches if the host is 127.0.0.1 or [::1]."
      : "Redirect URIs are compared exactly, so list each one."
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
  if (!wildcardHost && server?.userinfo === undefined && !forbiddenSchemes.has(scheme)) {
    checkReadings(uri, read, scheme, path, errors)
  }
  if (errors.length > 0) {
    return errors
  }
  return warnings(uri, read, scheme, path)
}

const defaultPorts: { readonly [scheme: string]: number } = { http: 80, https: 443 }

/**
 * Reports a URI in which RFC 3986 and WHATWG find different hosts or ports: a browser follows WHATWG, while servers and
 * apps may follow RFC 3986.
 */
const checkReadings = (uri: string, read: Uri, scheme: string, path: string, errors: Array<Issue>): void => {
  const special = scheme === "https" || scheme === "http"
  if (special && (read.host ?? "") === "") {
    errors.push(error("DOC-11", path, `${quote(uri)} has no host. Write it as ${scheme}://host/path.`))
    return
  }
  const url = whatwg(uri)
  if (url === undefined) {
    errors.push(error("DOC-11", path, `${quote(uri)} is not a URL that a browser can open. Check its host and port.`))
    return
  }
  const host = (read.host ?? "").toLowerCase()
  if (url.hostname.toLowerCase() !== host) {
    errors.push(error(
      "DOC-11",
      path,
      `The host is ${quote(host)} by RFC 3986, but ${quote(url.hostname)} in a browser. ` +
        "Write the URI so that both are the same."
    ))
  }
  if (portOf(url.port, scheme) !== portOf(read.port ?? "", scheme)) {
    errors.push(error(
      "DOC-11",
      path,
      `The port is ${quote(read.port ?? "")} by RFC 3986, but ${quote(url.port)} in a browser. ` +
        "Write the URI so that both are the same."
    ))
  }
}

const portOf = (port: string, scheme: string): number | undefined => port === "" ? defaultPorts[scheme] : Number(port)

const warnings = (uri: string, read: Uri, scheme: string, path: string): ReadonlyArray<Issue> => {
  const issues: Array<Issue> = []
  if (uri.includes("*")) {
    issues.push(warning("DOC-11", path, "The \"*\" is not a wildcard, because redirect URIs are compared exactly."))
  }
  if (scheme === "https" || scheme === "http") {
    return issues
  }
  if (read.authority === undefined && /^[0-9]{1,5}(?:\/|$)/.test(read.path)) {
    issues.push(warning(
      "DOC-12",
      path,
      `${quote(scheme)} is read as the scheme. If it is a host, begin the URI with https://, or with http:// for a ` +
        "loopback host."
    ))
  } else if (!scheme.includes(".")) {
    issues.push(warning(
      "DOC-12",
      path,
      `Any app can claim the scheme ${quote(scheme)}. Use your own domain name in reverse, such as com.example.app.`
    ))
  }
  return issues
}
