import type { ClientId, ClientMetadata } from "effect-cimd"
import * as Accepted from "../../src/internal/rules/acceptedDocument.js"

export const ruleset = "test-1"

/** A document as the validator would make it. */
export const accepted = (
  url: string,
  members: { readonly [member: string]: ClientMetadata.Json } = {},
  acceptedUnder = ruleset
): ClientMetadata.AcceptedDocument =>
  Accepted.make({
    clientId: url as ClientId.ClientId,
    json: { client_id: url, redirect_uris: ["https://app.example/callback"], ...members },
    authMethods: ["none"],
    warnings: [],
    ruleset: acceptedUnder
  })
