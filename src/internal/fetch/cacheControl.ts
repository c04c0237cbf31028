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

const unquoted = (argument: string): string =>
  argument.length > 1 && argument.startsWith("\"") && endOfQuotedString(argument, 0) === argument.length - 1
    ? argument.slice(1, -1).replace(/\\(.)/gs, "$1")
    : argument

/**
 * The name ends at the first blank or equals sign. A malformed rest, as in `max-age =1` or `no-store max-age=1`, is
 * kept as an argument that no directive has. So the name counts, but the value does not.
 */
const directive = (member: string): Directive => {
  const end = member.search(/[ \t=]/)
  if (end === -1) {
    return { name: member.toLowerCase(), argument: undefined }
  }
  const argument = member[end] === "=" ? unquoted(member.slice(end + 1)) : member.slice(end)
  return { name: member.slice(0, end).toLowerCase(), argument }
}

/**
 * Returns the directives of all field lines, in order. A malformed directive is kept with the name and argument that
 * can be recognized, so that the name still counts.
 */
export const parse = (lines: ReadonlyArray<string>): ReadonlyArray<Directive> =>
  lines.flatMap((line) => members(line).map((member) => directive(trimmed(member)))).filter(({ name }) => name !== "")
