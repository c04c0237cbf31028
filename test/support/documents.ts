import type { Cache, ClientId, ClientMetadata } from "effect-cimd"
import * as Effect from "effect/Effect"
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

/** A reader that accepts the documents which pass a test, and the texts of those that it was asked to validate. */
export const readerUnder = (
  ruleset: string,
  accepts: (json: ClientMetadata.JsonObject) => boolean = () => true
): Cache.Reader & { readonly validated: ReadonlyArray<string> } => {
  const validated: Array<string> = []
  return {
    ruleset,
    validated,
    validate: (clientId, body) =>
      Effect.suspend(() => {
        const text = new TextDecoder().decode(body)
        validated.push(text)
        const json: ClientMetadata.JsonObject = JSON.parse(text)
        return accepts(json) ? Effect.succeed(accepted(clientId, json, ruleset)) : Effect.fail("refused")
      })
  }
}

/** A reader of the rule set under which the documents of the tests are accepted. It accepts no others. */
export const reader = readerUnder(ruleset, () => false)
