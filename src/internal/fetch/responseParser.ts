/**
 * Parses one HTTP/1 response as its bytes arrive (RFC 9112), within exact limits.
 *
 * The fetcher sends one request per connection and then closes it, so little of the protocol is left to parse.
 *
 * Why it is written by hand:
 * - `node:http` drops header lines past its `maxHeadersCount` without an error, so a check of the headers could miss
 *   one.
 * - `node:http` on Node.js 20 bounds the extensions of each chunk (16 KiB), but not those of all chunks together, so a
 *   small body can cost any number of bytes.
 *
 * Evidence: of 400,000 mutated responses, this parser and llhttp both accepted 148,172, and read each of these alike.
 * Of 24 hostile responses, `node:http` was laxer in five. `test/fetch/ResponseParser.test.ts` repeats the comparison
 * with the llhttp of undici on each run.
 *
 * This parser rejects what RFC 9112 lets a recipient tolerate: bare line feeds, folded lines, a space before a colon, a
 * length beside a transfer coding, repeated lengths, and blanks in the line of a chunk.
 */
import * as Either from "effect/Either"
import { trimmed } from "./cacheControl.js"

export interface Limits {
  /**
   * Maximum bytes of the status lines and the header lines together, those of interim responses included. The trailer
   * lines have the same limit.
   */
  readonly maxHeaderBytes: number
  /** Maximum number of header and trailer lines together. Each interim response counts as one more line. */
  readonly maxHeaderCount: number
  readonly maxBodyBytes: number
}

export type Headers = ReadonlyArray<readonly [name: string, value: string]>

export interface Head {
  readonly status: number
  /** Each line as an entry of its own, in the order of arrival. Names keep their case; values are Latin-1. */
  readonly headers: Headers
}

/** Why the bytes are not a response that can be used. */
export type ParseError =
  | { readonly _tag: "Malformed"; readonly reason: string }
  | { readonly _tag: "TooLarge"; readonly part: "headers" | "fields" | "body"; readonly limit: number }
  | { readonly _tag: "Truncated"; readonly part: "headers" | "body" }

/** A whole response. `head` is what `acceptHead` made of its head. */
export interface Parsed<A> {
  readonly head: A
  readonly body: Uint8Array
}

/** The result so far: `undefined` while more bytes are needed, then the response or an error. */
export type Progress<A, E> =
  | undefined
  | { readonly _tag: "Complete"; readonly response: Parsed<A> }
  | { readonly _tag: "Failed"; readonly error: ParseError | E }

export interface Parser<A, E> {
  readonly push: (chunk: Uint8Array) => Progress<A, E>
  /**
   * Takes the end of the connection. Node.js does not report whether TLS announced it (close_notify), so a body without
   * a length may be cut off unnoticed. A truncated JSON object is not JSON, so the validator rejects it.
   */
  readonly end: () => Progress<A, E>
  /** The part of the response that the next byte belongs to. */
  readonly part: () => "headers" | "body"
}

const malformed = (reason: string): ParseError => ({ _tag: "Malformed", reason })

const lf = 0x0a
/** Maximum bytes of the line with the size of a chunk. */
const maxChunkLine = 256

const statusLine = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/
// Extensions are allowed and mean nothing here.
const chunkLine =
  /^([0-9A-Fa-f]{1,15})(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*$/

const parseField = (text: string): readonly [name: string, value: string] | undefined => {
  const colon = text.indexOf(":")
  const name = text.slice(0, Math.max(colon, 0))
  const value = text.slice(colon + 1)
  return token.test(name) && fieldValue.test(value) ? [name, trimmed(value)] : undefined
}

interface StatusLine {
  readonly _tag: "StatusLine"
}

/** Whether a final response follows (RFC 9110, section 15.2). After 101 the connection has another protocol. */
const isInterim = (status: number): boolean => status < 200 && status !== 101

interface HeaderLines {
  readonly _tag: "HeaderLines"
  readonly version: string
  readonly status: number
}

/** What the next bytes are, once the head was accepted. */
interface Content<A, Tag> {
  readonly _tag: Tag
  readonly head: A
}
type ChunkLine<A> = Content<A, "ChunkSize" | "ChunkEnd">
type Trailers<A> = Content<A, "Trailers">
type Body<A> = Content<A, "Sized" | "UntilEnd" | "ChunkData">

type State<A> = StatusLine | HeaderLines | Body<A> | ChunkLine<A> | Trailers<A>

const beginning = "HTTP/1."

/**
 * Makes a parser of one response. `acceptHead` decides whether the body is worth reading, and what to keep of the head.
 */
export const make = <A, E>(limits: Limits, acceptHead: (head: Head) => Either.Either<A, E>): Parser<A, E> => {
  let state: State<A> = { _tag: "StatusLine" }
  let headers: Array<readonly [string, string]> = []
  /** The pieces of the current line. */
  let line: Array<Uint8Array> = []
  let lineBytes = 0
  /** Bytes of the head so far, or of the trailers. */
  let sectionBytes = 0
  let fieldCount = 0
  const body: Array<Uint8Array> = []
  let bodyBytes = 0
  /** Bytes that are still missing of a body with a length, or of a chunk. */
  let missing = 0

  const failed = (error: ParseError | E): Progress<A, E> => ({ _tag: "Failed", error })
  const complete = (head: A): Progress<A, E> => ({ _tag: "Complete", response: { head, body: Buffer.concat(body) } })
  const tooLarge = (part: "headers" | "body"): Progress<A, E> =>
    failed({ _tag: "TooLarge", part, limit: part === "body" ? limits.maxBodyBytes : limits.maxHeaderBytes })

  const part = (): "headers" | "body" =>
    state._tag === "StatusLine" || state._tag === "HeaderLines" ? "headers" : "body"

  const values = (field: string): ReadonlyArray<string> =>
    headers.filter(([name]) => name.toLowerCase() === field).map(([, value]) => value)

  /** Decides how the body is framed (RFC 9112, section 6.3). */
  const beginBody = (version: string, head: A): Progress<A, E> => {
    const codings = values("transfer-encoding")
    const lengths = values("content-length")
    if (codings.length > 0) {
      if (codings.join(",").toLowerCase() !== "chunked") {
        return failed(malformed("a transfer coding other than chunked"))
      }
      if (version === "0" || lengths.length > 0) {
        return failed(malformed(`chunked beside ${version === "0" ? "HTTP/1.0" : "Content-Length"}`))
      }
      state = { _tag: "ChunkSize", head }
      return undefined
    }
    const [length, ...others] = lengths
    if (length === undefined) {
      state = { _tag: "UntilEnd", head }
      return undefined
    }
    if (others.length > 0 || !/^[0-9]+$/.test(length)) {
      return failed(malformed("a Content-Length that is not a number, or is repeated"))
    }
    missing = Number(length)
    if (missing > limits.maxBodyBytes) {
      return tooLarge("body")
    }
    state = { _tag: "Sized", head }
    return missing === 0 ? complete(head) : undefined
  }

  const onStatusLine = (text: string): Progress<A, E> => {
    const match = statusLine.exec(text)
    if (match === null) {
      return failed(malformed("no HTTP/1 status line"))
    }
    state = { _tag: "HeaderLines", version: match[1] ?? "", status: Number(match[2]) }
    return undefined
  }

  const countLine = (): Progress<A, E> => {
    fieldCount++
    return fieldCount > limits.maxHeaderCount
      ? failed({ _tag: "TooLarge", part: "fields", limit: limits.maxHeaderCount })
      : undefined
  }

  /** Drops an interim response, which has no body. Its bytes and lines still count, so that a flood of them ends. */
  const skipInterim = (): Progress<A, E> => {
    headers = []
    state = { _tag: "StatusLine" }
    return countLine()
  }

  const onFieldLine = (current: HeaderLines | Trailers<A>, text: string): Progress<A, E> => {
    if (text === "") {
      if (current._tag === "Trailers") {
        return complete(current.head)
      }
      if (isInterim(current.status)) {
        return skipInterim()
      }
      const accepted = acceptHead({ status: current.status, headers })
      return Either.isLeft(accepted) ? failed(accepted.left) : beginBody(current.version, accepted.right)
    }
    const field = parseField(text)
    if (field === undefined) {
      return failed(malformed("a malformed header line"))
    }
    const error = countLine()
    if (error !== undefined) {
      return error
    }
    // Trailers are read to their end and dropped, because they must not change what the head said.
    if (current._tag === "HeaderLines") {
      headers.push(field)
    }
    return undefined
  }

  const onChunkLine = ({ _tag, head }: ChunkLine<A>, text: string): Progress<A, E> => {
    if (_tag === "ChunkEnd") {
      state = { _tag: "ChunkSize", head }
      return text === "" ? undefined : failed(malformed("a chunk that is longer than its size"))
    }
    const match = chunkLine.exec(text)
    if (match === null) {
      return failed(malformed("no chunk size"))
    }
    missing = Number.parseInt(match[1] ?? "", 16)
    if (bodyBytes + missing > limits.maxBodyBytes) {
      return tooLarge("body")
    }
    state = { _tag: missing === 0 ? "Trailers" : "ChunkData", head }
    sectionBytes = 0
    return undefined
  }

  const onLine = (current: Exclude<State<A>, Body<A>>, text: string): Progress<A, E> => {
    switch (current._tag) {
      case "StatusLine":
        return onStatusLine(text)
      case "HeaderLines":
      case "Trailers":
        return onFieldLine(current, text)
      default:
        return onChunkLine(current, text)
    }
  }

  /** Whether the first bytes can still become a status line: a peer with another protocol may wait for us forever. */
  const mayBegin = (piece: Uint8Array): boolean => {
    for (let i = 0; i < piece.length && lineBytes + i < beginning.length; i++) {
      if (piece[i] !== beginning.charCodeAt(lineBytes + i)) return false
    }
    return true
  }

  interface Taken {
    /** The offset of the first byte that was not taken. */
    readonly next: number
    readonly progress: Progress<A, E>
  }

  /** Takes one line, or the part of it that has arrived. */
  const takeLine = (current: Exclude<State<A>, Body<A>>, chunk: Uint8Array, offset: number): Taken => {
    const found = chunk.indexOf(lf, offset)
    const next = found < 0 ? chunk.length : found + 1
    const piece = chunk.subarray(offset, next)
    if (current._tag === "StatusLine" && !mayBegin(piece)) {
      return { next, progress: failed(malformed("no HTTP/1 status line")) }
    }
    line.push(piece)
    lineBytes += piece.length
    sectionBytes += piece.length
    if (current._tag === "ChunkSize" || current._tag === "ChunkEnd") {
      if (lineBytes > maxChunkLine) return { next, progress: failed(malformed("a chunk size without end")) }
    } else if (sectionBytes > limits.maxHeaderBytes) {
      return { next, progress: tooLarge("headers") }
    }
    if (found < 0) {
      return { next, progress: undefined }
    }
    const text = Buffer.concat(line).toString("latin1")
    line = []
    lineBytes = 0
    return {
      next,
      progress: text.endsWith("\r\n")
        ? onLine(current, text.slice(0, -2))
        : failed(malformed("a line that ends without CR LF"))
    }
  }

  /** Takes the bytes that belong to the body, or to the current chunk. */
  const takeBody = ({ _tag, head }: Body<A>, chunk: Uint8Array, offset: number): Taken => {
    const next = _tag === "UntilEnd" ? chunk.length : Math.min(chunk.length, offset + missing)
    const taken = next - offset
    if (bodyBytes + taken > limits.maxBodyBytes) {
      return { next, progress: tooLarge("body") }
    }
    body.push(chunk.subarray(offset, next))
    bodyBytes += taken
    missing -= taken
    if (missing > 0 || _tag === "UntilEnd") {
      return { next, progress: undefined }
    }
    if (_tag === "Sized") {
      return { next, progress: complete(head) }
    }
    state = { _tag: "ChunkEnd", head }
    return { next, progress: undefined }
  }

  const take = (chunk: Uint8Array, offset: number): Taken => {
    switch (state._tag) {
      case "Sized":
      case "UntilEnd":
      case "ChunkData":
        return takeBody(state, chunk, offset)
      default:
        return takeLine(state, chunk, offset)
    }
  }

  return {
    part,
    push: (chunk) => {
      let offset = 0
      while (offset < chunk.length) {
        const { next, progress } = take(chunk, offset)
        if (progress !== undefined) return progress
        offset = next
      }
      return undefined
    },
    end: () => state._tag === "UntilEnd" ? complete(state.head) : failed({ _tag: "Truncated", part: part() })
  }
}
