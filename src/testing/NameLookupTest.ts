/**
 * A name lookup with scripted addresses.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { NameLookup, NameLookupError } from "../NameLookup.js"

/**
 * The script of a name lookup: the addresses by host name, or a function that is called for each lookup. A host that is
 * not in the record does not exist.
 *
 * @since 0.1.0
 * @category models
 */
export type Answers =
  | Readonly<Record<string, ReadonlyArray<string>>>
  | ((host: string) => Effect.Effect<ReadonlyArray<string>, NameLookupError>)

/**
 * The error of a lookup for a name that does not exist.
 *
 * @since 0.1.0
 * @category constructors
 */
export const notFound = (host: string): NameLookupError =>
  new NameLookupError({ host, cause: Object.assign(new Error(`There is no host ${host}`), { code: "ENOTFOUND" }) })

/**
 * A lookup that returns addresses from a record or from a function. A host that is not in the record does not exist.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (answers: Answers): Layer.Layer<NameLookup> =>
  Layer.succeed(NameLookup, {
    lookup: typeof answers === "function"
      ? answers
      : (host) => Object.hasOwn(answers, host) ? Effect.succeed(answers[host] ?? []) : Effect.fail(notFound(host))
  })
