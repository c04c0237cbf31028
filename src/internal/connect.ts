import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Dialer } from "../Dialer.js"
import { ConnectFailed } from "../FetchError.js"
import { codeOf } from "./sockets.js"
import type { Target } from "./target.js"

export interface Connection {
  readonly address: string
  readonly socket: Duplex
}

/** Before the next address is tried beside one that does not answer (RFC 8305, section 5). */
const stagger = "250 millis"

interface Attempt extends Connection {
  readonly scope: Scope.CloseableScope
}

/**
 * Connects to the first of the addresses that takes the connection: the next one is tried when one refuses, or beside
 * it when it takes long. All but the one that was first are closed at once.
 */
export const connect = (
  target: Target,
  addresses: ReadonlyArray<string>,
  dial: Dialer["Type"]["dial"]
): Effect.Effect<Connection, ConnectFailed, Scope.Scope> =>
  Effect.gen(function*() {
    const outer = yield* Effect.scope
    const failures: Array<{ readonly address: string; readonly code: string }> = []
    const scopes = new Set<Scope.CloseableScope>()

    const attempt = (address: string): Effect.Effect<Attempt, void> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.fork(outer, outer.strategy), (scope) => {
          scopes.add(scope)
          // A dialer that ignores its interruption must not hold the deadline.
          return restore(Effect.disconnect(Scope.extend(dial(address, target.port), scope))).pipe(
            Effect.map((socket) => ({ address, socket, scope })),
            Effect.tapErrorCause((cause) => Scope.close(scope, Exit.failCause(cause))),
            Effect.onInterrupt(() => Scope.close(scope, Exit.void)),
            Effect.mapError(({ cause }) => {
              failures.push({ address, code: codeOf(cause) })
            })
          )
        })
      )

    const from = (index: number): Effect.Effect<Attempt, void> => {
      const address = addresses[index]
      if (address === undefined) {
        return Effect.fail(undefined)
      }
      if (index === addresses.length - 1) {
        return attempt(address)
      }
      return Effect.flatMap(Deferred.make<void>(), (failed) =>
        Effect.race(
          Effect.tapError(attempt(address), () => Deferred.succeed(failed, undefined)),
          Effect.zipRight(
            Effect.timeoutOption(Deferred.await(failed), stagger),
            Effect.suspend(() => from(index + 1))
          )
        ))
    }

    const { scope: first, ...connection } = yield* Effect.mapError(
      from(0),
      () => new ConnectFailed({ clientId: target.clientId, attempts: failures })
    )
    for (const scope of scopes) {
      if (scope !== first) yield* Scope.close(scope, Exit.void)
    }
    return connection
  })
