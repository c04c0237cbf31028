import * as Duration from "effect/Duration"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"

/**
 * Returns a function that makes sockets which are destroyed after so long without traffic. A connection that is cut
 * without notice, as by a firewall that forgets it, reports no error. Without the timeout, a statement sent on it would
 * wait until the system gives up, which can take a quarter of an hour.
 */
export const make = (timeout: Duration.DurationInput): () => Duplex => {
  const timeoutMillis = Duration.toMillis(timeout)
  return () => {
    const socket = new Socket()
    return Number.isFinite(timeoutMillis)
      ? socket.setTimeout(timeoutMillis, () => {
        socket.destroy(Object.assign(new Error(`no traffic for ${timeoutMillis} ms`), { code: "ETIMEDOUT" }))
      })
      : socket
  }
}
