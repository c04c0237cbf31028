import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Dialer } from "../../Dialer.js"
import { ConnectFailed } from "../../FetchError.js"
import * as Daemons from "./awaitDetached.js"
import type { Target } from "./requestTarget.js"
import { codeOf } from "./sockets.js"

export interface Connection {
  readonly address: string
  readonly socket: Duplex
}

/** Before the next address is tried beside one that does not answer (RFC 8305, section 5). */
const stagger = "250 millis"

/**
 * Connects to the first of the addresses that takes the connection: the next one is tried when one refuses, or beside
 * it when it takes long. When the first succeeds the others are given up; what a dialer makes of one nevertheless is
 * destroyed with the scope at the latest.
 */
export const connect = (
  target: Target,
  addresses: ReadonlyArray<string>,
  dial: Dialer["Type"]["dial"]
): Effect.Effect<Connection, ConnectFailed, Scope.Scope> =>
  Effect.scopeWith((scope) =>
    Daemons.wait((begin, settle) => {
      const failures: Array<{ readonly address: string; readonly code: string }> = []
      let next = 0
      let connected = false

      const tryNext = (): void => {
        const address = addresses[next++]
        const tried = next
        if (address === undefined) return
        begin(Scope.extend(dial(address, target.port), scope), (exit) => {
          if (Exit.isFailure(exit)) {
            const failure = Cause.failureOrCause(exit.cause)
            if (Either.isRight(failure)) return settle(Effect.failCause(failure.right))
            failures.push({ address, code: codeOf(failure.left.cause) })
            if (failures.length < addresses.length) tryNext()
            else settle(new ConnectFailed({ clientId: target.clientId, attempts: failures }))
          } else if (connected) {
            exit.value.destroy()
          } else {
            connected = true
            settle(Effect.succeed({ address, socket: exit.value }))
          }
        })
        if (tried < addresses.length) {
          begin(Effect.sleep(stagger), (exit) => {
            // A refusal in the meantime has begun the next attempt, which has a stagger of its own.
            if (Exit.isSuccess(exit) && next === tried) tryNext()
          })
        }
      }
      tryNext()
    })
  )
