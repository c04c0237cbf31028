import type { ClientMetadata, HostPolicy, Issue } from "effect-cimd"
import { ClientId, Validator } from "effect-cimd"
import * as Effect from "effect/Effect"

export const url = "https://app.example.com/client.json"

/** Parses a valid client identifier. */
export const clientId = (text: string = url): ClientId.ClientId => Effect.runSync(ClientId.parse(text))

/** The smallest document that is accepted. */
export const minimal = { client_id: url, redirect_uris: ["https://app.example.com/cb"] }

export const bytes = (document: unknown): Uint8Array =>
  new TextEncoder().encode(typeof document === "string" ? document : JSON.stringify(document))

/** Validates a document: a string as it is, any other value as JSON. Returns the document or the error. */
export const outcome = (
  document: unknown,
  profile?: Validator.Profile,
  hostPolicy?: Partial<HostPolicy.HostPolicy["Type"]>
): ClientMetadata.AcceptedDocument | Validator.InvalidDocument | Validator.UnauthorizedClient =>
  Effect.runSync(Effect.merge(Validator.make(profile, hostPolicy).validate(clientId(), bytes(document))))

/** Returns every issue, whether the document is accepted or not. */
export const issuesOf = (
  document: unknown,
  profile?: Validator.Profile,
  hostPolicy?: Partial<HostPolicy.HostPolicy["Type"]>
): ReadonlyArray<Issue.Issue> => {
  const result = outcome(document, profile, hostPolicy)
  if (result instanceof Validator.UnauthorizedClient) {
    return []
  }
  return result instanceof Validator.InvalidDocument ? result.issues : result.warnings
}

/** Returns the issues of the minimal document with other members, as `severity rule path`. */
export const brief = (
  members: { readonly [name: string]: unknown },
  profile?: Validator.Profile,
  hostPolicy?: Partial<HostPolicy.HostPolicy["Type"]>
): ReadonlyArray<string> =>
  issuesOf({ ...minimal, ...members }, profile, hostPolicy).map((issue) =>
    `${issue.severity} ${issue.rule} ${issue.path}`
  )

/** Validates a document and returns it. Throws if it is not accepted. */
export const accepted = (document: unknown, profile?: Validator.Profile): ClientMetadata.AcceptedDocument => {
  const result = outcome(document, profile)
  if (result instanceof Validator.InvalidDocument || result instanceof Validator.UnauthorizedClient) {
    throw result
  }
  return result
}
