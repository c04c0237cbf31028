/**
 * A strict parser for JSON (RFC 8259). JSON that parsers read differently, or that a database cannot store, is an issue
 * (DOC-01, DOC-02, DOC-03, DOC-15, DOC-17). The parser reads the text once, and bounds the nesting and so its recursion.
 */
import type { Json, JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"
import type { RuleId } from "./ruleCatalog.js"
import { error, warning } from "./ruleCatalog.js"
import { codePoint, pointerOf, quote } from "./text.js"

/** A parsed text. */
export interface Parsed {
  /** The value, or `undefined` after a syntax error. */
  readonly value: Json | undefined
  /** Every issue, in the order of the text. */
  readonly issues: ReadonlyArray<Issue>
}

const maxDepth = 16

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Parses bytes as strict JSON. Never throws. */
export const parse = (bytes: Uint8Array): Parsed => {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    return { value: undefined, issues: [error("DOC-01", "", "The bytes are not UTF-8. Save the document as UTF-8.")] }
  }
  const reader = new Reader(text)
  const value = reader.document()
  return { value, issues: reader.issues }
}

/** Whether a value is a JSON object. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const enum Char {
  Tab = 0x09,
  LineFeed = 0x0a,
  CarriageReturn = 0x0d,
  Space = 0x20,
  Quote = 0x22,
  Plus = 0x2b,
  Comma = 0x2c,
  Minus = 0x2d,
  Dot = 0x2e,
  Zero = 0x30,
  Nine = 0x39,
  Colon = 0x3a,
  OpenBracket = 0x5b,
  Backslash = 0x5c,
  CloseBracket = 0x5d,
  LowerE = 0x65,
  OpenBrace = 0x7b,
  CloseBrace = 0x7d,
  ByteOrderMark = 0xfeff
}

const escapes: { readonly [character: string]: string } = {
  "\"": "\"",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t"
}

/** Every method returns `undefined` after a syntax error, because the rest of the text cannot be read. */
class Reader {
  readonly issues: Array<Issue> = []
  private readonly path: Array<string | number> = []
  private position = 0

  constructor(private readonly text: string) {}

  document(): Json | undefined {
    if (this.text.charCodeAt(0) === Char.ByteOrderMark) {
      this.issues.push(warning("DOC-01", "", "The document begins with a byte-order mark. Save it without one."))
      this.position = 1
    }
    this.whitespace()
    if (this.position === this.text.length) {
      return this.syntaxError("The document is empty. It must be a JSON object")
    }
    const value = this.value()
    if (value === undefined) {
      return undefined
    }
    this.whitespace()
    return this.position === this.text.length
      ? value
      : this.syntaxError("The document has text after the end of the JSON value")
  }

  private value(): Json | undefined {
    const code = this.text.charCodeAt(this.position)
    switch (code) {
      case Char.Quote:
        return this.string("A string")
      case Char.OpenBrace:
        return this.object()
      case Char.OpenBracket:
        return this.array()
      case 0x74:
        return this.literal("true", true)
      case 0x66:
        return this.literal("false", false)
      case 0x6e:
        return this.literal("null", null)
      default:
        return code === Char.Minus || isDigit(code) ? this.number() : this.syntaxError("A JSON value was expected")
    }
  }

  private object(): Json | undefined {
    const members: { [name: string]: Json } = {}
    if (!this.enter()) {
      return undefined
    }
    if (this.text.charCodeAt(this.position) === Char.CloseBrace) {
      return this.leave(members)
    }
    for (;;) {
      if (this.text.charCodeAt(this.position) !== Char.Quote) {
        return this.syntaxError("A member name in double quotes was expected")
      }
      const start = this.position
      const name = this.string("A member name")
      if (name === undefined) {
        return undefined
      }
      this.path.push(name)
      this.whitespace()
      if (this.text.charCodeAt(this.position) !== Char.Colon) {
        return this.syntaxError("A \":\" was expected after the member name")
      }
      this.position++
      this.whitespace()
      const repeated = Object.hasOwn(members, name)
      if (repeated) {
        this.report("DOC-03", `The object has the member ${quote(name)} twice. Keep only one of them`, start)
      }
      if (name === "__proto__") {
        this.report("DOC-15", "The object must not have a member named \"__proto__\". Remove it", start)
      }
      const value = this.value()
      if (value === undefined) {
        return undefined
      }
      if (!repeated && name !== "__proto__") {
        members[name] = value
      }
      this.path.pop()
      this.whitespace()
      const code = this.text.charCodeAt(this.position)
      if (code === Char.CloseBrace) {
        return this.leave(members)
      }
      if (code !== Char.Comma) {
        return this.syntaxError("A \",\" or \"}\" was expected after the member")
      }
      this.position++
      this.whitespace()
    }
  }

  private array(): Json | undefined {
    const elements: Array<Json> = []
    if (!this.enter()) {
      return undefined
    }
    if (this.text.charCodeAt(this.position) === Char.CloseBracket) {
      return this.leave(elements.slice())
    }
    for (;;) {
      this.path.push(elements.length)
      const value = this.value()
      if (value === undefined) {
        return undefined
      }
      elements.push(value)
      this.path.pop()
      this.whitespace()
      const code = this.text.charCodeAt(this.position)
      if (code === Char.CloseBracket) {
        return this.leave(elements.slice())
      }
      if (code !== Char.Comma) {
        return this.syntaxError("A \",\" or \"]\" was expected after the element")
      }
      this.position++
      this.whitespace()
    }
  }

  private depth = 0

  private enter(): boolean {
    if (this.depth === maxDepth) {
      this.report("DOC-02", `The document is nested deeper than ${maxDepth} levels. Use fewer levels`, this.position)
      return false
    }
    this.depth++
    this.position++
    this.whitespace()
    return true
  }

  private leave(value: Json): Json {
    this.depth--
    this.position++
    return value
  }

  private literal(word: string, value: Json): Json | undefined {
    if (!this.text.startsWith(word, this.position)) {
      return this.syntaxError("A JSON value was expected")
    }
    this.position += word.length
    return value
  }

  private string(subject: string): string | undefined {
    const text = this.text
    const start = this.position + 1
    for (let i = start; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code === Char.Quote) {
        this.position = i + 1
        return text.slice(start, i)
      }
      if (code === Char.Backslash) {
        return this.escapedString(subject, start, i)
      }
      if (code < Char.Space) {
        return this.controlCharacter(subject, i, code)
      }
    }
    return this.syntaxError(`${subject} has no closing quote`)
  }

  private escapedString(subject: string, start: number, firstBackslash: number): string | undefined {
    const text = this.text
    let result = text.slice(start, firstBackslash)
    let unstorable = false
    let i = firstBackslash
    while (i < text.length) {
      const code = text.charCodeAt(i)
      if (code === Char.Quote) {
        if (unstorable) {
          this.report(
            "DOC-17",
            `${subject} has U+0000 or a lone surrogate, which many databases cannot store. Remove it`,
            start - 1
          )
        }
        this.position = i + 1
        return result
      }
      if (code < Char.Space) {
        return this.controlCharacter(subject, i, code)
      }
      if (code !== Char.Backslash) {
        result += text[i]
        i++
        continue
      }
      const escaped = escapes[text[i + 1] ?? ""]
      if (escaped !== undefined) {
        result += escaped
        i += 2
        continue
      }
      const unit = this.unit(i)
      if (unit === undefined) {
        this.position = i
        return this.syntaxError("The escape after \"\\\" is not valid in JSON")
      }
      i += 6
      const low = unit >= 0xd800 && unit < 0xdc00 ? this.unit(i) : undefined
      if (low !== undefined && low >= 0xdc00 && low < 0xe000) {
        result += String.fromCharCode(unit, low)
        i += 6
      } else {
        unstorable ||= unit === 0 || (unit >= 0xd800 && unit < 0xe000)
        result += String.fromCharCode(unit)
      }
    }
    return this.syntaxError(`${subject} has no closing quote`)
  }

  /** The code unit of a `\uXXXX` escape. */
  private unit(position: number): number | undefined {
    const match = /^\\u([0-9a-fA-F]{4})$/.exec(this.text.slice(position, position + 6))
    return match === null ? undefined : Number.parseInt(match[1] ?? "", 16)
  }

  private controlCharacter(subject: string, position: number, code: number): undefined {
    this.position = position
    return this.syntaxError(`${subject} has the character ${codePoint(code)}, which must be escaped`)
  }

  private number(): number | undefined {
    const text = this.text
    const start = this.position
    let i = start
    if (text.charCodeAt(i) === Char.Minus) {
      i++
    }
    const integer = i
    i = digits(text, i)
    if (i === integer || (i > integer + 1 && text.charCodeAt(integer) === Char.Zero)) {
      return this.syntaxError("A number was expected, without a leading zero or plus sign")
    }
    const isInteger = text.charCodeAt(i) !== Char.Dot && (text.charCodeAt(i) | 0x20) !== Char.LowerE
    if (text.charCodeAt(i) === Char.Dot) {
      const fraction = i + 1
      i = digits(text, fraction)
      if (i === fraction) {
        return this.syntaxError("A number has no digit after its decimal point")
      }
    }
    if ((text.charCodeAt(i) | 0x20) === Char.LowerE) {
      i++
      const sign = text.charCodeAt(i)
      if (sign === Char.Plus || sign === Char.Minus) {
        i++
      }
      const exponent = i
      i = digits(text, exponent)
      if (i === exponent) {
        return this.syntaxError("A number has no digit in its exponent")
      }
    }
    const value = Number(text.slice(start, i))
    if (
      !Number.isFinite(value) ||
      (!Number.isSafeInteger(value) &&
        (isInteger || (Number.isInteger(value) && !isExact(text.slice(start, i), value))))
    ) {
      this.report("DOC-02", "A number is too large, so programs read it differently. Write it as a string", start)
    }
    this.position = i
    // Some databases do not keep the sign of zero.
    return value === 0 ? 0 : value
  }

  private whitespace(): void {
    const text = this.text
    for (;;) {
      const code = text.charCodeAt(this.position)
      if (code !== Char.Space && code !== Char.LineFeed && code !== Char.CarriageReturn && code !== Char.Tab) {
        return
      }
      this.position++
    }
  }

  /** Reports an issue after which the reader continues. */
  private report(rule: RuleId, message: string, position: number): void {
    this.issues.push(error(rule, pointerOf(this.path), `${message} (${this.place(position)}).`))
  }

  /** Reports an issue after which the rest of the text cannot be read. */
  private syntaxError(message: string): undefined {
    const next = this.text.codePointAt(this.position)
    const what = next === undefined ? "the document ends there" : `found ${quote(String.fromCodePoint(next))}`
    this.issues.push(error(
      "DOC-02",
      pointerOf(this.path),
      `${message} (${this.place(this.position)}; ${what})${this.hint()}.`
    ))
    return undefined
  }

  private hint(): string {
    const before = this.text.slice(0, this.position).trimEnd()
    const here = this.text[this.position]
    if (before === "" && here === "<") {
      return ". It looks like HTML, but the URL must return JSON"
    }
    if (before.endsWith(",") && (here === "}" || here === "]")) {
      return ". Remove the comma before it"
    }
    if (here === "'") {
      return ". Use double quotes"
    }
    return here === "/" ? ". JSON has no comments" : ""
  }

  private line = 1
  private lineStart = 0

  /** The issues are reported in the order of the text, so the lines are counted only once. */
  private place(position: number): string {
    for (;;) {
      const lineFeed = this.text.indexOf("\n", this.lineStart)
      if (lineFeed < 0 || lineFeed >= position) {
        return `line ${this.line}, column ${position - this.lineStart + 1}`
      }
      this.line++
      this.lineStart = lineFeed + 1
    }
  }
}

const maxExactDigits = 32

/** Whether a number with a fraction or an exponent is the integer that it is read as, and not one near it. */
const isExact = (text: string, value: number): boolean => {
  const [, integer = "", fraction = "", exponent = "0"] =
    /^-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? []
  const digits = integer + fraction
  const significant = digits.slice(0, lastNonZero(digits) + 1)
  const zeros = digits.length - significant.length + Number(exponent) - fraction.length
  return significant.length <= maxExactDigits && zeros >= 0 && zeros <= 308 &&
    BigInt(significant) * 10n ** BigInt(zeros) === BigInt(Math.abs(value))
}

const lastNonZero = (digits: string): number => {
  let i = digits.length - 1
  while (i > 0 && digits.charCodeAt(i) === Char.Zero) i--
  return i
}

const isDigit = (code: number): boolean => code >= Char.Zero && code <= Char.Nine

const digits = (text: string, position: number): number => {
  let i = position
  while (isDigit(text.charCodeAt(i))) {
    i++
  }
  return i
}
