import type { ClientMetadata, Issue } from "effect-cimd"
import { ClientId, Validator } from "effect-cimd"
import * as Effect from "effect/Effect"

export const url = "https://app.example.com/client.json"

/** A client identifier that is known to be one. */
export const clientId = (text: string = url): ClientId.ClientId => Effect.runSync(ClientId.parse(text))

/** The smallest document that is accepted. */
export const minimal = { client_id: url, redirect_uris: ["https://app.example.com/cb"] }

export const bytes = (document: unknown): Uint8Array =>
  new TextEncoder().encode(typeof document === "string" ? document : JSON.stringify(document))

/** The outcome for a document: text is taken as it is, everything else is written as JSON. */
export const outcome = (
  document: unknown,
  profile?: Validator.Profile
): ClientMetadata.AcceptedDocument | Validator.InvalidDocument | Validator.UnauthorizedClient =>
  Effect.runSync(Effect.merge(Validator.make(profile).validate(clientId(), bytes(document))))

/** Every finding, whether the document was refused or not. */
export const findings = (document: unknown, profile?: Validator.Profile): ReadonlyArray<Issue.Issue> => {
  const result = outcome(document, profile)
  if (result instanceof Validator.UnauthorizedClient) {
    return []
  }
  return result instanceof Validator.InvalidDocument ? result.issues : result.warnings
}

/** The findings of the minimal document with other members, as `severity rule path`. */
export const brief = (
  members: { readonly [name: string]: unknown },
  profile?: Validator.Profile
): ReadonlyArray<string> =>
  findings({ ...minimal, ...members }, profile).map((issue) => `${issue.severity} ${issue.rule} ${issue.path}`)

/** The document, accepted. */
export const accepted = (document: unknown, profile?: Validator.Profile): ClientMetadata.AcceptedDocument => {
  const result = outcome(document, profile)
  if (result instanceof Validator.InvalidDocument || result instanceof Validator.UnauthorizedClient) {
    throw result
  }
  return result
}
