import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** Why the embedded server did not start, and what to do. */
export class EmbeddedFailure extends Data.TaggedError("EmbeddedFailure")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** Runs a promise, and fails with this message if it rejects. */
export const attempt = <A>(message: string, evaluate: () => Promise<A>): Effect.Effect<A, EmbeddedFailure> =>
  Effect.tryPromise({ try: evaluate, catch: (cause) => new EmbeddedFailure({ message, cause }) })
