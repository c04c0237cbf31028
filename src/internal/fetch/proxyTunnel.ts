import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"

/** A proxy has no reason to send longer responses to `CONNECT`, interim responses included. */
const maxHeadBytes = 16_384

/** Any 1xx status but 101: the final response follows (RFC 9110, section 15.2). */
const interim = /^HTTP\/1\.[01] 1(?!01)[0-9]{2}(?: [^\r\n]*)?\r\n/

const success = /^HTTP\/1\.[01] 2[0-9]{2}(?: [^\r\n]*)?\r\n/

/** Opens a tunnel over a connection to an HTTP proxy: sends `CONNECT` and waits for a 2xx (RFC 9110, section 9.3.6). */
export const open = (socket: Duplex, request: string): Effect.Effect<void, Error> =>
  Effect.async((resume) => {
    let head = Buffer.alloc(0)
    let skippedBytes = 0
    const detach = () => {
      socket.pause()
      socket.off("data", onData).off("error", onError).off("close", onClose)
    }
    const settle = (result: Effect.Effect<void, Error>) => {
      detach()
      resume(result)
    }
    const onData = (chunk: Uint8Array) => {
      head = Buffer.concat([head, chunk])
      let end = head.indexOf("\r\n\r\n")
      while (end >= 0 && interim.test(head.toString("latin1", 0, end + 4))) {
        skippedBytes += end + 4
        head = head.subarray(end + 4)
        end = head.indexOf("\r\n\r\n")
      }
      if (skippedBytes + head.length > maxHeadBytes) return settle(refused("a response that is too long"))
      if (end < 0) return
      const text = head.toString("latin1")
      // In TLS the client sends first, so bytes that follow already were not sent by the origin.
      settle(
        success.test(text) && end + 4 === head.length
          ? Effect.void
          : refused(`"${/^HTTP\/1\.[01] [0-9]{3}/.exec(text)?.[0] ?? "no HTTP"}"`)
      )
    }
    const onError = (error: Error) => settle(Effect.fail(error))
    const onClose = () => settle(refused("the end of the connection"))
    if (socket.destroyed) {
      return socket.errored ? onError(socket.errored) : onClose()
    }
    socket.on("data", onData).on("error", onError).on("close", onClose)
    socket.write(request)
    return Effect.sync(detach)
  })

const refused = (response: string) =>
  Effect.fail(Object.assign(new Error(`The proxy responded with ${response}`), { code: "PROXY_REFUSED" }))
