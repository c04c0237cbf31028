import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { Duplex } from "node:stream"
import { describe, expect } from "vitest"
import { exchange } from "../../src/internal/fetch/exchange.js"
import * as ResponseParser from "../../src/internal/fetch/responseParser.js"

const limits = { maxHeaderBytes: 2000, maxHeaderCount: 20, maxBodyBytes: 100 }
const headText = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

/** A stream that responds to a request with pieces, and then runs a function. */
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
  Effect.timeout(exchange(socket, "GET", ResponseParser.make<ResponseParser.Head, never>(limits, Either.right)), 1000)

describe("exchange", () => {
  const broken = new Error("Broken")
  const cases: ReadonlyArray<
    readonly [name: string, ReadonlyArray<string>, (socket: Duplex) => void, expected: Record<string, unknown>]
  > = [
    ["is closed before the first byte", [], (socket) => socket.destroy(), { _tag: "Truncated", part: "headers" }],
    ["is closed in the body", [headText, "{"], (socket) => socket.destroy(), { _tag: "Truncated", part: "body" }],
    ["breaks", [headText], (socket) => socket.destroy(broken), { _tag: "Broken", part: "body", error: broken }],
    ["ends", [headText], (socket) => socket.push(null), { _tag: "Truncated", part: "body" }]
  ]
  for (const [name, pieces, then, expected] of cases) {
    it.live(`FET-09: fails at once and removes its listeners when the stream ${name}`, () =>
      Effect.gen(function*() {
        const { socket } = stream(pieces, then)
        const before = socket.eventNames().map((event) => socket.listenerCount(event))
        expect(yield* Effect.flip(over(socket))).toMatchObject(expected)
        expect(socket.eventNames().map((event) => socket.listenerCount(event))).toEqual(before)
      }))
  }

  for (const [name, error] of [["was closed", undefined], ["broke", broken]] as const) {
    it.live(`FET-09: fails at once and writes nothing when the stream ${name} before the exchange`, () =>
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

  it.live("FET-09: returns the head with the body, and does not read what follows the response", () =>
    Effect.gen(function*() {
      const { socket, written } = stream([headText, "{}"])
      const { body, head } = yield* over(socket)
      expect(Buffer.from(body).toString()).toBe("{}")
      expect(head).toEqual({ status: 200, headers: [["Content-Length", "2"]] })
      expect(written).toEqual(["GET"])
      expect(socket.isPaused()).toBe(true)
      expect(socket.listenerCount("data")).toBe(0)
    }))
})
