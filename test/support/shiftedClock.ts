import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** A clock that a test can put forward, while sleeps and connections take their real time. */
export const make = () => {
  const real = Clock.make()
  let ahead = 0n
  const nanos = () => real.unsafeCurrentTimeNanos() + ahead
  const millis = () => real.unsafeCurrentTimeMillis() + Number(ahead / 1_000_000n)
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: millis,
    currentTimeMillis: Effect.sync(millis),
    unsafeCurrentTimeNanos: nanos,
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) => real.sleep(duration)
  }
  return {
    /** Runs an effect by this clock. Provide its layers first. */
    run: Effect.withClock(clock),
    forward: (by: Duration.DurationInput) =>
      Effect.sync(() => {
        ahead += BigInt(Duration.toMillis(by)) * 1_000_000n
      })
  }
}
