import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import type { Dialer, DialError } from "../Dialer.js"
import { ConnectFailed } from "../FetchError.js"
import { codeOf } from "./sockets.js"
import type { Target } from "./target.js"

export interface Connection {
  readonly address: string
  readonly socket: Duplex
}

/** Before the next address is tried beside one that does not answer (RFC 8305, section 5). */
const stagger = "250 millis"

/**
 * Connects to the first of the addresses that takes the connection: the next one is tried when one refuses, or beside
 * it when it takes long. All but the first to succeed are destroyed at once.
 *
 * Attempts run as daemons, so that a dialer which ignores its interruption holds nobody up. What such a dialer still
 * brings is closed by the scope, which closes at once whatever comes after its end.
 */
export const connect = (
  target: Target,
  addresses: ReadonlyArray<string>,
  dial: Dialer["Type"]["dial"]
): Effect.Effect<Connection, ConnectFailed, Scope.Scope> =>
  Effect.scopeWith((scope) => {
    const connected = Deferred.unsafeMake<Connection, ConnectFailed>(FiberId.none)
    const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
    const failures: Array<{ readonly address: string; readonly code: string }> = []
    let begun = 0

    const fork = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.map(Effect.forkDaemon(effect), (fiber) => {
        fibers.push(fiber)
      })

    const onExit = (address: string, exit: Exit.Exit<Duplex, DialError>): Effect.Effect<unknown> => {
      if (Exit.isSuccess(exit)) {
        return Effect.map(Deferred.succeed(connected, { address, socket: exit.value }), (isFirst) => {
          if (!isFirst) exit.value.destroy()
        })
      }
      failures.push({ address, code: codeOfFailure(exit) })
      return failures.length === addresses.length
        ? Deferred.fail(connected, new ConnectFailed({ clientId: target.clientId, attempts: failures }))
        : tryNext
    }

    const tryNext: Effect.Effect<void> = Effect.suspend(() => {
      const address = addresses[begun++]
      return address === undefined
        ? Effect.void
        : fork(Effect.onExit(Scope.extend(dial(address, target.port), scope), (exit) => onExit(address, exit)))
    })

    const tryAll = addresses.length === 1
      ? tryNext
      : Effect.zipRight(tryNext, fork(Effect.repeatN(Effect.delay(tryNext, stagger), addresses.length - 2)))

    return Effect.ensuring(
      Effect.zipRight(tryAll, Deferred.await(connected)),
      Effect.suspend(() => Effect.forEach(fibers, Fiber.interruptFork, { discard: true }))
    )
  })

const codeOfFailure = (exit: Exit.Failure<Duplex, DialError>): string =>
  exit.cause._tag === "Fail" ? codeOf(exit.cause.error.cause) : "UNKNOWN"
