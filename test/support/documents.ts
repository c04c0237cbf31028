import type { ClientId, ClientMetadata } from "effect-cimd"
import * as Accepted from "../../src/internal/rules/acceptedDocument.js"

export const ruleset = "test-1"

/** A document as the validator would make it. */
export const accepted = (
  url: string,
  members: { readonly [member: string]: ClientMetadata.Json } = {},
  acceptedUnder = ruleset
): ClientMetadata.AcceptedDocument => {
  const json: ClientMetadata.JsonObject = {
    client_id: url,
    redirect_uris: ["https://app.example/callback"],
    ...members
  }
  return Accepted.make({
    clientId: url as ClientId.ClientId,
    json,
    authMethods: ["none"],
    redirectUris: Accepted.metadata(json).redirect_uris ?? [],
    warnings: [],
    ruleset: acceptedUnder
  })
}
