import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ClientId } from "../ClientId.js"
import type { AcceptedDocument, JsonObject } from "../ClientMetadata.js"
import * as HeapSize from "./heapSize.js"
import * as Accepted from "./rules/acceptedDocument.js"

/** The rules under which a caller reads documents. */
export interface Reader {
  /** The name of the rules. */
  readonly ruleset: string
  /**
   * Validates the JSON text of a document that was stored under other rules, and fails if it is not accepted. The cache
   * remembers the outcome as long as it has the document (CAC-11).
   */
  readonly validate: (clientId: ClientId, body: Uint8Array) => Effect.Effect<AcceptedDocument, unknown>
}

// A process has a few rule sets. A caller that makes up more of them validates again.
const maxOthers = 8

const encoder = new TextEncoder()

/** A stored document, and what the rule sets of this process make of it (CAC-11). */
export class StoredDocument {
  readonly clientId: ClientId
  readonly json: JsonObject
  /** The document as it was accepted when it was stored; `undefined` if what was derived from it is damaged. */
  readonly accepted: AcceptedDocument | undefined
  // A refused document is `undefined`.
  #others: Map<string, AcceptedDocument | undefined> | undefined = undefined

  constructor(clientId: ClientId, json: JsonObject, accepted: AcceptedDocument | undefined) {
    this.clientId = clientId
    this.json = json
    this.accepted = accepted
  }

  /** How many bytes of memory it takes, with what the rule sets of this process made of it. */
  get heapSize(): number {
    let size = HeapSize.ofDocument(this.accepted ?? { json: this.json, warnings: [] })
    for (const document of this.#others?.values() ?? []) {
      if (document !== undefined) size += HeapSize.ofDocument(document)
    }
    return size
  }

  /** The document as this rule set accepts it; `undefined` if it refuses the document or has not read it yet. */
  under(ruleset: string): AcceptedDocument | undefined {
    return this.accepted?.ruleset === ruleset ? this.accepted : this.#others?.get(ruleset)
  }

  /**
   * The document as the reader's rules accept it; `undefined` if they refuse it. Each rule set validates it once, because
   * strangers decide how often it is read.
   */
  readBy(reader: Reader): Effect.Effect<AcceptedDocument | undefined> {
    return Effect.suspend(() => {
      const known = this.under(reader.ruleset)
      if (known !== undefined || this.#others?.has(reader.ruleset) === true) return Effect.succeed(known)
      // The fetched bytes are gone. The text of a database is laid out in another way, and writes numbers in full. A damaged
      // row may be nested too deeply to be written.
      const body = Effect.try(() => encoder.encode(JSON.stringify(this.json)))
      const validated = Effect.flatMap(body, (body) => reader.validate(this.clientId, body))
      return Effect.map(Effect.option(validated), (result) => {
        const document = Option.getOrUndefined(result)
        if (document !== undefined) Accepted.assertAccepted(document)
        const others = this.#others ??= new Map()
        if (others.size >= maxOthers) others.clear()
        others.set(reader.ruleset, document)
        return document
      })
    })
  }
}

/** A document that was just accepted. */
export const of = (document: AcceptedDocument): StoredDocument =>
  new StoredDocument(document.clientId, document.json, document)
