import * as Duration from "effect/Duration"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"

type MakeStream = () => Duplex

const made = new WeakSet<MakeStream>()

/**
 * Makes sockets that are destroyed when nothing has come or gone for so long. A connection that is cut without notice, as
 * by a firewall that forgets it, says nothing: what was sent on it would be waited for until the system gives it up, which
 * can take a quarter of an hour.
 */
export const make = (silence: Duration.DurationInput): MakeStream => {
  const millis = Duration.toMillis(silence)
  const makeStream = () => {
    const socket = new Socket()
    return Number.isFinite(millis)
      ? socket.setTimeout(millis, () => {
        socket.destroy(Object.assign(new Error(`Nothing was heard for ${millis} ms`), { code: "ETIMEDOUT" }))
      })
      : socket
  }
  made.add(makeStream)
  return makeStream
}

/** The same with another patience. Streams of someone else's making are left as they are. */
export const within = (silence: Duration.DurationInput, makeStream: MakeStream | undefined): MakeStream =>
  makeStream === undefined || made.has(makeStream) ? make(silence) : makeStream
