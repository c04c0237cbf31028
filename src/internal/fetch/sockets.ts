import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"

/** Maximum bytes that a dialed socket reads before they are counted. */
export const maxReadBytes = 8192

const nothing = () => {}

/** A socket may fail after its last listener is gone, and an `error` event without a listener ends the process. */
export const ignore = <S extends Duplex>(socket: S): S => socket.on("error", nothing)

export const destroy = (socket: Duplex): Effect.Effect<void> => Effect.sync(() => socket.destroy())

/** Waits until a socket is connected or fails. An interruption destroys the socket. */
export const whenConnected = (socket: Duplex, event: "connect" | "secureConnect"): Effect.Effect<void, Error> =>
  Effect.async((resume) => {
    const detach = () => {
      socket.off(event, onConnect).off("error", onError).off("close", onClose)
    }
    const settle = (result: Effect.Effect<void, Error>) => {
      detach()
      resume(result)
    }
    const onConnect = () => settle(Effect.void)
    const onError = (error: Error) => settle(Effect.fail(error))
    const onClose = () => settle(Effect.fail(socket.errored ?? closed()))
    if (socket.destroyed) {
      return onClose()
    }
    socket.on(event, onConnect).on("error", onError).on("close", onClose)
    return Effect.sync(() => {
      detach()
      socket.destroy()
    })
  })

const closed = (): Error => Object.assign(new Error("The connection was closed"), { code: "ECONNRESET" })

/** Returns the code of a failed system call or handshake, which helps an operator more than the message. */
export const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : "UNKNOWN"
