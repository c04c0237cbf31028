/**
 * Connecting to one of several addresses: while one is slow, the next is tried beside it (RFC 8305).
 *
 * Written by hand, because the similar algorithm in `net.connect` (`autoSelectFamily`) looks the host up and dials by
 * itself. Here each address is checked first, and then dialed through the `Dialer`, which may be a proxy.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Dialer } from "../../Dialer.js"
import { ConnectFailed } from "../../FetchError.js"
import { awaitDetached } from "./awaitDetached.js"
import type { FetchTarget } from "./fetchTarget.js"
import * as OwnErrors from "./ownErrors.js"
import type { Refusal } from "./refusal.js"
import { codeOf } from "./sockets.js"

export interface Connection {
  readonly address: string
  readonly socket: Duplex
}

interface Attempt {
  readonly address: string
  readonly code: string
}

/** If this machine kept a single address from being dialed, the failure says nothing about the origin. */
const failureOf = (target: FetchTarget, attempts: ReadonlyArray<Attempt>): ConnectFailed | Refusal => {
  for (const { address, code } of attempts) {
    const refusal = OwnErrors.ofDial(address, code)
    if (refusal !== undefined) return refusal
  }
  return new ConnectFailed({ clientId: target.clientId, attempts })
}

/** The delay after which the next address is tried beside a slow one (RFC 8305, section 5). */
const attemptDelay = "250 millis"

/**
 * Connects to the first address that accepts a connection. The next address is tried as soon as one fails, or beside it
 * when it is slow. The first success cancels the other attempts. If a dialer completes one nevertheless, its socket is
 * destroyed, with the scope at the latest.
 */
export const connect = (
  target: FetchTarget,
  addresses: ReadonlyArray<string>,
  dial: Dialer["Type"]["dial"]
): Effect.Effect<Connection, ConnectFailed | Refusal, Scope.Scope> =>
  Effect.scopeWith((scope) =>
    awaitDetached((start, settle) => {
      const failures: Array<Attempt> = []
      let next = 0
      let connected = false

      const tryNext = (): void => {
        const address = addresses[next++]
        const tried = next
        if (address === undefined) return
        start(Scope.extend(dial(address, target.port), scope), (exit) => {
          if (Exit.isFailure(exit)) {
            const failure = Cause.failureOrCause(exit.cause)
            if (Either.isRight(failure)) return settle(Effect.failCause(failure.right))
            failures.push({ address, code: codeOf(failure.left.cause) })
            if (failures.length < addresses.length) tryNext()
            else settle(Effect.fail(failureOf(target, failures)))
          } else if (connected) {
            exit.value.destroy()
          } else {
            connected = true
            settle(Effect.succeed({ address, socket: exit.value }))
          }
        })
        if (tried < addresses.length) {
          start(Effect.sleep(attemptDelay), (exit) => {
            // If an attempt failed during the delay, the next one has started already, with a delay of its own.
            if (Exit.isSuccess(exit) && next === tried) tryNext()
          })
        }
      }
      tryNext()
    })
  )
