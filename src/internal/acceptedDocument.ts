import type { ClientId } from "../ClientId.js"
import type { AcceptedDocument, ClientMetadata, JsonObject } from "../ClientMetadata.js"
import type { Issue } from "../Issue.js"

/**
 * The only two places that may call this are the validator, which has judged the document, and a cache, which reads
 * back what the validator had judged. `json` must be deeply frozen or owned by nobody else.
 */
export const make = (fields: {
  readonly clientId: ClientId
  readonly json: JsonObject
  readonly metadata: ClientMetadata
  readonly authMethods: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<Issue>
  readonly ruleset: string
}): AcceptedDocument => Object.freeze({ ...fields }) as AcceptedDocument
