import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

interface Request<A, E> {
  readonly key: string
  /** The part of the time in which it came. */
  readonly since: number
  readonly resume: (result: Exit.Exit<Option.Option<A>, E>) => void
}

// So that who waits is told by an eighth of the patience too late at most.
const partsOfPatience = 8

/**
 * Gathers the look-ups of one turn of the event loop into one, and those that come while enough are under way into the
 * next. A lone look-up waits for nobody. Nobody waits for ever behind look-ups that hang, so the queue has an end.
 */
export const make = <A, E>(
  lookUp: (keys: ReadonlyArray<string>, done: (found: Exit.Exit<ReadonlyMap<string, A>, E>) => void) => void,
  options: {
    /** Look-ups under way at most. */
    readonly concurrency: number
    /** So few keys are not shared out. */
    readonly minKeys: number
    readonly maxKeys: number
    /** How long one waits for its look-up to begin, and what it is told then. */
    readonly patience: { readonly millis: number; readonly late: () => E }
  }
): (key: string) => Effect.Effect<Option.Option<A>, E> => {
  const waiting: Array<Request<A, E>> = []
  let running = 0
  let scheduled = false
  let part = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  // One timer for all, as they wait in the order in which they came, and none for those who do not have to wait.
  const watch = () => {
    const { late, millis } = options.patience
    timer ??= setTimeout(() => {
      timer = undefined
      part++
      const patient = waiting.findIndex(({ since }) => part - since <= partsOfPatience)
      const overdue = waiting.splice(0, patient === -1 ? waiting.length : patient)
      if (overdue.length > 0) {
        const exit = Exit.fail(late())
        for (const { resume } of overdue) resume(exit)
      }
      schedule()
    }, millis / partsOfPatience)
  }

  const schedule = () => {
    if (scheduled || waiting.length === 0) return
    if (running >= options.concurrency) return watch()
    scheduled = true
    // The fibers that are about to run were queued before this, so what they look up is in.
    queueMicrotask(start)
  }

  const start = () => {
    scheduled = false
    // Shared out over all that may be under way, or those who came together would wait together for one answer.
    const share = Math.ceil(waiting.length / (options.concurrency - running))
    const batch = waiting.splice(0, Math.min(Math.max(share, options.minKeys), options.maxKeys))
    const keys = new Set(batch.map(({ key }) => key))
    running++
    lookUp([...keys], (exit) => {
      running--
      for (const { key, resume } of batch) {
        resume(Exit.map(exit, (found) => Option.fromNullable(found.get(key))))
      }
      schedule()
    })
    schedule()
  }

  return (key) =>
    // Who leaves is not struck off: that would cost every look-up more than the few that are made for nobody.
    Effect.async((resume) => {
      waiting.push({ key, since: part, resume })
      schedule()
    })
}
