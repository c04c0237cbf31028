import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Duplex } from "node:stream"
import { describe, expect } from "vitest"
import { exchange } from "../../src/internal/fetch/exchange.js"
import * as HttpResponse from "../../src/internal/fetch/httpResponse.js"

const limits = { maxHeaderBytes: 2000, maxHeaderCount: 20, maxBodyBytes: 100 }
const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

/** A stream that answers a request with pieces, and then does what it is told. */
const stream = (pieces: ReadonlyArray<string>, then: (socket: Duplex) => void = () => {}) => {
  const written: Array<string> = []
  const socket: Duplex = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, done) {
      written.push(bytes.toString())
      done()
      for (const piece of pieces) socket.push(piece)
      setTimeout(() => then(socket), 5)
    }
  })
  socket.on("error", () => {})
  return { socket, written }
}

const over = (socket: Duplex) =>
  Effect.timeout(exchange(socket, "GET", HttpResponse.make<never>(limits, () => undefined)), 1000)

describe("An exchange", () => {
  const broken = new Error("Broken")
  const cases: ReadonlyArray<
    readonly [name: string, ReadonlyArray<string>, (socket: Duplex) => void, expected: Record<string, unknown>]
  > = [
    ["is closed without a word", [], (socket) => socket.destroy(), { _tag: "Truncated", part: "headers" }],
    ["is closed in the body", [head, "{"], (socket) => socket.destroy(), { _tag: "Truncated", part: "body" }],
    ["breaks", [head], (socket) => socket.destroy(broken), { _tag: "Broken", error: broken }],
    ["ends", [head], (socket) => socket.push(null), { _tag: "Truncated", part: "body" }]
  ]
  for (const [name, pieces, then, expected] of cases) {
    it.live(`FET-09: over a stream that ${name} fails at once, and leaves no listener`, () =>
      Effect.gen(function*() {
        const { socket } = stream(pieces, then)
        const before = socket.eventNames().map((event) => socket.listenerCount(event))
        expect(yield* Effect.flip(over(socket))).toMatchObject(expected)
        expect(socket.eventNames().map((event) => socket.listenerCount(event))).toEqual(before)
      }))
  }

  for (const [name, error] of [["was closed", undefined], ["broke", broken]] as const) {
    it.live(`FET-09: over a stream that ${name} before it began fails at once, and writes nothing`, () =>
      Effect.gen(function*() {
        const { socket, written } = stream([])
        socket.destroy(error)
        yield* Effect.sleep(5)
        expect(yield* Effect.flip(over(socket))).toMatchObject(
          error === undefined ? { _tag: "Truncated", part: "headers" } : { _tag: "Broken", error }
        )
        expect(written).toEqual([])
      }))
  }

  it.live("FET-09: what comes after the response is not read", () =>
    Effect.gen(function*() {
      const { socket, written } = stream([head, "{}"])
      expect(Buffer.from(yield* over(socket)).toString()).toBe("{}")
      expect(written).toEqual(["GET"])
      expect(socket.isPaused()).toBe(true)
      expect(socket.listenerCount("data")).toBe(0)
    }))
})
