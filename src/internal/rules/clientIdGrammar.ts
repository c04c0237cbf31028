import type { Issue } from "../../Issue.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, quote } from "./text.js"
import { hasDotSegment, isLoopbackHost, malformedPercentEncoding, splitAuthority } from "./uriSyntax.js"
import * as WebHost from "./webHost.js"

/** What the grammar permits beyond host names on the internet. */
export interface Options {
  readonly maxLength?: number | undefined
  readonly loopback?: boolean | undefined
  readonly addressLiterals?: boolean | undefined
}

/** The maximum length in characters (URL-09). Options can lower it but not raise it: the tables hold no longer keys. */
export const maxLengthAllowed = 2048

const maxLengthOf = (options: Options | undefined): number =>
  Math.min(options?.maxLength ?? maxLengthAllowed, maxLengthAllowed)

const plain =
  /^https:\/\/(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\/[A-Za-z0-9\-._~!$&'()*+,;=:@/]+$/
const dotSegment = /\/\.\.?(?:\/|$)/

/**
 * Whether the client identifier has the most common form: a lower-case host name, no port, no query, no
 * percent-encoding. Such an identifier has no issues. All others need the full check; a test compares the two.
 */
export const isPlain = (input: string, options?: Options): boolean =>
  input.length <= maxLengthOf(options) &&
  plain.test(input) &&
  input.indexOf("/", 8) <= 8 + 253 &&
  !dotSegment.test(input)

/** Returns every issue of a client identifier: errors, then warnings. */
export const issuesOf = (input: unknown, options?: Options): ReadonlyArray<Issue> => {
  if (typeof input !== "string") {
    return [error("URL-12", "", "The client id is not a string. Write it as a string.")]
  }
  if (isPlain(input, options)) {
    return []
  }
  const maxLength = maxLengthOf(options)
  if (!(input.length <= maxLength)) {
    return [
      error(
        "URL-09",
        "",
        `The client id has ${input.length} characters, but at most ${maxLength} are allowed. Shorten the path.`
      )
    ]
  }
  const scheme = /^https?:\/\//i.exec(input)?.[0]
  if (scheme === undefined) {
    const blank = /^[\s\u0000-\u001f](?=\s*https?:)/i.exec(input)?.[0].codePointAt(0)
    return [error(
      "URL-01",
      "",
      blank === undefined
        ? "The client id does not begin with https://, so it does not name a metadata document. Use the https URL of " +
          "the document, with its scheme and two slashes."
        : `The client id begins with the character ${codePoint(blank)}. Remove what stands before https://.`
    )]
  }
  const errors: Array<Issue> = []
  if (scheme !== "https://") {
    errors.push(error(
      "URL-01",
      "",
      scheme.toLowerCase() === "http://"
        ? "The scheme is http. Serve the document over https, and begin the client id with https://."
        : "Write the scheme in lower case, as https://, because client ids are compared character by character."
    ))
  }
  const rest = input.slice(scheme.length)
  // The URL parser ends the host at a backslash too. The character itself is an error below, wherever it stands.
  const end = rest.search(/[/?#\\]/)
  const authority = end < 0 ? rest : rest.slice(0, end)
  const hash = rest.indexOf("#")
  const beforeFragment = hash < 0 ? rest : rest.slice(0, hash)
  const questionMark = beforeFragment.indexOf("?")
  const path = (questionMark < 0 ? beforeFragment : beforeFragment.slice(0, questionMark)).slice(authority.length)
  const query = questionMark < 0 ? undefined : beforeFragment.slice(questionMark)

  if (checkCharacters(authority, "host", errors)) {
    checkAuthority(authority, options, errors)
  }
  checkCharacters(path, "path", errors)
  if (query !== undefined) {
    checkCharacters(query, "query", errors)
  }
  if (!path.startsWith("/") && !path.startsWith("\\")) {
    errors.push(
      error("URL-02", "", `The client id has no path. Add one, such as ${quote(`https://${authority}/client.json`)}.`)
    )
  }
  if (hasDotSegment(path)) {
    errors.push(error("URL-03", "", `The path ${quote(path)} has a "." or ".." segment. Write the path without it.`))
  }
  if (hash >= 0) {
    const following = hash === rest.length - 1 ? "" : " and everything after it"
    errors.push(error("URL-04", "", `The client id has a fragment. Remove the "#"${following}.`))
  }
  const percent = malformedPercentEncoding(beforeFragment)
  if (percent !== undefined) {
    errors.push(error(
      "URL-11",
      "",
      `The "%" in ${quote(percent)} is not followed by two hexadecimal digits. Write a percent sign as %25.`
    ))
  }
  if (errors.length > 0) {
    return query === undefined ? errors : [...errors, queryWarning]
  }
  const warnings: Array<Issue> = []
  if (path === "/") {
    warnings.push(
      warning("URL-02", "", "The path is only \"/\". Use a path that names the document, such as /client.json.")
    )
  }
  if (query !== undefined) {
    warnings.push(queryWarning)
  }
  return warnings
}

const queryWarning = warning(
  "URL-07",
  "",
  "The client id has a query, which is part of the client's identity. Use a URL without a query."
)

type Component = "host" | "path" | "query"

/** Whether every character is permitted in the component. Reports the first one that is not. */
const checkCharacters = (text: string, component: Component, errors: Array<Issue>): boolean => {
  for (let i = 0; i < text.length; i++) {
    if (!permitted[component].test(text[i] ?? "")) {
      const point = text.codePointAt(i) ?? 0
      const advice = point === 0x5c
        ? "Use \"/\"."
        : component === "host"
        ? "Write the host name in lower-case ASCII, and an international name in its xn-- form."
        : point <= 0x20 || point === 0x7f
        ? "Remove it."
        : "Write it percent-encoded in UTF-8."
      errors.push(error("URL-08", "", `The ${component} has the character ${codePoint(point)}. ${advice}`))
      return false
    }
  }
  return true
}

// RFC 3986's characters. In a query, browsers rewrite the apostrophe, so it has two spellings.
const permitted: { readonly [K in Component]: RegExp } = {
  host: /[A-Za-z0-9\-._~!$&'()*+,;=:@[\]%]/,
  path: /[A-Za-z0-9\-._~!$&'()*+,;=:@/%]/,
  query: /[A-Za-z0-9\-._~!$&()*+,;=:@/?%]/
}

const checkAuthority = (authority: string, options: Options | undefined, errors: Array<Issue>): void => {
  const { host, port, userinfo } = splitAuthority(authority)
  if (userinfo !== undefined) {
    errors.push(
      error(
        "URL-05",
        "",
        `The client id has a userinfo part. Remove the "@" before the host, and the user name and password before it.`
      )
    )
  }
  if (port !== undefined) {
    checkPort(port, errors)
  }
  if (host === "") {
    errors.push(error("URL-01", "", "The client id has no host. Write the host name after https://."))
    return
  }
  if (host.includes("%")) {
    errors.push(error("URL-08", "", `The host ${quote(host)} is percent-encoded. Write its characters themselves.`))
    return
  }
  if (host.startsWith("[") || WebHost.isNumeric(host)) {
    checkAddress(host, options, errors)
    return
  }
  const lowerCase = host.toLowerCase()
  if (host !== lowerCase) {
    errors.push(error("URL-08", "", `Write the host in lower case: ${quote(lowerCase)}.`))
  }
  if (options?.loopback === true && isLoopbackHost(lowerCase)) {
    return
  }
  const message = messageForHostName(lowerCase)
  if (message !== undefined) {
    errors.push(error("URL-10", "", message))
  }
}

const checkPort = (port: string, errors: Array<Issue>): void => {
  if (port === "") {
    errors.push(error("URL-06", "", "The port after \":\" is missing. Add the port, or remove the \":\"."))
  } else if (!/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65535) {
    errors.push(
      error("URL-06", "", `${quote(port)} is not a port. Use a number from 1 to 65535 without leading zeros.`)
    )
  }
}

const checkAddress = (host: string, options: Options | undefined, errors: Array<Issue>): void => {
  const reading = WebHost.read(host)
  if (reading.kind === "invalid") {
    errors.push(error("URL-08", "", reading.message))
  }
  // A misspelled address needs permission too.
  const address = reading.kind === "address"
    ? reading.address
    : reading.kind === "invalid"
    ? reading.canonical
    : undefined
  if (address !== undefined && WebHost.isLoopback({ kind: "address", address })) {
    if (options?.loopback !== true) {
      errors.push(
        error(
          "URL-10",
          "",
          "The host is a loopback address, which only a server in development mode accepts. Use a host name."
        )
      )
    }
  } else if (options?.addressLiterals !== true) {
    errors.push(error("URL-10", "", `The host ${quote(host)} is an address. Use a host name.`))
  }
}

/** The message for a lower-case host name that is not permitted. */
const messageForHostName = (host: string): string | undefined => {
  if (host === "localhost") {
    return "The host is localhost, which only a server in development mode accepts. Use a public host name."
  }
  if (host.endsWith(".")) {
    return "The host ends with a dot. Remove it."
  }
  if (host.length > 253) {
    return "The host has more than 253 characters. Use a shorter host name."
  }
  const labels = host.split(".")
  if (labels.length < 2) {
    return `The host ${quote(host)} has no dot. Use a fully qualified host name, such as app.example.com.`
  }
  const bad = labels.find((label) => !WebHost.isLabel(label))
  return bad === undefined
    ? undefined
    : `The host label ${quote(bad)} must be 1 to 63 letters, digits and hyphens, without a hyphen at either end.`
}
