import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { FetchError } from "../FetchError.js"
import { InvalidDocument, UnauthorizedClient } from "../Validator.js"
import { isOriginFault, isOwnLimit } from "./fetch/transientErrors.js"

/** Why a fetch gave no document. It travels to the nodes that waited for the fetch, and to nobody else. */
export const Failure = Schema.Union(FetchError, InvalidDocument, UnauthorizedClient)
export type Failure = typeof Failure.Type

export const isFailure = Schema.is(Failure)

/** What was found in the document itself, by one rule set; another may find otherwise. */
export const isVerdict = (failure: Failure): failure is InvalidDocument | UnauthorizedClient =>
  failure._tag === "InvalidDocument" || failure._tag === "UnauthorizedClient"

const FailureText = Schema.parseJson(Schema.Struct({ ruleset: Schema.String, failure: Failure }))
const encodeText = Schema.encodeSync(FailureText)
const decodeText = Schema.decodeUnknownEither(FailureText)

// A small document can have thousands of faults, which take more room than the document did.
const maxIssues = 50

export const encode = (failure: Failure, ruleset: string): string =>
  encodeText({
    ruleset,
    failure: failure._tag === "InvalidDocument"
      ? new InvalidDocument({ clientId: failure.clientId, issues: failure.issues.slice(0, maxIssues) })
      : failure
  })

/** `undefined` for a verdict of another rule set, and for a text of another version of this library. */
export const decode = (text: string, ruleset: string): Failure | undefined =>
  Either.match(decodeText(text), {
    onLeft: () => undefined,
    onRight: (told) => isVerdict(told.failure) && told.ruleset !== ruleset ? undefined : told.failure
  })

/** The origin, or the way to it, has a fault, which says nothing about the document. */
export const isFault = (failure: Failure): boolean => !isVerdict(failure) && isOriginFault(failure)

/** Whether other nodes would meet it too. */
export const concernsAll = (failure: Failure): boolean => isVerdict(failure) || !isOwnLimit(failure)

/** It says that what was fetched before is not the client's document any more. */
export const withdraws = (failure: Failure): boolean => concernsAll(failure) && !isFault(failure)
