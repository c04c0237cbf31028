/**
 * Parses the `Cache-Control` field: `#( token [ "=" ( token / quoted-string ) ] )` (RFC 9111, section 5.2; FRS-02).
 *
 * Written by hand, because http-cache-semantics compares directive names case-sensitively, and splits at every comma,
 * also within a quoted string. It serves as a differential test: `test/FreshnessDifferential.test.ts` lists every
 * difference and its reason.
 */

/** One directive: its name in lower case, and its argument without quotes. */
export interface Directive {
  readonly name: string
  readonly argument: string | undefined
}

/** The directives of a response, and what cannot be read as one. */
export interface CacheControl {
  readonly directives: ReadonlyArray<Directive>
  /** The words of every malformed member, in lower case. Empty if the field follows the grammar. */
  readonly malformed: ReadonlyArray<string>
}

/** Splits at the commas that are not inside a quoted string. */
const members = (line: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let start = 0
  let allClosed = true
  for (let at = 0; at < line.length; at++) {
    if (line[at] === ",") {
      found.push(line.slice(start, at))
      start = at + 1
    } else if (line[at] === "\"" && allClosed) {
      // A quote that is never closed is an ordinary character, so that it cannot hide a `no-store` behind it. Later
      // quotes are not examined, because seeking the end of each would take quadratic time.
      const end = endOfQuotedString(line, at)
      allClosed = end !== undefined
      at = end ?? at
    }
  }
  found.push(line.slice(start))
  return found
}

const endOfQuotedString = (line: string, start: number): number | undefined => {
  for (let at = start + 1; at < line.length; at++) {
    if (line[at] === "\"") {
      return at
    }
    if (line[at] === "\\") {
      at++
    }
  }
  return undefined
}

/** Removes optional whitespace: only space and tab, not everything that `String.trim` removes. */
export const trimmed = (text: string): string => {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text, start)) {
    start++
  }
  while (end > start && isBlank(text, end - 1)) {
    end--
  }
  return text.slice(start, end)
}

const isBlank = (text: string, at: number): boolean => text[at] === " " || text[at] === "\t"

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const fieldContent = /^[\t\x20-\x7e\x80-\xff]*$/

/** Returns the value of a token or of a quoted string; `undefined` for any other text. */
const valueOf = (argument: string): string | undefined => {
  if (token.test(argument)) {
    return argument
  }
  return argument.length > 1 && argument.startsWith("\"") && fieldContent.test(argument)
      && endOfQuotedString(argument, 0) === argument.length - 1
    ? argument.slice(1, -1).replace(/\\(.)/gs, "$1")
    : undefined
}

/** Returns the directive of a member; `undefined` if the member does not follow the grammar. */
const directiveOf = (member: string): Directive | undefined => {
  const end = member.indexOf("=")
  const name = end === -1 ? member : member.slice(0, end)
  const argument = end === -1 ? undefined : valueOf(member.slice(end + 1))
  return token.test(name) && (end === -1 || argument !== undefined)
    ? { name: name.toLowerCase(), argument }
    : undefined
}

/**
 * Returns the directives of all field lines, in order, and the words of the members that are malformed, such as
 * `no-store; max-age=0`. Nobody knows what the author of such a member meant, so the caller takes the strictest meaning.
 */
export const parse = (lines: ReadonlyArray<string>): CacheControl => {
  const directives: Array<Directive> = []
  const malformed: Array<string> = []
  for (const line of lines) {
    for (const member of members(line).map(trimmed)) {
      // A recipient ignores empty members (RFC 9110, section 5.6.1.2).
      if (member === "") continue
      const directive = directiveOf(member)
      if (directive === undefined) {
        for (const word of member.toLowerCase().split(/[^0-9a-z_-]+/)) malformed.push(word)
      } else {
        directives.push(directive)
      }
    }
  }
  return { directives, malformed }
}
