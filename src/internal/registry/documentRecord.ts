import { createHash } from "node:crypto"
import type { AcceptedDocument, JsonObject } from "../../ClientMetadata.js"
import { isAccepted } from "../rules/acceptedDocument.js"
import { canonical } from "../rules/canonicalJson.js"
import type { Difference } from "../rules/documentChange.js"
import { compare } from "../rules/documentChange.js"
import { isObject } from "../rules/strictJson.js"

/** A document as the registry keeps it. Its reader judges it again, so nothing of the earlier judgement is kept. */
export interface StoredDocument {
  /** The document in the canonical form of RFC 8785. */
  readonly text: string
  /** The SHA-256 of the text, in hexadecimal. */
  readonly digest: string
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex")

/** Throws for a document that no validator accepted, which is a defect because only a cast can pass one. */
export const store = (document: AcceptedDocument): StoredDocument => {
  if (!isAccepted(document)) {
    throw new TypeError("Only a document that the validator accepted can be confirmed, recorded or pinned (REG-01).")
  }
  const text = canonical(document.json)
  return { text, digest: digestOf(text) }
}

/** Reads what a database has of a document. Returns `undefined` if it is not what {@link store} made of an object. */
export const read = (text: string, digest: string): StoredDocument | undefined => {
  if (digestOf(text) !== digest) return undefined
  try {
    const json: unknown = JSON.parse(text)
    // Deeply nested text overflows the stack here, and not in a reader.
    return isObject(json) && canonical(json) === text ? { text, digest } : undefined
  } catch {
    return undefined
  }
}

const none: Difference = { change: "none", members: [] }

/** Compares two stored documents. Equal digests need no look at the texts. */
export const difference = (before: StoredDocument, after: StoredDocument): Difference =>
  before.digest === after.digest
    ? none
    // The texts are those of accepted documents, which are objects.
    : compare(JSON.parse(before.text) as JsonObject, JSON.parse(after.text) as JsonObject)
