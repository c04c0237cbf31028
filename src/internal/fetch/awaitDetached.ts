import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"

/** Starts an effect in a fiber of its own, unless the wait is over. `onExit` is also called when that is too late. */
export type Start = <A, E>(effect: Effect.Effect<A, E>, onExit: (exit: Exit.Exit<A, E>) => void) => void

/**
 * Waits for a result that detached fibers produce. Once there is a result, or the caller is interrupted, the fibers are
 * interrupted but not awaited. So a resolver that hangs and cannot be interrupted delays no caller.
 */
export const awaitDetached = <A, E>(
  work: (start: Start, settle: (result: Effect.Effect<A, E>) => void) => void
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
      const start: Start = (effect, onExit) => {
        if (over) return
        // Effect logs the error of a failed fiber as unhandled, with the client's whole URL, but `onExit` handles it.
        // The runtime of an uninterruptible caller makes its fibers uninterruptible too, but these have to end.
        const fiber = run(Effect.either(Effect.interruptible(effect)))
        fibers.push(fiber)
        fiber.addObserver((exit) =>
          onExit(Exit.flatMap(exit, Either.match({ onLeft: Exit.fail, onRight: Exit.succeed })))
        )
      }
      work(start, (result) => {
        resume(result)
        end()
      })
      return Effect.sync(end)
    }))
