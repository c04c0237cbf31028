import {
  UnexpectedRedirect,
  UnexpectedStatus,
  UnsupportedContentEncoding,
  UnsupportedContentType
} from "../../FetchError.js"
import { printable } from "../rules/text.js"
import { trimmed } from "./cacheControl.js"
import type { Head } from "./httpResponse.js"

export type HeadRefused = UnexpectedStatus | UnexpectedRedirect | UnsupportedContentType | UnsupportedContentEncoding

const tokenCharacters = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const mediaType = new RegExp(`^(${tokenCharacters})/(${tokenCharacters})[\\t ]*(;.*)?$`)
const quoted = "\"(?:[\\t\\x20\\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t\\x20-\\x7e\\x80-\\xff])*\""
const parameter = new RegExp(`;[\\t ]*(?:(${tokenCharacters})=(${tokenCharacters}|${quoted})[\\t ]*)?`, "y")

const unquoted = (value: string): string => value.startsWith("\"") ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value

/** Whether every parameter is well formed and each charset is UTF-8. Duplicates are judged one by one. */
const parametersAreFine = (text: string): boolean => {
  parameter.lastIndex = 0
  while (parameter.lastIndex < text.length) {
    const match = parameter.exec(text)
    if (match === null) {
      return false
    }
    if (match[1]?.toLowerCase() === "charset" && unquoted(match[2] ?? "").toLowerCase() !== "utf-8") {
      return false
    }
  }
  return true
}

/** `application/json`, or `application/<name>+json` (RFC 6839, section 3.1). */
const isJson = (contentType: string): boolean => {
  const match = mediaType.exec(contentType)
  if (match?.[1]?.toLowerCase() !== "application") {
    return false
  }
  const subtype = match[2]?.toLowerCase() ?? ""
  return (subtype === "json" || (subtype.endsWith("+json") && subtype !== "+json")) && parametersAreFine(match[3] ?? "")
}

const isIdentity = (contentEncoding: string): boolean =>
  contentEncoding.split(",").every((coding) => ["", "identity"].includes(trimmed(coding).toLowerCase()))

/** Why the head of a response makes its body not worth reading (FET-03 to FET-06). */
export const refuse = (clientId: string) => ({ headers, status }: Head): HeadRefused | undefined => {
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
    return new UnexpectedStatus({ clientId, status })
  }
  const encoding = values("content-encoding").join(", ")
  if (!isIdentity(encoding)) {
    return new UnsupportedContentEncoding({ clientId, contentEncoding: printable(encoding) })
  }
  // Several lines are several opinions, and another reader may follow the other one.
  const types = values("content-type")
  const [type] = types
  if (type === undefined || types.length > 1 || !isJson(type)) {
    return new UnsupportedContentType({
      clientId,
      ...(type === undefined ? {} : { contentType: printable(types.join(", ")) })
    })
  }
  return undefined
}
