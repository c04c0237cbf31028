import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"

/** A proxy has no reason to send a longer response to `CONNECT`. */
const maxHeadBytes = 16_384

const success = /^HTTP\/1\.[01] 2[0-9]{2}(?: [^\r\n]*)?\r\n/

/** Opens a tunnel over a connection to an HTTP proxy: sends `CONNECT` and waits for a 2xx (RFC 9110, section 9.3.6). */
export const open = (socket: Duplex, request: string): Effect.Effect<void, Error> =>
  Effect.async((resume) => {
    let head = Buffer.alloc(0)
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
      const end = head.indexOf("\r\n\r\n")
      if (end < 0) {
        if (head.length > maxHeadBytes) settle(refused("a response that is too long"))
        return
      }
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
