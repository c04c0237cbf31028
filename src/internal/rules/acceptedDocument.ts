import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument, ClientMetadata, Json, JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"

interface Fields {
  readonly clientId: ClientId
  readonly json: JsonObject
  readonly authMethods: ReadonlyArray<string>
  readonly redirectUris: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<Issue>
  readonly ruleset: string
}

// The documents that `make` made. An object holds no reference to this set or to its maker, so code that holds an accepted
// document cannot make another one. A class would give it away as `constructor`.
const made = new WeakSet<object>()

/**
 * Makes an accepted document. Only two callers are permitted: the validator, which has checked the document, and a
 * cache, which reads back what the validator accepted. Freezes `json`, so the caller must own it.
 */
export const make = (fields: Fields): AcceptedDocument => {
  freeze(fields.json)
  Object.freeze(fields.authMethods)
  Object.freeze(fields.redirectUris)
  freeze(fields.warnings)
  const { authMethods, clientId, json, redirectUris, ruleset, warnings } = fields
  const document = Object.freeze({
    clientId,
    json,
    metadata: metadata(json),
    authMethods,
    redirectUris,
    warnings,
    ruleset
  })
  made.add(document)
  // The brand exists only at the type level.
  return document as typeof document & AcceptedDocument
}

/** Returns a document that has passed every built-in rule, typed by its registered members. */
// The cast is safe because the rules check the type of each registered member (DOC-14).
export const metadata = (json: JsonObject): ClientMetadata => json as unknown as ClientMetadata

/** Whether `make` made the value. A cast can forge the type, but not this check. */
export const isAccepted = (value: unknown): value is AcceptedDocument =>
  typeof value === "object" && value !== null && made.has(value)

const freeze = (value: Json | ReadonlyArray<Issue>): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  if (Array.isArray(value)) {
    for (const element of value) freeze(element)
  } else {
    for (const name in value) freeze((value as JsonObject)[name] ?? null)
  }
}

/** Throws, which is a defect and not a failure, because only a cast can pass any other value. */
export const assertAccepted = (value: unknown): void => {
  if (!isAccepted(value)) throw new TypeError("Only a document that the validator accepted can be cached (CAC-01).")
}
