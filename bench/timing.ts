import * as Effect from "effect/Effect"
import { median } from "./row.js"

/** Nanoseconds that an effect takes, measured inside a fiber. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const start = process.hrtime.bigint()
    return Effect.map(effect, () => Number(process.hrtime.bigint() - start))
  })

/** The medians of two works, measured in turn, so that both meet the machine in the same mood. */
export const sideBySide = <E, R>(
  rounds: number,
  ours: Effect.Effect<unknown, E, R>,
  theirs: Effect.Effect<unknown, E, R>
): Effect.Effect<{ readonly ours: number; readonly theirs: number }, E, R> =>
  Effect.gen(function*() {
    const times = { ours: Array<number>(), theirs: Array<number>() }
    for (let round = -Math.ceil(rounds / 5); round < rounds; round++) {
      const [a, b] = round % 2 === 0
        ? [yield* timed(ours), yield* timed(theirs)]
        : [yield* timed(theirs), yield* timed(ours)].reverse() as [number, number]
      if (round < 0) continue
      times.ours.push(a)
      times.theirs.push(b)
    }
    return { ours: median(times.ours), theirs: median(times.theirs) }
  })

export const micros = (nanos: number): string => `${(nanos / 1000).toFixed(2)} µs`
