import type { Issue } from "../../Issue.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, quote, typeName } from "./text.js"
import type { Uri } from "./uri.js"
import { isLoopbackHost, isPlainHttps, parse, splitAuthority, whatwg } from "./uri.js"

// Schemes that a browser runs, reads or opens by itself, or that lead to a server over something other than https.
const forbidden: ReadonlySet<string> = new Set([
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

/** Every finding about a redirect URI: errors, then warnings (DOC-11, DOC-12). */
export const findings = (uri: unknown, path: string): ReadonlyArray<Issue> => {
  if (typeof uri !== "string") {
    return [error("DOC-14", path, `A redirect URI is a string, not ${typeName(uri)}.`)]
  }
  if (isPlainHttps(uri)) {
    return []
  }
  const bad = /[^\x21-\x5b\x5d-\x7e]/u.exec(uri)?.[0]
  if (bad !== undefined) {
    return [error(
      "DOC-11",
      path,
      `It has the character ${codePoint(bad.codePointAt(0) ?? 0)}, which no URI has. ` +
        (bad === "\\" ? "Use \"/\"." : "Remove it, or write it percent-encoded.")
    )]
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase()
  if (scheme === undefined) {
    return [error("DOC-11", path, `${quote(uri)} is not absolute. Begin it with a scheme, as https://.`)]
  }
  const errors: Array<Issue> = []
  if (forbidden.has(scheme)) {
    errors.push(
      error("DOC-12", path, `The scheme ${quote(scheme)} is never allowed. Use https, or a scheme of the app's own.`)
    )
  }
  const authority = /^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1]
  const server = authority === undefined ? undefined : splitAuthority(authority)
  const wildcardHost = server !== undefined && (server.host.includes("*") || server.port?.includes("*") === true)
  if (wildcardHost) {
    const advice = scheme === "http" && isLoopbackHost(server.host.toLowerCase())
      ? "Write it without a port: any port matches where the host is 127.0.0.1 or [::1]."
      : "Redirect URIs are compared exactly: list each one."
    errors.push(error("DOC-11", path, `It has a "*" in its host or port. ${advice}`))
  }
  if (server?.userinfo !== undefined) {
    errors.push(
      error("DOC-11", path, "It has a userinfo part. Remove everything up to and with the \"@\" before the host.")
    )
  }
  if (uri.includes("#")) {
    errors.push(error("DOC-11", path, "It has a fragment. Remove the \"#\" and what follows."))
  }
  if (scheme === "http" && server !== undefined && !isLoopbackHost(server.host.toLowerCase())) {
    errors.push(error(
      "DOC-12",
      path,
      `Its scheme is http and its host ${quote(server.host)} is not a loopback host. Use https; http is for ` +
        "127.0.0.1, [::1] and localhost."
    ))
  }
  const read = parse(uri)
  if (read === undefined) {
    if (errors.length === 0) {
      errors.push(error("DOC-11", path, `${quote(uri)} is not a URI by RFC 3986. Check its host, port and "%" signs.`))
    }
    return errors
  }
  if (!wildcardHost && server?.userinfo === undefined && !forbidden.has(scheme)) {
    judgeReadings(uri, read, scheme, path, errors)
  }
  if (errors.length > 0) {
    return errors
  }
  return warnings(uri, read, scheme, path)
}

const defaultPorts: { readonly [scheme: string]: number } = { http: 80, https: 443 }

/** Whether RFC 3986 and WHATWG find the same host and port: a browser follows the one, servers and apps the other. */
const judgeReadings = (uri: string, read: Uri, scheme: string, path: string, errors: Array<Issue>): void => {
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
      `Its host is ${quote(host)} by RFC 3986 and ${
        quote(url.hostname)
      } in a browser. Write it so that both are the same.`
    ))
  }
  if (portOf(url.port, scheme) !== portOf(read.port ?? "", scheme)) {
    errors.push(error(
      "DOC-11",
      path,
      `Its port is ${quote(read.port ?? "")} by RFC 3986 and ${
        quote(url.port)
      } in a browser. Write it so that both are ` +
        "the same."
    ))
  }
}

const portOf = (port: string, scheme: string): number | undefined => port === "" ? defaultPorts[scheme] : Number(port)

const warnings = (uri: string, read: Uri, scheme: string, path: string): ReadonlyArray<Issue> => {
  const found: Array<Issue> = []
  if (uri.includes("*")) {
    found.push(warning("DOC-11", path, "Its \"*\" is no wildcard: redirect URIs are compared exactly."))
  }
  if (scheme === "https" || scheme === "http") {
    return found
  }
  if (read.authority === undefined && /^[0-9]{1,5}(?:\/|$)/.test(read.path)) {
    found.push(warning(
      "DOC-12",
      path,
      `${
        quote(scheme)
      } is read as the scheme. If it is a host, begin with http:// for a loopback host, else with https://.`
    ))
  } else if (!scheme.includes(".")) {
    found.push(warning(
      "DOC-12",
      path,
      `Any app can claim the scheme ${quote(scheme)}. Use a domain name of yours in reverse, as com.example.app.`
    ))
  }
  return found
}
