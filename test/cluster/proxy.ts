/** A way between a node and its database that can be cut. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"

export interface Proxy {
  /** The loopback port that leads to the target. */
  readonly port: number
  /** Resets every connection, and each new one too. */
  readonly reset: Effect.Effect<void>
  /**
   * Swallows what is sent either way, on every connection there is, for good: as when a firewall forgets them. New
   * connections are taken, and swallowed too until the cut is healed.
   */
  readonly swallow: Effect.Effect<void>
  /** New connections lead to the target again. */
  readonly heal: Effect.Effect<void>
  /** New connections lead to another loopback port. Those there are stay where they are, as when a name is changed. */
  readonly switchTo: (target: number) => Effect.Effect<void>
}

/** A proxy in front of a loopback port, for as long as the scope is open. */
export const make = (target: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.gen(function*() {
    let state: "open" | "reset" | "swallow" = "open"
    let current = target
    const connections = new Set<{ readonly near: Socket; readonly far: Socket | undefined }>()

    // Half open, or the proxy would say goodbye on a connection that it swallows.
    const server = createServer({ allowHalfOpen: true }, (near) => {
      near.on("error", () => {})
      if (state === "reset") {
        near.resetAndDestroy()
        return
      }
      const connection = { near, far: state === "open" ? connect(current, "127.0.0.1") : undefined }
      connections.add(connection)
      const { far } = connection
      near.on("close", () => {
        connections.delete(connection)
        far?.destroy()
      })
      if (far === undefined) {
        near.resume()
        return
      }
      far.on("error", () => near.destroy())
      near.pipe(far)
      far.pipe(near)
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const { far, near } of connections) {
            near.destroy()
            far?.destroy()
          }
        })
    )
    const address = server.address()

    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      reset: Effect.sync(() => {
        state = "reset"
        for (const { near } of connections) near.resetAndDestroy()
      }),
      swallow: Effect.sync(() => {
        state = "swallow"
        for (const { far, near } of connections) {
          near.unpipe()
          near.resume()
          far?.unpipe()
          far?.resume()
        }
      }),
      heal: Effect.sync(() => {
        state = "open"
      }),
      switchTo: (target) =>
        Effect.sync(() => {
          current = target
        })
    }
  })
