import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument, ClientMetadata, Json, JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"

interface Fields {
  readonly clientId: ClientId
  readonly json: JsonObject
  readonly authMethods: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<Issue>
  readonly ruleset: string
}

class Accepted implements Fields {
  // The mark of this constructor, which nothing outside can give to an object.
  readonly #judged = true
  readonly clientId: ClientId
  readonly json: JsonObject
  readonly metadata: ClientMetadata
  readonly authMethods: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<Issue>
  readonly ruleset: string

  constructor(fields: Fields) {
    this.clientId = fields.clientId
    this.json = fields.json
    this.metadata = metadata(fields.json)
    this.authMethods = fields.authMethods
    this.warnings = fields.warnings
    this.ruleset = fields.ruleset
    Object.freeze(this)
  }

  static made(value: object): boolean {
    return #judged in value && value.#judged
  }
}

/**
 * The only two places that may call this are the validator, which has judged the document, and a cache, which reads
 * back what the validator had judged. It freezes `json`, which nobody else may own.
 */
export const make = (fields: Fields): AcceptedDocument => {
  freeze(fields.json)
  Object.freeze(fields.authMethods)
  freeze(fields.warnings)
  // The brand exists only at the type level.
  return new Accepted(fields) as AcceptedDocument & Accepted
}

/** A document that has passed every built-in rule, read by its registered members. */
// The cast is true because the rules gave each registered member its registered type (DOC-14).
export const metadata = (json: JsonObject): ClientMetadata => json as unknown as ClientMetadata

/** Whether `make` made it. A type can be cast; this cannot. */
export const isAccepted = (value: unknown): value is AcceptedDocument =>
  typeof value === "object" && value !== null && Accepted.made(value)

const freeze = (value: Json | ReadonlyArray<Issue>): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  if (Array.isArray(value)) {
    for (const element of value) freeze(element)
  } else {
    for (const name in value) freeze((value as JsonObject)[name] ?? null)
  }
}

/** A defect, not a failure: only a cast lets anything else come this far. */
export const assertAccepted = (value: unknown): void => {
  if (!isAccepted(value)) throw new TypeError("Only a document that the validator accepted can be cached (CAC-01).")
}
