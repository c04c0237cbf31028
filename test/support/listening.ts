import * as Effect from "effect/Effect"
import type { Socket } from "node:net"
import { createServer } from "node:net"

/** A TCP listener on loopback that hands each connection to a function, and counts them; closed with the scope. */
export const listening = (onConnection: (socket: Socket) => void = () => {}, host = "127.0.0.1", port = 0) =>
  Effect.suspend(() => {
    const sockets = new Set<Socket>()
    let reached = 0
    const server = createServer((socket) => {
      reached++
      sockets.add(socket)
      socket.on("close", () => sockets.delete(socket)).on("error", () => {})
      onConnection(socket)
    })
    const listen = Effect.async<number>((resume) => {
      server.on("error", (error) => resume(Effect.die(error)))
      server.listen(port, host, () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    })
    const close = Effect.sync(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    return Effect.map(Effect.acquireRelease(listen, () => close), (port) => ({
      port,
      reached: () => reached,
      open: () => sockets.size
    }))
  })
