/**
 * Reads one HTTP/1 response from a stranger, byte by byte as it comes (RFC 9112), to exact limits.
 *
 * A client of ours sends one request on a connection and closes it, which leaves little of the protocol. It is read here
 * and not by undici or `node:http`, because those
 * - let every subscriber of their diagnostics channels add headers to a request, and tracing packages do;
 * - take a connection that was reset in the middle of a body without a length for its end (undici);
 * - do not tell the status of a 1xx response (undici), or drop the headers past a count (`node:http`);
 * - bound neither chunk extensions nor what comes between two chunks.
 *
 * What RFC 9112 lets a recipient forgive is not forgiven: bare line feeds, folded lines, space before a colon, a length
 * beside a transfer coding, repeated lengths, blanks in the line of a chunk.
 */
import { trimmed } from "./cacheControl.js"

export interface Limits {
  /** Bytes of the status line and the header lines together, and again of the trailer lines. */
  readonly maxHeaderBytes: number
  readonly maxHeaderCount: number
  readonly maxBodyBytes: number
}

export type Headers = ReadonlyArray<readonly [name: string, value: string]>

export interface Head {
  readonly status: number
  /** Each line by itself, in the order it came in; names as they came, values as Latin-1. */
  readonly headers: Headers
}

/** Why there is no response. */
export type Fault =
  | { readonly _tag: "Malformed"; readonly reason: string }
  | { readonly _tag: "TooLarge"; readonly part: "headers" | "fields" | "body"; readonly limit: number }
  | { readonly _tag: "Truncated"; readonly part: "headers" | "body" }

/** What the bytes so far amount to: more are needed (`undefined`), a whole body, or no response at all. */
export type Progress<E> =
  | undefined
  | { readonly _tag: "Complete"; readonly body: Uint8Array }
  | { readonly _tag: "Failed"; readonly fault: Fault | E }

export interface Reader<E> {
  readonly push: (chunk: Uint8Array) => Progress<E>
  /**
   * The connection came to its end. Node.js does not tell whether TLS announced that (close_notify), so a body without
   * a length may be cut off here unnoticed; a JSON object that is cut off is none, and the validator says so.
   */
  readonly end: () => Progress<E>
  /** Where a connection that broke off was: in the head or in the body. */
  readonly part: () => "headers" | "body"
}

const malformed = (reason: string): Fault => ({ _tag: "Malformed", reason })

const lf = 0x0a
/** A line with the size of a chunk has at most this many bytes. */
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

type State = "status" | "headers" | "sized" | "untilEnd" | "chunkSize" | "chunkData" | "chunkEnd" | "trailers"

const beginning = "HTTP/1."

/** A reader of one response. `refuse` judges the head, and says why the body is not worth reading. */
export const make = <E>(limits: Limits, refuse: (head: Head) => E | undefined): Reader<E> => {
  let state: State = "status"
  let version = ""
  let status = 0
  const headers: Array<readonly [string, string]> = []
  /** The pieces of the line that has begun. */
  let line: Array<Uint8Array> = []
  let lineBytes = 0
  /** Bytes of the head so far, or of the trailers. */
  let sectionBytes = 0
  let fieldCount = 0
  const body: Array<Uint8Array> = []
  let bodyBytes = 0
  /** Bytes that the body, or the chunk, is still to have. */
  let missing = 0

  const failed = (fault: Fault | E): Progress<E> => ({ _tag: "Failed", fault })
  const complete = (): Progress<E> => ({ _tag: "Complete", body: Buffer.concat(body) })
  const tooLarge = (part: "headers" | "body"): Progress<E> =>
    failed({ _tag: "TooLarge", part, limit: part === "body" ? limits.maxBodyBytes : limits.maxHeaderBytes })

  const part = (): "headers" | "body" => state === "status" || state === "headers" ? "headers" : "body"

  const values = (field: string): ReadonlyArray<string> =>
    headers.filter(([name]) => name.toLowerCase() === field).map(([, value]) => value)

  /** How long the body is (RFC 9112, section 6.3), or why that cannot be said. */
  const beginBody = (): Progress<E> => {
    const codings = values("transfer-encoding")
    const lengths = values("content-length")
    if (codings.length > 0) {
      if (codings.join(",").toLowerCase() !== "chunked") {
        return failed(malformed("a transfer coding other than chunked"))
      }
      if (version === "0" || lengths.length > 0) {
        return failed(malformed(`chunked beside ${version === "0" ? "HTTP/1.0" : "Content-Length"}`))
      }
      state = "chunkSize"
      return undefined
    }
    const [length, ...others] = lengths
    if (length === undefined) {
      state = "untilEnd"
      return undefined
    }
    if (others.length > 0 || !/^[0-9]+$/.test(length)) {
      return failed(malformed("a Content-Length that is no number, or is repeated"))
    }
    missing = Number(length)
    if (missing > limits.maxBodyBytes) {
      return tooLarge("body")
    }
    state = "sized"
    return missing === 0 ? complete() : undefined
  }

  const onHeadLine = (text: string): Progress<E> => {
    if (state === "status") {
      const match = statusLine.exec(text)
      if (match === null) {
        return failed(malformed("no HTTP/1 status line"))
      }
      version = match[1] ?? ""
      status = Number(match[2])
      state = "headers"
      return undefined
    }
    if (text === "") {
      if (state === "trailers") {
        return complete()
      }
      const refusal = refuse({ status, headers })
      return refusal === undefined ? beginBody() : failed(refusal)
    }
    const field = parseField(text)
    if (field === undefined) {
      return failed(malformed("a header line that is none"))
    }
    fieldCount++
    if (fieldCount > limits.maxHeaderCount) {
      return failed({ _tag: "TooLarge", part: "fields", limit: limits.maxHeaderCount })
    }
    // Trailers are read to their end and not kept: they must not change what the head said.
    if (state === "headers") {
      headers.push(field)
    }
    return undefined
  }

  const onChunkLine = (text: string): Progress<E> => {
    if (state === "chunkEnd") {
      state = "chunkSize"
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
    state = missing === 0 ? "trailers" : "chunkData"
    sectionBytes = 0
    return undefined
  }

  const onLine = (text: string): Progress<E> =>
    state === "chunkSize" || state === "chunkEnd" ? onChunkLine(text) : onHeadLine(text)

  /** Whether the first bytes can still become a status line: who speaks another protocol may wait for us for ever. */
  const mayBegin = (piece: Uint8Array): boolean => {
    for (let i = 0; i < piece.length && lineBytes + i < beginning.length; i++) {
      if (piece[i] !== beginning.charCodeAt(lineBytes + i)) return false
    }
    return true
  }

  /** Takes one line, or the part of it that is there, and answers where it ends. */
  const takeLine = (chunk: Uint8Array, offset: number): { readonly next: number; readonly progress: Progress<E> } => {
    const found = chunk.indexOf(lf, offset)
    const next = found < 0 ? chunk.length : found + 1
    const piece = chunk.subarray(offset, next)
    if (state === "status" && !mayBegin(piece)) {
      return { next, progress: failed(malformed("no HTTP/1 status line")) }
    }
    line.push(piece)
    lineBytes += piece.length
    sectionBytes += piece.length
    if (state === "chunkSize" || state === "chunkEnd") {
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
      progress: text.endsWith("\r\n") ? onLine(text.slice(0, -2)) : failed(malformed("a line that ends without CR LF"))
    }
  }

  /** Takes what belongs to the body, and answers where that ends. */
  const takeBody = (chunk: Uint8Array, offset: number): { readonly next: number; readonly progress: Progress<E> } => {
    const next = state === "untilEnd" ? chunk.length : Math.min(chunk.length, offset + missing)
    const taken = next - offset
    if (bodyBytes + taken > limits.maxBodyBytes) {
      return { next, progress: tooLarge("body") }
    }
    body.push(chunk.subarray(offset, next))
    bodyBytes += taken
    missing -= taken
    if (missing > 0 || state === "untilEnd") {
      return { next, progress: undefined }
    }
    if (state === "sized") {
      return { next, progress: complete() }
    }
    state = "chunkEnd"
    return { next, progress: undefined }
  }

  return {
    part,
    push: (chunk) => {
      let offset = 0
      while (offset < chunk.length) {
        const inBody = state === "sized" || state === "untilEnd" || state === "chunkData"
        const { next, progress } = inBody ? takeBody(chunk, offset) : takeLine(chunk, offset)
        if (progress !== undefined) return progress
        offset = next
      }
      return undefined
    },
    end: () => state === "untilEnd" ? complete() : failed({ _tag: "Truncated", part: part() })
  }
}
