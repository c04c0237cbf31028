import * as Effect from "effect/Effect"
import * as ClientId from "../ClientId.js"
import type { AcceptedDocument } from "../ClientMetadata.js"
import type { FetchError } from "../Fetcher.js"
import type { HostRefused } from "../HostPolicy.js"
import { error } from "../internal/rules/ruleCatalog.js"
import * as Json from "../internal/rules/strictJson.js"
import type { Issue } from "../Issue.js"
import * as Validator from "../Validator.js"
import type { UsageError } from "./exitCode.js"
import * as Fetch from "./fetch.js"
import * as Input from "./input.js"
import * as Profile from "./profile.js"

/** A document, and the client id that it is checked against. */
export interface Source {
  readonly body: Uint8Array
  /** A string that may break the rules of a client id. `undefined` if nothing names the client. */
  readonly clientId: string | undefined
  readonly fetched: Fetch.Fetched | undefined
}

const clientIdIn = (body: Uint8Array): string | undefined => {
  const { value } = Json.parse(body)
  const clientId = Json.isObject(value) ? value["client_id"] : undefined
  return typeof clientId === "string" ? clientId : undefined
}

/**
 * Reads a document: a file, standard input, or the URL where it is published. The client id is the one that was given,
 * otherwise the URL, otherwise the `client_id` of the document.
 */
export const read = (
  name: string,
  given: string | undefined,
  choice: Fetch.Choice
): Effect.Effect<Source, UsageError | ClientId.InvalidClientId | HostRefused | FetchError> =>
  ClientId.looksLikeUrl(name)
    ? Effect.map(Fetch.fetchDocument(name, choice), (fetched) => ({
      body: fetched.body,
      clientId: given ?? fetched.clientId,
      fetched
    }))
    : Effect.map(Input.read(name), (body) => ({ body, clientId: given ?? clientIdIn(body), fetched: undefined }))

/** Every issue that a server with the profile finds in a document, and the document if it is accepted. */
export const validate = (
  { body, clientId }: Source,
  choice: Profile.Choice
): Effect.Effect<
  { readonly issues: ReadonlyArray<Issue>; readonly document: AcceptedDocument | undefined },
  UsageError
> =>
  Effect.gen(function*() {
    const validator = yield* Validator.Validator
    // The document is validated even if the string is not a client identifier, so that a developer sees all issues at once.
    return yield* Effect.match(validator.validate((clientId ?? "") as ClientId.ClientId, body), {
      onSuccess: (document) => ({ issues: document.warnings, document }),
      onFailure: (failure) => ({
        issues: failure._tag === "InvalidDocument"
          ? failure.issues.map((issue) => clientId === undefined ? withoutClientId(issue) : issue)
          : [error("DOC-22", "/token_endpoint_auth_method", failure.message)],
        document: undefined
      })
    })
  }).pipe(Effect.provide(Profile.layerValidator(
    // Without a client id there is no origin to compare with.
    clientId === undefined ? { ...choice, sameOriginRedirect: false } : choice
  )))

const withoutClientId = (issue: Issue): Issue =>
  issue.rule === "DOC-04"
    ? { ...issue, message: "The member is missing. Add it, with the URL of this document as its value." }
    : issue
