import type { ClientId } from "../ClientId.js"
import type { AcceptedDocument, ClientMetadata, Json, JsonObject } from "../ClientMetadata.js"
import type { Issue } from "../Issue.js"

const made = new WeakSet<object>()

/**
 * The only two places that may call this are the validator, which has judged the document, and a cache, which reads
 * back what the validator had judged. It freezes `json`, which nobody else may own.
 */
export const make = (fields: {
  readonly clientId: ClientId
  readonly json: JsonObject
  readonly authMethods: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<Issue>
  readonly ruleset: string
}): AcceptedDocument => {
  freeze(fields.json)
  Object.freeze(fields.authMethods)
  freeze(fields.warnings)
  const document = Object.freeze({
    clientId: fields.clientId,
    json: fields.json,
    metadata: metadata(fields.json),
    authMethods: fields.authMethods,
    warnings: fields.warnings,
    ruleset: fields.ruleset
    // The brand exists only at the type level.
  }) as AcceptedDocument
  made.add(document)
  return document
}

/** A document that has passed every built-in rule, read by its registered members. */
// The cast is true because the rules gave each registered member its registered type (DOC-14).
export const metadata = (json: JsonObject): ClientMetadata => json as unknown as ClientMetadata

/** Whether `make` made it. A type can be cast; this cannot. */
export const isAccepted = (value: unknown): value is AcceptedDocument =>
  typeof value === "object" && value !== null && made.has(value)

const freeze = (value: Json | ReadonlyArray<Issue>): void => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) {
      freeze(member)
    }
  }
}

/** A defect, not a failure: only a cast lets anything else come this far. */
export const assertAccepted = (value: unknown): void => {
  if (!isAccepted(value)) throw new TypeError("Only a document that the validator accepted can be cached (CAC-01).")
}
