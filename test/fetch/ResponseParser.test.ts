import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import { Duplex } from "node:stream"
import { Client } from "undici"
import { describe, expect, it } from "vitest"
import * as ResponseParser from "../../src/internal/fetch/responseParser.js"

const limits = { maxHeaderBytes: 2000, maxHeaderCount: 20, maxBodyBytes: 100 }

/** Parses pieces, then the end of the connection. `head` is what the parser handed over, also if the body failed. */
const parse = (pieces: ReadonlyArray<Uint8Array>, given: ResponseParser.Limits = limits) => {
  let head: ResponseParser.Head | undefined
  const parser = ResponseParser.make<ResponseParser.Head, never>(given, (it) => {
    head = it
    return Either.right(it)
  })
  for (const piece of pieces) {
    const progress = parser.push(piece)
    if (progress !== undefined) return { head, progress }
  }
  return { head, progress: parser.end() }
}

const split = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let from = 0, index = 0; from < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? bytes.length
    pieces.push(bytes.subarray(from, from + size))
    from += size
  }
  return pieces
}

/** Responses, most of which are nearly valid. */
const line = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("a: b", "X-Y:z", "c:", "Content-Type: application/json", "d:\te ") },
  { weight: 1, arbitrary: fc.constantFrom("Content-Length: 5", "Content-Length: 0", "Content-Length: 7") },
  { weight: 1, arbitrary: fc.constantFrom("Transfer-Encoding: chunked", "transfer-encoding:Chunked") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      " folded",
      "no colon",
      "s : p",
      ": x",
      "Content-Length: 05",
      "Content-Length: +5",
      "Content-Length: 5, 5",
      "Transfer-Encoding: gzip",
      "Transfer-Encoding: chunked, chunked",
      "n: \0",
      "r: a\rb",
      "Connection: close",
      "Connection: keep-alive",
      "é: x",
      "x: é"
    )
  }
)
const chunk = fc.tuple(
  fc.constantFrom("", "a", "hello", "{\"a\":1}"),
  fc.constantFrom("", ";x", ";x=y", " ", ";\"", " ;x"),
  fc.constantFrom("\r\n", "\r\n", "\r\n", "\n", ""),
  fc.constantFrom("\r\n", "\r\n", "\r\n", "", "x\r\n")
).map(([data, extension, first, last]) => `${data.length.toString(16)}${extension}${first}${data}${last}`)
const body = fc.oneof(
  fc.constantFrom("", "hello", "hello w", "hello world"),
  fc.tuple(
    fc.array(chunk, { maxLength: 3 }),
    fc.constantFrom("0\r\n\r\n", "0\r\na: b\r\n\r\n", "00;e\r\n\r\n", "0\r\n", "0\r\nx\r\n\r\n", "")
  ).map(
    ([chunks, last]) => chunks.join("") + last
  )
)
const response = fc.record({
  status: fc.oneof(
    { weight: 5, arbitrary: fc.constant("HTTP/1.1 200 OK") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "HTTP/1.0 200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.2 200 OK",
        "HTTP/2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 0200 OK",
        "HTTP/1.1\t200 OK"
      )
    }
  ),
  lines: fc.array(line, { maxLength: 5 }),
  end: fc.oneof({ weight: 8, arbitrary: fc.constant("\r\n") }, {
    weight: 1,
    arbitrary: fc.constantFrom("\n", "\r", "\r\r\n")
  }),
  body
}).map(({ body, end, lines, status }) => Buffer.from([status, ...lines, "", ""].join(end) + body, "latin1"))

/** Interim responses, which a parser of requests sent without `Expect` need not accept, so undici is not given them. */
const interims = fc.array(
  fc.constantFrom("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.0 103\r\na: b\r\nContent-Length: 5\r\n\r\n"),
  { maxLength: 3 }
).map((all) => Buffer.from(all.join("")))

const runs = Number(process.env["PROPERTY_RUNS"] ?? 1000)

describe("ResponseParser", () => {
  it("FET-07: returns the same result however the bytes are split", () => {
    fc.assert(
      fc.property(
        interims,
        response,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        (before, bytes, sizes) => {
          const whole = Buffer.concat([before, bytes])
          expect(parse(split(whole, sizes))).toEqual(parse([whole]))
          expect(parse([whole]), "interim responses change nothing").toEqual(parse([bytes]))
        }
      ),
      { numRuns: runs }
    )
  })

  it("FET-07: never throws, and never returns more than the limits, whatever the bytes", () => {
    let completed = 0
    fc.assert(
      fc.property(
        fc.array(fc.oneof(response, interims, fc.uint8Array({ maxLength: 300 })), { maxLength: 3 }),
        (pieces) => {
          const { head, progress } = parse(pieces, { maxHeaderBytes: 60, maxHeaderCount: 2, maxBodyBytes: 6 })
          expect(progress).toBeDefined()
          expect(head?.headers.length ?? 0).toBeLessThanOrEqual(2)
          expect((head?.headers ?? []).flat().join("").length).toBeLessThanOrEqual(60)
          if (progress?._tag === "Complete") {
            completed++
            expect(progress.response.body.length).toBeLessThanOrEqual(6)
          }
        }
      ),
      { numRuns: runs }
    )
    expect(completed).toBeGreaterThan(0)
  })

  const chunked = "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n"
  const unlimited = { maxHeaderBytes: 1_000_000, maxHeaderCount: 1_000_000, maxBodyBytes: 1_000_000 }
  const headers = { _tag: "TooLarge", part: "headers", limit: 60 }
  const fields = { _tag: "TooLarge", part: "fields", limit: 5 }
  const tooLong = { _tag: "TooLarge", part: "body", limit: 60 }
  for (
    const [what, start, more, given, error, most] of [
      ["status line", "HTTP/1.1 200 ", "y", { maxHeaderBytes: 60 }, headers, 61],
      ["header line", "HTTP/1.1 200\r\na: ", "y", { maxHeaderBytes: 60 }, headers, 61],
      ["series of header lines", "HTTP/1.1 200\r\n", "a: b\r\n", { maxHeaderBytes: 60 }, headers, 61],
      ["number of header lines", "HTTP/1.1 200\r\n", "a: b\r\n", { maxHeaderCount: 5 }, fields, 14 + 6 * 6],
      ["series of interim responses", "", "HTTP/1.1 100\r\n\r\n", { maxHeaderBytes: 60 }, headers, 61],
      ["number of interim responses", "", "HTTP/1.1 100\r\n\r\n", { maxHeaderCount: 5 }, fields, 6 * 16],
      ["interim header line", "HTTP/1.1 103\r\na: ", "y", { maxHeaderBytes: 60 }, headers, 61],
      ["trailer line", `${chunked}0\r\na: `, "y", { maxHeaderBytes: 60 }, headers, chunked.length + 3 + 61],
      [
        "series of trailer lines",
        `${chunked}0\r\n`,
        "a: b\r\n",
        { maxHeaderBytes: 60 },
        headers,
        chunked.length + 3 + 61
      ],
      [
        "number of header and trailer lines",
        `${chunked}0\r\n`,
        "a: b\r\n",
        { maxHeaderCount: 5 },
        fields,
        chunked.length + 3 + 5 * 6
      ],
      ["body", "HTTP/1.1 200\r\n\r\n", "y", { maxBodyBytes: 60 }, tooLong, 16 + 61],
      ["series of chunks", chunked, "1\r\ny\r\n", { maxBodyBytes: 60 }, tooLong, chunked.length + 61 * 6],
      ["chunk line", `${chunked}1;`, "y", {}, { _tag: "Malformed" }, chunked.length + 257]
    ] as const
  ) {
    it(`FET-07: an endless ${what} fails at the first byte past the limit`, () => {
      const parser = ResponseParser.make<ResponseParser.Head, never>({ ...unlimited, ...given }, Either.right)
      let taken = 0
      const push = (text: string) => {
        for (const byte of Buffer.from(text)) {
          taken++
          const progress = parser.push(Uint8Array.of(byte))
          if (progress !== undefined) return progress
        }
        return undefined
      }
      let progress = push(start)
      while (progress === undefined && taken <= most) progress = push(more)
      expect(progress).toMatchObject({ _tag: "Failed", error })
      expect(taken).toBeLessThanOrEqual(most)
    })
  }

  it("FET-09: undici reads every accepted response alike", async () => {
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(response, async (bytes) => {
        const { progress } = parse([bytes])
        if (progress?._tag !== "Complete") return
        accepted++
        const theirs = await byUndici(bytes)
        expect(theirs).toEqual({
          status: progress.response.head.status,
          headers: progress.response.head.headers,
          body: Buffer.from(progress.response.body).toString("latin1")
        })
      }),
      { numRuns: Math.min(runs, 2000) }
    )
    expect(accepted).toBeGreaterThan(50)
  })

  it("FET-07: parses a header of blanks in linear time", () => {
    const start = process.hrtime.bigint()
    const blanks = " ".repeat(500_000)
    const { progress } = parse([Buffer.from(`HTTP/1.1 200 OK\r\na:${blanks}b${blanks}\0${blanks}\r\n\r\n`)], {
      maxHeaderBytes: 2_000_000,
      maxHeaderCount: 9,
      maxBodyBytes: 9
    })
    expect(progress).toMatchObject({ _tag: "Failed", error: { _tag: "Malformed" } })
    expect(Number(process.hrtime.bigint() - start) / 1e6).toBeLessThan(1000)
  })
})

/** Parses the same bytes with undici, over a connection that is already open. */
const byUndici = async (bytes: Uint8Array) => {
  const socket = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done()
      setImmediate(() => {
        socket.push(bytes)
        socket.push(null)
      })
    }
  })
  const client = new Client("http://app.example", {
    connect: (_options, done) => queueMicrotask(() => done(null, socket as never))
  })
  const headers: Array<[string, string]> = []
  let status = 0
  try {
    const text = await new Promise<string>((resolve, reject) => {
      let body = ""
      client.dispatch({ method: "GET", path: "/", reset: true }, {
        onRequestStart() {},
        onResponseStart(controller, code) {
          status = code
          const raw = (controller as unknown as { rawHeaders: ReadonlyArray<Buffer> }).rawHeaders
          // It keeps the white space after a value, which is not part of the value (RFC 9110, section 5.5).
          for (let index = 0; index < raw.length; index += 2) {
            headers.push([raw[index]!.toString("latin1"), raw[index + 1]!.toString("latin1").trimEnd()])
          }
        },
        onResponseData(_controller, chunk) {
          body += chunk.toString("latin1")
        },
        onResponseEnd: () => resolve(body),
        onResponseError: (_controller, error) => reject(error)
      })
    })
    return { status, headers, body: text }
  } finally {
    await client.destroy()
  }
}
