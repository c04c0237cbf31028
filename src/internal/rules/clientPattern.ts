/**
 * The subject of a decision: one client, or all clients of a host pattern below a path (REG-11).
 *
 * Servers disagree on which paths are the same: some decode `%61` and `%2f`, merge slashes, drop `;parameters` or ignore
 * case. So a block applies if any reading of the path is below its prefix, and an allow only if every reading is.
 */
import type { Issue } from "../../Issue.js"
import { isError } from "../../Issue.js"
import * as Grammar from "./clientIdGrammar.js"
import { parts } from "./clientIdParts.js"
import * as HostPattern from "./hostPattern.js"
import { error } from "./ruleCatalog.js"
import { quote, typeName } from "./text.js"
import { hasDotSegment } from "./uriSyntax.js"

/** All clients on the hosts of a host pattern whose path begins with `path`, which ends with `/`. On any port. */
export interface ClientPattern {
  readonly host: string
  readonly path: string
}

export type Subject =
  | { readonly _tag: "Client"; readonly clientId: string }
  | { readonly _tag: "Pattern"; readonly pattern: ClientPattern }

/** Returns the one spelling of a subject. A client id has a colon after its scheme, so it equals no pattern. */
export const keyOf = (subject: Subject): string =>
  subject._tag === "Client" ? subject.clientId : subject.pattern.host + subject.pattern.path

// No "%", ";" or empty segment: a prefix has one reading only. The longest client id has 2048 characters.
const prefix = /^\/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]{1,2048}\/)*$/

const issueOfPath = (path: string): string | undefined => {
  if (!path.endsWith("/")) {
    return `a path must end with "/", as in ${quote(`${path}/`)}. To name one client, write its whole client id`
  }
  if (path.length > Grammar.maxLengthAllowed) {
    return `the path must have at most ${Grammar.maxLengthAllowed} characters`
  }
  if (!prefix.test(path)) {
    return "the path must have no percent-encoding, no \";\", no empty segment, and only the characters of a client id"
  }
  return hasDotSegment(path) ? "the path must have no \".\" or \"..\" segment" : undefined
}

const issueOfHost = (host: string): string | undefined =>
  host === "" || host === "*"
    ? "it must begin with a host, as in app.example or *.app.example"
    : HostPattern.issueOf(host)

/** Reads a subject: `https://app.example/client.json`, `app.example`, `*.app.example` or `app.example/clients/`. */
export const parse = (text: unknown): Subject | ReadonlyArray<Issue> => {
  if (typeof text !== "string") {
    return [error("REG-11", "/subject", `The subject must be a string, but is ${typeName(text)}.`)]
  }
  if (/^https?:\/\//i.test(text)) {
    // The host policy decides which hosts there may be, so the widest grammar applies here.
    const issues = Grammar.issuesOf(text, { loopback: true, addressLiterals: true }).filter(isError)
    return issues.length === 0 ? { _tag: "Client", clientId: text } : issues
  }
  const slash = text.indexOf("/")
  const pattern = slash < 0 ? { host: text, path: "/" } : { host: text.slice(0, slash), path: text.slice(slash) }
  const issue = issueOfHost(pattern.host) ?? issueOfPath(pattern.path)
  return issue === undefined
    ? { _tag: "Pattern", pattern }
    : [error("REG-11", "/subject", `${quote(text)} names no clients: ${issue}.`)]
}

const decode = (path: string): string =>
  path.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))

/** Returns the path that a lenient server looks up: without parameters, empty segments and dot segments. */
const lookedUp = (path: string): string => {
  const segments: Array<string> = []
  const written = path.replaceAll("\\", "/").split("/")
  for (const segment of written) {
    const name = segment.split(";", 1)[0] ?? ""
    if (name === "..") segments.pop()
    else if (name !== "" && name !== ".") segments.push(name)
  }
  const end = written.at(-1) === "" && segments.length > 0 ? "/" : ""
  return `/${segments.join("/")}${end}`
}

/** Returns the paths that servers may read in a path. Most paths have one reading. */
const readingsOf = (path: string): ReadonlyArray<string> => {
  if (!/[%;]|\/\//.test(path)) return [path]
  const once = decode(path)
  return [path, lookedUp(path), lookedUp(once), lookedUp(decode(once))]
}

/** The patterns of a list that match a client. */
export interface Matcher {
  /** Returns the first pattern that any reading of the client's path is below, in any case of letters. */
  readonly any: (clientId: string) => ClientPattern | undefined
  /** Returns the first pattern that every reading of the client's path is below. */
  readonly every: (clientId: string) => ClientPattern | undefined
}

/**
 * Returns a matcher of patterns, which must be well formed. It reads no more labels of a name than the longest pattern
 * has, and compares paths with the patterns of matching hosts only.
 */
export const matcher = (patterns: Iterable<ClientPattern>): Matcher => {
  const byHost = new Map<string, Array<ClientPattern>>()
  let depth = 0
  for (const pattern of patterns) {
    const { host } = pattern
    if (host.startsWith("*.")) depth = Math.max(depth, host.split(".").length - 1)
    const listed = byHost.get(host)
    if (listed === undefined) byHost.set(host, [pattern])
    else listed.push(pattern)
  }

  /** The patterns whose hosts match, the exact host first, then from the longest base to the shortest one. */
  const onHost = (host: string): ReadonlyArray<ClientPattern> => {
    const found = [...byHost.get(host) ?? []]
    if (depth === 0 || HostPattern.isAddress(host)) return found
    const bases: Array<string> = []
    let dot = host.length
    for (let labels = 1; labels <= depth; labels++) {
      dot = host.lastIndexOf(".", dot - 1)
      if (dot < 0) break
      bases.push(`*${host.slice(dot)}`)
    }
    for (const base of bases.reverse()) found.push(...byHost.get(base) ?? [])
    return found
  }

  const find = (
    clientId: string,
    isBelow: (readings: ReadonlyArray<string>, prefix: string) => boolean
  ): ClientPattern | undefined => {
    if (byHost.size === 0) return undefined
    const { host, requestTarget } = parts(clientId)
    const candidates = onHost(host)
    if (candidates.length === 0) return undefined
    const readings = readingsOf(requestTarget.split("?", 1)[0] ?? "")
    return candidates.find(({ path }) => isBelow(readings, path))
  }

  return {
    any: (clientId) =>
      find(clientId, (readings, prefix) => {
        const lowerCase = prefix.toLowerCase()
        return readings.some((path) => path.toLowerCase().startsWith(lowerCase))
      }),
    every: (clientId) => find(clientId, (readings, prefix) => readings.every((path) => path.startsWith(prefix)))
  }
}
