/**
 * What a stranger wrote, made fit for a terminal and a log: at most this many characters of it are repeated.
 */
const quotedLength = 80

// What `JSON.stringify` leaves as it is, though it is invisible or turns the reading direction round.
const invisible = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** Text with all that a terminal would obey or hide shown as an escape, which also is valid inside a JSON string. */
export const visible = (text: string): string => text.replace(invisible, escape).replace(/[\u0000-\u001f]/g, escape)

/** A text as a quoted, shortened, escaped string. */
export const quote = (text: string): string =>
  text.length <= quotedLength
    ? JSON.stringify(text).replace(invisible, escape)
    : `${JSON.stringify(text.slice(0, quotedLength)).replace(invisible, escape)}…`

/** A text on one line, shortened and escaped, without quotes. */
export const printable = (text: string): string => {
  const quoted = quote(text)
  return quoted.slice(1, quoted.lastIndexOf("\"")) + (quoted.endsWith("…") ? "…" : "")
}

/** Several texts, each quoted; the first few of them if there are many. */
export const quoteAll = (texts: ReadonlyArray<string>): string =>
  texts.length <= 5
    ? texts.map(quote).join(", ")
    : `${texts.slice(0, 5).map(quote).join(", ")} and ${texts.length - 5} more`

/** One character as a person may look it up. */
export const codePoint = (code: number): string => `U+${code.toString(16).toUpperCase().padStart(4, "0")}`

/** The name of a JSON value's type, with its article. */
export const typeName = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
    ? "an array"
    : typeof value === "object"
    ? "an object"
    : typeof value === "undefined"
    ? "undefined"
    : `a ${typeof value}`

const unpaired = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\u0000/g

/**
 * One step of a JSON pointer (RFC 6901). U+0000 and lone surrogates become U+FFFD, so that a finding can itself be
 * stored and sent on.
 */
export const pointerStep = (step: string | number): string =>
  typeof step === "number"
    ? `/${step}`
    : `/${step.replace(/~/g, "~0").replace(/\//g, "~1").replace(unpaired, "\ufffd")}`
