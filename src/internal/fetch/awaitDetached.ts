import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

/** Begins an effect in a fiber of its own, unless it is all over. Its exit is told also when it comes too late. */
export type Begin = <A, E>(effect: Effect.Effect<A, E>, onExit: (exit: Exit.Exit<A, E>) => void) => void

/**
 * Waits for what fibers of their own bring about. When there is a result, or nobody waits any more, they are interrupted
 * and not waited for: a resolver that hangs, and cannot be interrupted, holds nobody up.
 */
export const wait = <A, E>(
  work: (begin: Begin, settle: (result: Effect.Effect<A, E>) => void) => void
): Effect.Effect<A, E> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) =>
    Effect.async<A, E>((resume) => {
      const run = Runtime.runFork(runtime)
      const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      let over = false
      const end = () => {
        over = true
        for (const fiber of fibers) fiber.unsafeInterruptAsFork(FiberId.none)
      }
      const begin: Begin = (effect, onExit) => {
        if (over) return
        // A fiber that fails is logged as an error nobody handled, with the client's whole URL; `onExit` handles it.
        // The caller may be uninterruptible, which its runtime hands on; what is begun has to end all the same.
        const fiber = run(Effect.either(Effect.interruptible(effect)))
        fibers.push(fiber)
        fiber.addObserver((exit) =>
          onExit(Exit.flatMap(exit, Either.match({ onLeft: Exit.fail, onRight: Exit.succeed })))
        )
      }
      work(begin, (result) => {
        resume(result)
        end()
      })
      return Effect.sync(end)
    }))
