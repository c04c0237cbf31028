import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { awaitDetached } from "./awaitDetached.js"

/** Fails as soon as an effect takes longer than allowed, also when the effect cannot be interrupted (FET-08). */
export const within = <A, E, E2>(
  effect: Effect.Effect<A, E>,
  timeoutMillis: number,
  onTimeout: () => E2
): Effect.Effect<A, E | E2> =>
  awaitDetached<A, E | E2>((start, settle) => {
    start(Effect.sleep(timeoutMillis), (exit) => {
      if (Exit.isSuccess(exit)) settle(Effect.suspend(() => Effect.fail(onTimeout())))
    })
    start(effect, settle)
  })
