import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

interface Request<A, E> {
  readonly key: string
  /** The check of the queue after which the request was queued. */
  readonly since: number
  readonly resume: (result: Exit.Exit<Option.Option<A>, E>) => void
}

// The queue is checked eight times per timeout, so a queued read times out at most 1/8 late.
const checksPerTimeout = 8

/**
 * Gathers the reads of one turn of the event loop into one batch. Reads that arrive while enough batches run go into the
 * next one. A lone read does not wait. A read that is queued behind batches that hang fails after the timeout.
 */
export const make = <A, E>(
  lookUp: (keys: ReadonlyArray<string>, done: (found: Exit.Exit<ReadonlyMap<string, A>, E>) => void) => void,
  options: {
    /** Maximum number of concurrent batches. */
    readonly concurrency: number
    /** Batches of fewer keys are not split. */
    readonly minKeys: number
    readonly maxKeys: number
    /** Maximum time that a read is queued. */
    readonly timeoutMillis: number
    readonly onTimeout: () => E
  }
): (key: string) => Effect.Effect<Option.Option<A>, E> => {
  const queue: Array<Request<A, E>> = []
  let running = 0
  let scheduled = false
  let check = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  // One timer serves all, because the queue is in the order of arrival. It runs only while requests are queued.
  const watch = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      check++
      const inTime = queue.findIndex(({ since }) => check - since <= checksPerTimeout)
      const timedOut = queue.splice(0, inTime === -1 ? queue.length : inTime)
      if (timedOut.length > 0) {
        const exit = Exit.fail(options.onTimeout())
        for (const { resume } of timedOut) resume(exit)
      }
      schedule()
    }, options.timeoutMillis / checksPerTimeout)
  }

  const schedule = () => {
    if (scheduled || queue.length === 0) return
    if (running >= options.concurrency) return watch()
    scheduled = true
    // Fibers that are about to run were queued before this microtask, so their reads are in the batch.
    queueMicrotask(start)
  }

  const start = () => {
    scheduled = false
    // The queue is split over all batches that may run, or requests that arrive together would wait for one result.
    const share = Math.ceil(queue.length / (options.concurrency - running))
    const batch = queue.splice(0, Math.min(Math.max(share, options.minKeys), options.maxKeys))
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
    // An interrupted caller stays in the queue: removing it would cost every read more than a few needless ones.
    Effect.async((resume) => {
      queue.push({ key, since: check, resume })
      schedule()
    })
}
