/**
 * Functions that quote untrusted text for messages, so that it cannot control a terminal or fill a log.
 */

/** Maximum number of characters of an untrusted text in a message. */
const quotedLength = 80

// These characters are invisible, change the reading direction or look like a space, and `JSON.stringify` does not escape
// them: C1 controls, Default_Ignorable_Code_Point, and blanks except those of East Asian text.
const invisible = new RegExp(
  String.raw`[\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f` +
    String.raw`\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb` +
    String.raw`\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]`,
  "gu"
)

const escapeUnit = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`

// A character outside the basic plane has two units, and JSON escapes each.
const escape = (character: string): string => character.split("").map(escapeUnit).join("")

/**
 * Returns the text with an escape for every character that is invisible or controls a terminal, and for every lone
 * surrogate. The escapes are also valid inside a JSON string.
 */
export const visible = (text: string): string =>
  text.replace(invisible, escape).replace(/[\u0000-\u001f]|\p{Surrogate}/gu, escape)

/** Returns the text quoted, shortened and escaped. */
export const quote = (text: string): string =>
  text.length <= quotedLength
    ? JSON.stringify(text).replace(invisible, escape)
    : `${JSON.stringify(text.slice(0, quotedLength)).replace(invisible, escape)}…`

/** Returns the text on one line, shortened and escaped, without quotes. */
export const printable = (text: string): string => {
  const quoted = quote(text)
  return quoted.slice(1, quoted.lastIndexOf("\"")) + (quoted.endsWith("…") ? "…" : "")
}

/**
 * Returns the beginning of what a stranger sent, to be kept. Programs without types also pass values that are not strings.
 * The copy is needed because a part of a string keeps the whole string in memory.
 */
export const excerpt = (text: unknown, maxLength: number): string => {
  if (typeof text !== "string") return typeName(text)
  if (text.length <= maxLength) return text
  const copy: string = JSON.parse(JSON.stringify(text.slice(0, maxLength)))
  return copy
}

/** Returns the first five texts, each quoted, and the number of the others. */
export const quoteAll = (texts: ReadonlyArray<string>): string =>
  texts.length <= 5
    ? texts.map(quote).join(", ")
    : `${texts.slice(0, 5).map(quote).join(", ")} and ${texts.length - 5} more`

/** Returns a code point in the notation of Unicode, such as `U+0041`. */
export const codePoint = (code: number): string => `U+${code.toString(16).toUpperCase().padStart(4, "0")}`

/** Returns the name of a JSON value's type with its article, such as `an array`. */
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
 * Returns one step of a JSON pointer (RFC 6901). U+0000 and lone surrogates become U+FFFD, because many databases
 * cannot store them and an issue may be stored.
 */
export const pointerStep = (step: string | number): string =>
  typeof step === "number"
    ? `/${step}`
    : `/${step.replace(/~/g, "~0").replace(/\//g, "~1").replace(unpaired, "\ufffd")}`

const maxPointerLength = 256

/** Returns a JSON pointer, cut at 256 characters because a document's member names have any length. */
export const pointerOf = (path: ReadonlyArray<string | number>): string => {
  const pointer = path.map(pointerStep).join("")
  return pointer.length <= maxPointerLength
    ? pointer
    : `${pointer.slice(0, maxPointerLength - 1).replace(/[\ud800-\udbff]$/, "")}…`
}
