/** The rows that `recall` has read, for less than a second each. */
import type { Instant } from "../../../Cache.js"
import type { ClientRecord } from "../../registry/clientRecord.js"
import type { StoredDocument } from "../../registry/documentRecord.js"

const maxClients = 10_000
const maxTextLength = 16_777_216

/** How long a row is trusted, from the start of its read. The rest of a second is for the caller's own work. */
const trustNanos = 900_000_000n

interface Found {
  readonly record: ClientRecord
  readonly now: Instant
}

interface Remembered extends Found {
  /** When the read started, on the monotonic clock. */
  readonly startedAt: bigint
  readonly textLength: number
}

/** A read of the database that memory may keep, unless a write of this node comes in between. */
export interface Reading {
  readonly startedAt: bigint
  overtaken: boolean
}

const textLength = ({ accepted, consent }: ClientRecord): number =>
  (consent?.document.text.length ?? 0) +
  (accepted === undefined || accepted.document === consent?.document ? 0 : accepted.document.text.length)

/**
 * A bounded memory of rows. What was read from the database the longest time ago goes first. A client in use is read every
 * second, so the order is that of use to a second, and a look at memory need not change it.
 */
export class RecallMemory {
  readonly #clients = new Map<string, Remembered>()
  readonly #readings = new Map<string, Set<Reading>>()
  readonly #nanos: () => bigint
  #textLength = 0

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
    this.#delete(clientId)
    const remembered = { record, now, startedAt, textLength: textLength(record) }
    this.#clients.set(clientId, remembered)
    this.#textLength += remembered.textLength
    for (const oldest of this.#clients.keys()) {
      if (this.#clients.size <= maxClients && this.#textLength <= maxTextLength) break
      this.#delete(oldest)
    }
  }

  /** Trusts nothing that was read of a client before, not even by a read that has not ended. */
  drop(clientId: string): void {
    const known = this.#clients.get(clientId)
    // Its documents stay, because the next read may find the same ones.
    if (known !== undefined) this.#clients.set(clientId, { ...known, startedAt: known.startedAt - trustNanos })
    for (const reading of this.#readings.get(clientId) ?? []) reading.overtaken = true
  }

  #delete(clientId: string): void {
    const known = this.#clients.get(clientId)
    if (known === undefined) return
    this.#clients.delete(clientId)
    this.#textLength -= known.textLength
  }
}
