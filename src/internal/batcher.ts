import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

interface Request<A, E> {
  readonly key: string
  readonly resume: (result: Effect.Effect<Option.Option<A>, E>) => void
}

/**
 * Gathers the look-ups of one turn of the event loop into one, and those that come while enough are under way into the
 * next. A lone look-up waits for nobody.
 */
export const make = <A, E>(
  lookUp: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, E>,
  options: { readonly concurrency: number; readonly maxKeys: number }
): Effect.Effect<(key: string) => Effect.Effect<Option.Option<A>, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const fork = yield* FiberSet.makeRuntime<never>()
    const waiting = new Set<Request<A, E>>()
    let running = 0
    let scheduled = false

    const schedule = () => {
      if (scheduled || running >= options.concurrency || waiting.size === 0) return
      scheduled = true
      // The fibers that are about to run were queued before this, so what they look up is in.
      queueMicrotask(() => {
        scheduled = false
        start()
      })
    }

    const start = () => {
      const batch: Array<Request<A, E>> = []
      const keys = new Set<string>()
      for (const request of waiting) {
        if (keys.size >= options.maxKeys) break
        waiting.delete(request)
        batch.push(request)
        keys.add(request.key)
      }
      if (batch.length === 0) return
      running++
      fork(lookUp([...keys])).addObserver((exit) => {
        running--
        for (const { key, resume } of batch) {
          resume(Exit.map(exit, (found) => Option.fromNullable(found.get(key))))
        }
        schedule()
      })
      schedule()
    }

    return (key) =>
      Effect.async((resume) => {
        const request: Request<A, E> = { key, resume }
        waiting.add(request)
        schedule()
        return Effect.sync(() => waiting.delete(request))
      })
  })
