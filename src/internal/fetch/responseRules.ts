import {
  UnexpectedRedirect,
  UnexpectedStatus,
  UnsupportedContentEncoding,
  UnsupportedContentType
} from "../../FetchError.js"
import { printable } from "../rules/text.js"
import { trimmed } from "./cacheControl.js"
import type { Head } from "./responseParser.js"

/** Why the body of a response is not worth reading. */
export type HeadError = UnexpectedStatus | UnexpectedRedirect | UnsupportedContentType | UnsupportedContentEncoding

const tokenCharacters = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const mediaType = new RegExp(`^(${tokenCharacters})/(${tokenCharacters})[\\t ]*(;.*)?$`)
const quoted = "\"(?:[\\t\\x20\\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t\\x20-\\x7e\\x80-\\xff])*\""
const parameters = new RegExp(`^(?:;[\\t ]*(?:${tokenCharacters}=(?:${tokenCharacters}|${quoted})[\\t ]*)?)*$`)

/**
 * `application/json`, or `application/<name>+json` (RFC 6839, section 3.1). The parameters have no meaning, `charset`
 * included (RFC 8259, section 11), because the validator checks that the bytes are UTF-8. They must be well formed, since
 * a malformed value may be two values that an intermediary joined, and another recipient may follow the other one.
 */
const isJson = (contentType: string): boolean => {
  const match = mediaType.exec(contentType)
  if (match?.[1]?.toLowerCase() !== "application") {
    return false
  }
  const subtype = match[2]?.toLowerCase() ?? ""
  return (subtype === "json" || (subtype.endsWith("+json") && subtype !== "+json")) &&
    parameters.test(match[3] ?? "")
}

const isIdentity = (contentEncoding: string): boolean =>
  contentEncoding.split(",").every((coding) => ["", "identity"].includes(trimmed(coding).toLowerCase()))

/** Maximum number of characters of a header in an error, escapes included. */
const maxShown = 100

const shown = (value: string): string => {
  const text = printable(value)
  return text.length > maxShown ? `${text.slice(0, maxShown - 1)}…` : text
}

/** What tells a bot wall from a wrong path, for the operator only. */
const diagnosisOf = (values: (field: string) => ReadonlyArray<string>) => {
  const [contentType, cfMitigated, server] = ["content-type", "cf-mitigated", "server"].map((field) => {
    const all = values(field)
    return all.length === 0 ? undefined : shown(all.join(", "))
  })
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(cfMitigated === undefined ? {} : { cfMitigated }),
    ...(server === undefined ? {} : { server })
  }
}

/** Checks status, redirect, content encoding and content type (FET-03 to FET-06). Returns the first error. */
export const headError = (clientId: string, { headers, status }: Head): HeadError | undefined => {
  const values = (field: string) => headers.filter(([name]) => name.toLowerCase() === field).map(([, value]) => value)
  if (status >= 300 && status < 400 && status !== 304) {
    const [location] = values("location")
    return new UnexpectedRedirect({
      clientId,
      status,
      ...(location === undefined ? {} : { location: printable(location) })
    })
  }
  if (status !== 200) {
    return new UnexpectedStatus({ clientId, status, ...diagnosisOf(values) })
  }
  const encoding = values("content-encoding").join(", ")
  if (!isIdentity(encoding)) {
    return new UnsupportedContentEncoding({ clientId, contentEncoding: printable(encoding) })
  }
  // With several lines, another recipient may follow another one.
  const types = values("content-type")
  const [type] = types
  if (type === undefined || types.length > 1 || !isJson(type)) {
    return new UnsupportedContentType({ clientId, status, ...diagnosisOf(values) })
  }
  return undefined
}
