/**
 * The failure of a fetch as text, so that the node which fetched can share it with the nodes that wait for the fetch
 * (FET-14).
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { FetchError } from "../FetchError.js"
import { InvalidDocument, UnauthorizedClient } from "../Validator.js"

/** Why a fetch returned no document. */
export const Failure = Schema.Union(FetchError, InvalidDocument, UnauthorizedClient)
export type Failure = typeof Failure.Type

export const isFailure = Schema.is(Failure)

/** Whether the validator refused the document. Another rule set may accept it. */
export const isRefusedDocument = (failure: Failure): failure is InvalidDocument | UnauthorizedClient =>
  failure._tag === "InvalidDocument" || failure._tag === "UnauthorizedClient"

const FailureText = Schema.parseJson(Schema.Struct({ ruleset: Schema.String, failure: Failure }))
const encodeText = Schema.encodeSync(FailureText)
const decodeText = Schema.decodeUnknownEither(FailureText)

// A small document can break thousands of rules, and their issues take more room than the document.
const maxIssues = 50

export const encode = (failure: Failure, ruleset: string): string =>
  encodeText({
    ruleset,
    failure: failure._tag === "InvalidDocument"
      ? new InvalidDocument({ clientId: failure.clientId, issues: failure.issues.slice(0, maxIssues) })
      : failure
  })

/** Returns `undefined` for a document refused by another rule set, and for a text of another version of this library. */
export const decode = (text: string, ruleset: string): Failure | undefined =>
  Either.match(decodeText(text), {
    onLeft: () => undefined,
    onRight: (shared) => isRefusedDocument(shared.failure) && shared.ruleset !== ruleset ? undefined : shared.failure
  })
