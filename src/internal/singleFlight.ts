import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as metrics from "./metrics.js"

interface Run<A, E> {
  readonly result: Deferred.Deferred<A, E>
  fiber: Fiber.RuntimeFiber<Exit.Exit<A, E>> | undefined
  waiters: number
}

export interface SingleFlight<A, E> {
  /** Waits for the result of the run in progress for the key, or starts one. */
  readonly join: (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** The same for callers that need a run which starts after the call: they wait for the one in progress first. */
  readonly joinNext: (key: string, effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

/**
 * Runs one effect per key at a time; concurrent callers wait for its result. The effect runs in the scope of the maker
 * and not in its first caller, so an interrupted caller fails no other caller, and the last one to leave interrupts the
 * effect (FET-11). Effect's own `Cache` interrupts all waiters together with the first one.
 */
export const make = <A, E>(): Effect.Effect<SingleFlight<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const runs = new Map<string, Run<A, E>>()

    const remove = (key: string, run: Run<A, E>) => {
      if (runs.get(key) === run) runs.delete(key)
    }

    const waitFor = (
      key: string,
      run: Run<A, E>,
      restore: <B, F, R>(effect: Effect.Effect<B, F, R>) => Effect.Effect<B, F, R>
    ): Effect.Effect<A, E> => {
      run.waiters++
      return Effect.onExit(restore(Deferred.await(run.result)), () =>
        Effect.suspend(() => {
          run.waiters--
          if (run.waiters > 0 || run.fiber === undefined || runs.get(key) !== run) return Effect.void
          remove(key, run)
          return Fiber.interruptFork(run.fiber)
        }))
    }

    const start = (key: string, effect: Effect.Effect<A, E>): Effect.Effect<Run<A, E>> => {
      const run: Run<A, E> = { result: Deferred.unsafeMake(FiberId.none), fiber: undefined, waiters: 0 }
      runs.set(key, run)
      // Effect logs the failure of a forked fiber as unhandled, with the client's whole URL. The waiters handle it.
      return Effect.map(Effect.forkIn(Effect.exit(Effect.interruptible(effect)), scope), (fiber) => {
        run.fiber = fiber
        // An observer runs even if the fiber ended before its first step, as in a scope that is closed.
        fiber.addObserver((exit) => {
          remove(key, run)
          Deferred.unsafeDone(run.result, Exit.flatten(exit))
        })
        return run
      })
    }

    const join: SingleFlight<A, E>["join"] = (key, effect) =>
      Effect.uninterruptibleMask((restore) => {
        const run = runs.get(key)
        if (run === undefined) return Effect.flatMap(start(key, effect), (started) => waitFor(key, started, restore))
        metrics.coalesced.unsafeUpdate(1, [])
        return waitFor(key, run, restore)
      })

    const joinNext: SingleFlight<A, E>["joinNext"] = (key, effect) =>
      Effect.suspend(() => {
        const run = runs.get(key)
        return run === undefined
          ? join(key, effect)
          : Effect.zipRight(Effect.exit(Deferred.await(run.result)), join(key, effect))
      })

    return { join, joinNext }
  })
