import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import type { Fault, Reader } from "./httpResponse.js"

/** How an exchange ended that did not bring a body: by its response, or by the connection. */
export type Refusal<E> = Fault | E | { readonly _tag: "Broken"; readonly error: Error }

/** Sends a request and reads its response. The socket is left to its scope, which destroys it. */
export const exchange = <E>(
  socket: Duplex,
  request: string,
  reader: Reader<E>
): Effect.Effect<Uint8Array, Refusal<E>> =>
  Effect.async((resume) => {
    const detach = () => {
      socket.pause()
      socket.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose)
    }
    const settle = (result: Effect.Effect<Uint8Array, Refusal<E>>) => {
      detach()
      resume(result)
    }
    const follow = (progress: ReturnType<Reader<E>["push"]>) => {
      if (progress !== undefined) {
        settle(progress._tag === "Complete" ? Effect.succeed(progress.body) : Effect.fail(progress.fault))
      }
    }
    const onData = (chunk: Uint8Array) => follow(reader.push(chunk))
    const onEnd = () => follow(reader.end())
    const onError = (error: Error) => settle(Effect.fail({ _tag: "Broken", error }))
    const onClose = () => settle(Effect.fail({ _tag: "Truncated", part: reader.part() }))
    if (socket.destroyed) {
      return socket.errored ? onError(socket.errored) : onClose()
    }
    socket.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose)
    socket.write(request)
    return Effect.sync(detach)
  })
