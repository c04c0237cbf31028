import * as Effect from "effect/Effect"
import type { Socket } from "node:net"
import { createServer } from "node:net"

/** A TCP listener on loopback that hands each connection to a function, and counts them; closed with the scope. */
export const listening = (onConnection: (socket: Socket) => void = () => {}, host = "127.0.0.1", port = 0) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<
        {
          readonly port: number
          readonly reached: () => number
          readonly sockets: Set<Socket>
          readonly close: () => void
        }
      >((resume) => {
        const sockets = new Set<Socket>()
        let reached = 0
        const server = createServer((socket) => {
          reached++
          sockets.add(socket)
          socket.on("close", () => sockets.delete(socket)).on("error", () => {})
          onConnection(socket)
        })
        server.listen(port, host, () => {
          const address = server.address()
          resume(Effect.succeed({
            port: typeof address === "object" && address !== null ? address.port : 0,
            reached: () => reached,
            sockets,
            close: () => {
              server.close()
              for (const socket of sockets) socket.destroy()
            }
          }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ port, reached, sockets }) => ({ port, reached, open: () => sockets.size })
  )
