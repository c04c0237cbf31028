import * as Effect from "effect/Effect"
import * as ClientId from "../ClientId.js"

/**
 * Wraps work on one client in a span. The span holds the host only, and of an error its code only: the client's whole
 * URL, which an error's message contains, may be confidential in its query.
 */
export const ofClient =
  (name: string, clientId: ClientId.ClientId) =>
  <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    effect.pipe(
      Effect.mapError((error) => ({ _tag: error._tag, whole: () => error })),
      Effect.withSpan(name, { attributes: { "cimd.host": ClientId.host(clientId) }, captureStackTrace: false }),
      Effect.mapError(({ whole }) => whole())
    )
