import * as net from "node:net"
import type { Issue } from "../../Issue.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, quote } from "./text.js"
import { isLoopbackHost, splitAuthority, whatwg } from "./uri.js"

export interface Options {
  readonly maxLength?: number | undefined
  readonly loopback?: boolean | undefined
  readonly addressLiterals?: boolean | undefined
}

/** URL-09. Options may lower it, and not raise it: the tables hold no longer ones. */
export const maxLengthAllowed = 2048

const maxLengthOf = (options: Options | undefined): number =>
  Math.min(options?.maxLength ?? maxLengthAllowed, maxLengthAllowed)

const plain =
  /^https:\/\/(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\/[A-Za-z0-9\-._~!$&'()*+,;=:@/]+$/
const dotSegment = /\/\.\.?(?:\/|$)/

/**
 * The client identifiers that most clients have: a lower-case host name, no port, no query, no percent-encoding. For
 * them there is nothing to find; all others take the long way. A test holds the two ways together.
 */
export const isPlain = (input: string, options?: Options): boolean =>
  input.length <= maxLengthOf(options) &&
  plain.test(input) &&
  input.indexOf("/", 8) <= 8 + 253 &&
  !dotSegment.test(input) &&
  // Whether such a label is well formed is for the URL parser to say.
  !input.includes("xn--")

/** Every finding about a client identifier: errors, then warnings. */
export const findings = (input: unknown, options?: Options): ReadonlyArray<Issue> => {
  if (typeof input !== "string") {
    return [error("URL-12", "", "A client id is a string; this is none.")]
  }
  if (isPlain(input, options)) {
    return []
  }
  const maxLength = maxLengthOf(options)
  if (!(input.length <= maxLength)) {
    return [error("URL-09", "", `It has ${input.length} characters; ${maxLength} are allowed. Shorten the path.`)]
  }
  const scheme = /^https?:\/\//i.exec(input)?.[0]
  if (scheme === undefined) {
    return [error(
      "URL-01",
      "",
      "It does not begin with https://, so it names no metadata document. Use the https URL of the document, with its " +
        "scheme and two slashes."
    )]
  }
  const errors: Array<Issue> = []
  if (scheme !== "https://") {
    errors.push(error(
      "URL-01",
      "",
      scheme.toLowerCase() === "http://"
        ? "Its scheme is http. Serve the document over https, and begin the client id with https://."
        : "Write the scheme in lower case, https://: client ids are compared character by character."
    ))
  }
  const rest = input.slice(scheme.length)
  // The URL parser ends the host at a backslash too; that character is refused below, wherever it stands.
  const end = rest.search(/[/?#\\]/)
  const authority = end < 0 ? rest : rest.slice(0, end)
  const hash = rest.indexOf("#")
  const beforeFragment = hash < 0 ? rest : rest.slice(0, hash)
  const questionMark = beforeFragment.indexOf("?")
  const path = (questionMark < 0 ? beforeFragment : beforeFragment.slice(0, questionMark)).slice(authority.length)
  const query = questionMark < 0 ? undefined : beforeFragment.slice(questionMark)

  const authorityCharacters = characters(authority, "host", errors)
  if (authorityCharacters) {
    judgeAuthority(authority, options, errors)
  }
  characters(path, "path", errors)
  if (query !== undefined) {
    characters(query, "query", errors)
  }
  if (!path.startsWith("/") && !path.startsWith("\\")) {
    errors.push(error("URL-02", "", `It has no path. Add one: ${quote(`https://${authority}/client.json`)}.`))
  }
  if (path.split(/[/\\]/).some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))) {
    errors.push(error("URL-03", "", `The path ${quote(path)} has a "." or ".." segment. Write the path without it.`))
  }
  if (hash >= 0) {
    const following = hash === rest.length - 1 ? "" : " and what follows"
    errors.push(error("URL-04", "", `It has a fragment. Remove the "#"${following}.`))
  }
  const percent = /%(?![0-9A-Fa-f]{2})/.exec(beforeFragment)
  if (percent !== null) {
    errors.push(error(
      "URL-11",
      "",
      `The "%" in ${
        quote(beforeFragment.slice(percent.index, percent.index + 3))
      } is not followed by two hex digits. ` +
        `Write a percent sign as %25.`
    ))
  }
  if (errors.length === 0) {
    judgeCanonical(input, errors)
  }
  if (errors.length > 0) {
    return query === undefined ? errors : [...errors, queryWarning]
  }
  const warnings: Array<Issue> = []
  if (path === "/") {
    warnings.push(warning("URL-02", "", "The path is only \"/\". A path of its own, as /client.json, is recommended."))
  }
  if (query !== undefined) {
    warnings.push(queryWarning)
  }
  return warnings
}

const queryWarning = warning(
  "URL-07",
  "",
  "It has a query, which is part of the identity of the client. A URL without one is recommended."
)

type Component = "host" | "path" | "query"

/** Whether every character may stand in the component; the first that may not becomes a finding. */
const characters = (text: string, component: Component, errors: Array<Issue>): boolean => {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code <= 0x20 || code >= 0x7f || neverCanonical[component].includes(text[i] ?? "")) {
      const point = text.codePointAt(i) ?? code
      const advice = point === 0x5c
        ? "Use \"/\"."
        : component === "host"
        ? "Write a host name in lower-case ASCII, an international one in its xn-- form."
        : point <= 0x20 || point === 0x7f
        ? "Remove it."
        : "Write it percent-encoded in UTF-8."
      errors.push(error("URL-08", "", `The ${component} has the character ${codePoint(point)}. ${advice}`))
      return false
    }
  }
  return true
}

// What the URL parser would rewrite or refuse, beside control characters, spaces and everything outside ASCII.
const neverCanonical: { readonly [K in Component]: string } = {
  host: "\\\"<>^`{|}",
  path: "\\\"<>`{}",
  query: "\\\"<>'"
}

const judgeAuthority = (authority: string, options: Options | undefined, errors: Array<Issue>): void => {
  const { host, port, userinfo } = splitAuthority(authority)
  if (userinfo !== undefined) {
    errors.push(
      error("URL-05", "", `It has a userinfo part. Remove everything up to and with the "@" before the host.`)
    )
  }
  if (port !== undefined) {
    judgePort(port, errors)
  }
  if (host === "") {
    errors.push(error("URL-01", "", "It has no host. Write the host name after https://."))
    return
  }
  if (host.startsWith("[") || isNumeric(host)) {
    judgeLiteral(host, options, errors)
    return
  }
  const lowerCase = host.toLowerCase()
  if (host !== lowerCase) {
    errors.push(error("URL-08", "", `Write the host in lower case: ${quote(lowerCase)}.`))
  }
  if (options?.loopback === true && isLoopbackHost(lowerCase)) {
    return
  }
  const fault = nameFault(lowerCase)
  if (fault !== undefined) {
    errors.push(error("URL-10", "", fault))
  }
}

const judgePort = (port: string, errors: Array<Issue>): void => {
  if (port === "") {
    errors.push(error("URL-06", "", "The port after \":\" is missing. Write it, or remove the \":\"."))
  } else if (!/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65535) {
    errors.push(error("URL-06", "", `${quote(port)} is no port: a number from 1 to 65535 without leading zeros is.`))
  }
}

// The URL parser takes a host for an IPv4 address if its last label is a number, in decimal, octal or hex.
const isNumeric = (host: string): boolean => /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$/i.test(host)

const judgeLiteral = (host: string, options: Options | undefined, errors: Array<Issue>): void => {
  const canonical = whatwg(`https://${host}/`)?.hostname
  if (canonical !== host) {
    errors.push(error(
      "URL-08",
      "",
      canonical === undefined
        ? `The host ${quote(host)} is neither a host name nor an address.`
        : `The host ${quote(host)} is an unusual spelling of the address ${quote(canonical)}.`
    ))
  }
  const shortest = canonical ?? host
  if (isLoopbackHost(shortest)) {
    if (options?.loopback !== true) {
      errors.push(
        error("URL-10", "", "The host is a loopback address; only a server in development mode accepts those.")
      )
    }
  } else if (options?.addressLiterals !== true) {
    errors.push(error("URL-10", "", `The host ${quote(host)} is an address. Use a host name.`))
  } else if (canonical === host && net.isIP(host.startsWith("[") ? host.slice(1, -1) : host) === 0) {
    errors.push(error("URL-10", "", `The host ${quote(host)} is no address.`))
  }
}

/** What is wrong with a lower-case host name. */
const nameFault = (host: string): string | undefined => {
  if (host === "localhost") {
    return "The host is localhost, which only a server in development mode accepts."
  }
  if (host.endsWith(".")) {
    return "The host ends with a dot. Remove it."
  }
  if (host.length > 253) {
    return "The host has more than 253 characters."
  }
  const labels = host.split(".")
  if (labels.length < 2) {
    return `The host ${quote(host)} has no dot. Use a fully qualified host name, as app.example.com.`
  }
  // A percent sign is judged as such, and by the comparison with the canonical form.
  const bad = labels.find((label) => label.length > 63 || !/^(?!-)[a-z0-9_%-]+(?<!-)$/.test(label))
  return bad === undefined
    ? undefined
    : `The host label ${quote(bad)} has to be 1 to 63 letters, digits and hyphens, with no hyphen at either end.`
}

/** Whether the URL parser gives the string back as it is; it drops `:443`, which URL-06 keeps (URL-08). */
const judgeCanonical = (input: string, errors: Array<Issue>): void => {
  const url = whatwg(input)
  if (url === undefined) {
    errors.push(error("URL-08", "", "It is not a URL that the URL standard can read. Check its host."))
    return
  }
  const authorityEnd = input.indexOf("/", 8)
  const withoutPort = input.endsWith(":443", authorityEnd)
    ? input.slice(0, authorityEnd - 4) + input.slice(authorityEnd)
    : input
  if (url.href !== withoutPort) {
    errors.push(error("URL-08", "", `It is not in canonical form. Use ${quote(url.href)}.`))
  }
}
