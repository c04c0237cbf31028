/** The rows that `recall` has read, for less than a second each. */
import type { Instant } from "../../../Cache.js"
import type { JsonObject } from "../../../ClientMetadata.js"
import { BoundedStore } from "../../boundedStore.js"
import * as HeapSize from "../../heapSize.js"
import type { ClientRecord } from "../../registry/clientRecord.js"
import type { StoredDocument } from "../../registry/documentRecord.js"

const maxBytes = 33_554_432

/** How long a row is trusted, from the start of its read. The rest of a second is for the caller's own work. */
const trustNanos = 900_000_000n

interface Found {
  readonly record: ClientRecord
  readonly now: Instant
}

interface Remembered extends Found {
  /** When the read started, on the monotonic clock. */
  readonly startedAt: bigint
}

/** A read of the database that memory may keep, unless a write of this node comes in between. */
export interface Reading {
  readonly startedAt: bigint
  overtaken: boolean
}

// The reader of a document remembers what it accepted as long as the document is here, so that counts as well.
const sizes = new WeakMap<StoredDocument, number>()
const sizeOf = (document: StoredDocument | undefined): number => {
  if (document === undefined) return 0
  const known = sizes.get(document)
  if (known !== undefined) return known
  const size = HeapSize.ofString(document.text) +
    // The text is that of an accepted document, which is an object.
    HeapSize.ofDocument({ json: JSON.parse(document.text) as JsonObject, warnings: [] })
  sizes.set(document, size)
  return size
}

const sizeOfRecord = (clientId: string, { accepted, consent }: ClientRecord): number =>
  HeapSize.ofTombstone(clientId) + sizeOf(consent?.document) +
  (accepted?.document === consent?.document ? 0 : sizeOf(accepted?.document))

/** A memory of rows, bounded in the bytes that they take. */
export class RecallMemory {
  readonly #clients = new BoundedStore<Remembered>(maxBytes)
  readonly #readings = new Map<string, Set<Reading>>()
  readonly #nanos: () => bigint

  constructor(nanos: () => bigint) {
    this.#nanos = nanos
  }

  /** Returns a row that is still trusted, and the database's instant by now. */
  get(clientId: string): Found | undefined {
    const known = this.#clients.get(clientId)
    if (known === undefined) return undefined
    const age = this.#nanos() - known.startedAt
    if (age >= trustNanos) return undefined
    return { record: known.record, now: known.now + age / 1000n }
  }

  /**
   * Returns the object of a document that memory has already. Its reader remembers its judgement by the object, so it stays
   * the same while the document does.
   */
  document(clientId: string, text: string, digest: string): StoredDocument | undefined {
    const record = this.#clients.get(clientId)?.record
    return [record?.accepted?.document, record?.consent?.document].find((document) =>
      document?.digest === digest && document.text === text
    )
  }

  /** Begins a read. It must be ended. */
  reading(clientId: string): Reading {
    const reading = { startedAt: this.#nanos(), overtaken: false }
    const others = this.#readings.get(clientId)
    if (others === undefined) this.#readings.set(clientId, new Set([reading]))
    else others.add(reading)
    return reading
  }

  end(clientId: string, reading: Reading): void {
    const ofClient = this.#readings.get(clientId)
    ofClient?.delete(reading)
    if (ofClient?.size === 0) this.#readings.delete(clientId)
  }

  /** Keeps what was read, unless the client was dropped since the read began. */
  set(clientId: string, { overtaken, startedAt }: Reading, { now, record }: Found): void {
    if (overtaken) return
    this.#clients.set(clientId, { record, now, startedAt }, sizeOfRecord(clientId, record))
  }

  /** Trusts nothing that was read of a client before, not even by a read that has not ended. */
  drop(clientId: string): void {
    const known = this.#clients.get(clientId)
    // Its documents stay, because the next read may find the same ones.
    if (known !== undefined) {
      const distrusted = { ...known, startedAt: known.startedAt - trustNanos }
      this.#clients.set(clientId, distrusted, sizeOfRecord(clientId, known.record))
    }
    for (const reading of this.#readings.get(clientId) ?? []) reading.overtaken = true
  }
}
