import { BoundedStore } from "./boundedStore.js"
import * as HeapSize from "./heapSize.js"

const maxBytes = 1_048_576

/** The outcome of a fetch. `shared` is `undefined` unless it found a document that may be shared. */
interface Outcome<A> {
  readonly shared: A | undefined
  /** When the fetch started, by the cache's clock. */
  readonly fetchedAt: bigint
  /** In nanoseconds of the monotonic clock. */
  readonly sharedUntil: bigint
}

/**
 * Documents that must not be stored, each for a short time after its fetch, for the other callers on this node (CAC-19). The
 * latest fetch of a client wins, whatever its outcome was.
 */
export class SharedDocuments<A extends { readonly document: Parameters<typeof HeapSize.ofDocument>[0] }> {
  readonly #outcomes = new BoundedStore<Outcome<A>>(maxBytes)

  get(clientId: string, now: bigint): { readonly shared: A; readonly fetchedAt: bigint } | undefined {
    const outcome = this.#outcomes.get(clientId)
    if (outcome?.shared === undefined || outcome.sharedUntil <= now) return undefined
    return { shared: outcome.shared, fetchedAt: outcome.fetchedAt }
  }

  /** Keeps the outcome of a fetch, unless one that started later is here. */
  set(clientId: string, outcome: Outcome<A>): void {
    const known = this.#outcomes.get(clientId)
    if (known !== undefined && known.fetchedAt > outcome.fetchedAt) return
    const bytes = HeapSize.ofTombstone(clientId) +
      (outcome.shared === undefined ? 0 : HeapSize.ofDocument(outcome.shared.document))
    this.#outcomes.set(clientId, outcome, bytes)
  }

  delete(clientId: string): void {
    this.#outcomes.delete(clientId)
  }
}
