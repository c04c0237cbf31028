import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import type { Parsed, ParseError, Parser } from "./responseParser.js"

/** Why an exchange ended without a response: its bytes, its head, or the connection (`Broken`). */
export type ExchangeError<E> =
  | ParseError
  | E
  | { readonly _tag: "Broken"; readonly part: "headers" | "body"; readonly error: Error }

/** Sends a request and reads its response. The scope of the socket destroys it. */
export const exchange = <A, E>(
  socket: Duplex,
  request: string,
  parser: Parser<A, E>
): Effect.Effect<Parsed<A>, ExchangeError<E>> =>
  Effect.async((resume) => {
    const detach = () => {
      socket.pause()
      socket.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose)
    }
    const settle = (result: Effect.Effect<Parsed<A>, ExchangeError<E>>) => {
      detach()
      resume(result)
    }
    const follow = (progress: ReturnType<Parser<A, E>["push"]>) => {
      if (progress !== undefined) {
        settle(progress._tag === "Complete" ? Effect.succeed(progress.response) : Effect.fail(progress.error))
      }
    }
    const onData = (chunk: Uint8Array) => follow(parser.push(chunk))
    const onEnd = () => follow(parser.end())
    const onError = (error: Error) => settle(Effect.fail({ _tag: "Broken", part: parser.part(), error }))
    const onClose = () => settle(Effect.fail({ _tag: "Truncated", part: parser.part() }))
    if (socket.destroyed) {
      return socket.errored ? onError(socket.errored) : onClose()
    }
    socket.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose)
    socket.write(request)
    return Effect.sync(detach)
  })
