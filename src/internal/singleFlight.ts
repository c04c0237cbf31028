import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as metrics from "./metrics.js"

interface Flight<A, E> {
  readonly landed: Deferred.Deferred<A, E>
  fiber: Fiber.RuntimeFiber<Exit.Exit<A, E>> | undefined
  waiting: number
}

export interface Flights<A, E> {
  /** Boards the flight under way, or starts one. */
  readonly join: (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** The same for a flight that begins from now on: one that is under way is waited for, and the next one is boarded. */
  readonly next: (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

/**
 * Runs one effect per key at a time; who asks meanwhile waits for its result. The effect runs in the scope of its maker
 * and not in its first caller, so that an interrupted caller fails nobody else, and the last one to leave stops it
 * (FET-11). Effect's own `Cache` interrupts all waiters together with the first one.
 */
export const make = <A, E>(): Effect.Effect<Flights<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const flights = new Map<string, Flight<A, E>>()

    const forget = (key: string, flight: Flight<A, E>) => {
      if (flights.get(key) === flight) flights.delete(key)
    }

    const board = (
      key: string,
      flight: Flight<A, E>,
      restore: <B, F, R>(effect: Effect.Effect<B, F, R>) => Effect.Effect<B, F, R>
    ): Effect.Effect<A, E> => {
      flight.waiting++
      return Effect.onExit(restore(Deferred.await(flight.landed)), () =>
        Effect.suspend(() => {
          flight.waiting--
          if (flight.waiting > 0 || flight.fiber === undefined || flights.get(key) !== flight) return Effect.void
          forget(key, flight)
          return Fiber.interruptFork(flight.fiber)
        }))
    }

    const start = (key: string, effect: Effect.Effect<A, E>): Effect.Effect<Flight<A, E>> => {
      const flight: Flight<A, E> = { landed: Deferred.unsafeMake(FiberId.none), fiber: undefined, waiting: 0 }
      flights.set(key, flight)
      // A fiber that fails is logged as an error that nobody handled, with the client's whole URL; its waiters handle it.
      return Effect.map(Effect.forkIn(Effect.exit(Effect.interruptible(effect)), scope), (fiber) => {
        flight.fiber = fiber
        // An observer runs even when the fiber was ended before its first step, as in a scope that is closed.
        fiber.addObserver((exit) => {
          forget(key, flight)
          Deferred.unsafeDone(flight.landed, Exit.flatten(exit))
        })
        return flight
      })
    }

    const join: Flights<A, E>["join"] = (key, effect) =>
      Effect.uninterruptibleMask((restore) => {
        const flight = flights.get(key)
        if (flight === undefined) return Effect.flatMap(start(key, effect), (started) => board(key, started, restore))
        metrics.coalesced.unsafeUpdate(1, [])
        return board(key, flight, restore)
      })

    const next: Flights<A, E>["next"] = (key, effect) =>
      Effect.suspend(() => {
        const flight = flights.get(key)
        return flight === undefined
          ? join(key, effect)
          : Effect.zipRight(Effect.exit(Deferred.await(flight.landed)), join(key, effect))
      })

    return { join, next }
  })
