import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { FetchError } from "../FetchError.js"
import { InvalidDocument, UnauthorizedClient } from "../Validator.js"

/** Why a fetch gave no document. It travels to the nodes that waited for the fetch, and to nobody else. */
export const Failure = Schema.Union(FetchError, InvalidDocument, UnauthorizedClient)
export type Failure = typeof Failure.Type

export const isFailure = Schema.is(Failure)

const FailureText = Schema.parseJson(Failure)

export const encode = Schema.encodeSync(FailureText)

/** `undefined` for a text of another version of this library. */
export const decode = (text: string): Failure | undefined =>
  Either.getOrUndefined(Schema.decodeUnknownEither(FailureText)(text))

/** The origin says that the document is gone, or serves one that is not valid: what it served before counts no more. */
export const isWithdrawal = (failure: Failure): boolean =>
  failure._tag === "InvalidDocument" ||
  (failure._tag === "StatusRefused" && (failure.status === 404 || failure.status === 410))

const faults = new Set<Failure["_tag"]>([
  "LookupFailed",
  "ConnectFailed",
  "TlsFailed",
  "FetchTimeout",
  "ResponseTruncated",
  "RedirectRefused",
  "Throttled"
])

/** The origin, or the way to it, has a fault, which says nothing about the document. 403 is what challenge pages answer. */
export const isFault = (failure: Failure): boolean =>
  failure._tag === "StatusRefused"
    ? failure.status >= 500 || failure.status === 429 || failure.status === 403
    : faults.has(failure._tag)
