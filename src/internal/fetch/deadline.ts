import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Daemons from "./awaitDetached.js"

/** Fails when an effect takes longer than it may, and at once, also when the effect cannot be interrupted (FET-08). */
export const within = <A, E, E2>(
  effect: Effect.Effect<A, E>,
  millis: number,
  late: () => E2
): Effect.Effect<A, E | E2> =>
  Daemons.wait<A, E | E2>((begin, settle) => {
    begin(Effect.sleep(millis), (exit) => {
      if (Exit.isSuccess(exit)) settle(Effect.suspend(() => Effect.fail(late())))
    })
    begin(effect, settle)
  })
