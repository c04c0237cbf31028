import { describe, expect, it } from "@effect/vitest"
import type { Cache } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Batcher from "../../src/internal/postgres/readBatcher.js"
import * as Bounded from "../../src/internal/postgres/timeout.js"

interface LookUp {
  readonly keys: ReadonlyArray<string>
  readonly done: (found: Exit.Exit<ReadonlyMap<string, string>, string>) => void
}

const patience = { millis: 10_000, late: () => "late" }

const options = { concurrency: 2, minKeys: 4, maxKeys: 20, patience }

/** Look-ups that end when they are told to. Every key but `absent` has its own upper case. */
const world = (settings = options) => {
  const lookUps: Array<LookUp> = []
  const find = Batcher.make<string, string>((keys, done) => lookUps.push({ keys, done }), settings)
  const answer = ({ done, keys }: LookUp) =>
    done(Exit.succeed(new Map(keys.filter((key) => key !== "absent").map((key) => [key, key.toUpperCase()]))))
  return { lookUps, find, answer, sizes: () => lookUps.map(({ keys }) => keys.length) }
}

const names = (count: number, prefix = "key") => Array.from({ length: count }, (_, i) => `${prefix}-${i}`)

const together = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.tap(Effect.forEach(effects, (effect) => Effect.fork(effect)), () => turn)

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("Batcher", () => {
  it.live("those that come together are shared out over what may be under way, and each has its own answer", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world()
      const fibers = yield* together([...names(15), "absent"].map(find))
      expect(sizes()).toEqual([8, 8])
      lookUps.forEach(answer)
      const found = yield* Effect.forEach(fibers, Fiber.join)
      expect(found).toEqual([...names(15).map((name) => Option.some(name.toUpperCase())), Option.none()])
    }))

  it.live("a few are not shared out, and a lone one waits for nobody", () =>
    Effect.gen(function*() {
      const { find, sizes } = world()
      yield* together(names(4).map(find))
      expect(sizes()).toEqual([4])
      yield* together([find("lone")])
      expect(sizes()).toEqual([4, 1])
    }))

  it.live("those that come while enough are under way go together, as soon as one has ended", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world()
      yield* together(names(8).map(find))
      const late = yield* together([...names(5, "late"), ...names(5, "late")].map(find))
      expect(sizes()).toEqual([4, 4])
      answer(lookUps[0]!)
      yield* turn
      // Each key once, however many ask for it.
      expect(sizes()).toEqual([4, 4, 5])
      answer(lookUps[2]!)
      expect((yield* Effect.forEach(late, Fiber.join)).every(Option.isSome)).toBe(true)
    }))

  it.live("none is larger than told", () =>
    Effect.gen(function*() {
      const { find, sizes } = world()
      yield* together(names(100).map(find))
      expect(sizes()).toEqual([20, 20])
    }))

  it.live("a failure reaches those of its own look-up, and the next are looked up", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps } = world({ ...options, concurrency: 1 })
      const failing = yield* together(names(2).map(find))
      const next = yield* together([find("next")])
      lookUps[0]!.done(Exit.fail("away"))
      expect(yield* Effect.forEach(failing, (fiber) => Effect.flip(Fiber.join(fiber)))).toEqual(["away", "away"])
      yield* turn
      answer(lookUps[1]!)
      expect(yield* Fiber.join(next[0]!)).toEqual(Option.some("NEXT"))
    }))

  it.live("one who leaves disturbs nobody", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps } = world()
      const [leaving, staying] = yield* together([find("a"), find("b")])
      yield* Fiber.interrupt(leaving!)
      answer(lookUps[0]!)
      expect(yield* Fiber.join(staying!)).toEqual(Option.some("B"))
    }))

  it.live("CAC-09: those who wait for look-ups that hang are told so in time, the first ones first", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world({ ...options, patience: { ...patience, millis: 200 } })
      yield* together(names(8).map(find))
      const told: Array<string> = []
      const telling = (name: string) =>
        Effect.tapError(find(name), (error) => Effect.sync(() => told.push(name + error)))
      const [first] = yield* together([telling("first-")])
      yield* Effect.sleep("100 millis")
      const [second] = yield* together([telling("second-")])
      yield* Effect.sleep("50 millis")
      const from = performance.now()
      yield* Fiber.await(first!)
      expect(told).toEqual(["first-late"])
      yield* Fiber.await(second!)
      expect(told).toEqual(["first-late", "second-late"])
      expect(performance.now() - from).toBeLessThan(1000)
      expect(sizes()).toEqual([4, 4])

      // Who comes then is looked up like anybody else.
      const [third] = yield* together([find("third")])
      answer(lookUps[0]!)
      yield* turn
      answer(lookUps[2]!)
      expect(yield* Fiber.join(third!)).toEqual(Option.some("THIRD"))
      expect(lookUps[2]!.keys).toEqual(["third"])
    }))

  it.live("CAC-09: of two thousand clients that are asked of a database that hangs none waits for more than two turns", () =>
    Effect.gen(function*() {
      const bounded = yield* Bounded.make("400 millis")
      let lookUps = 0
      const hang = () => {
        lookUps++
        return () => {}
      }
      const find = Batcher.make<string, Cache.CacheError>((_, done) => bounded.start("get", hang, done), {
        concurrency: 2,
        minKeys: 8,
        maxKeys: 200,
        patience: bounded.patience("get")
      })
      const errors = yield* Effect.forEach(names(2000), (name) => Effect.flip(find(name)), {
        concurrency: "unbounded"
      })
      expect(new Set(errors.map(({ _tag, operation, cause }) => `${_tag} ${operation} ${String(cause)}`))).toEqual(
        new Set(["CacheError get Error: no answer within 400ms"])
      )
      // Two at a time, so there were two turns of them, or three on a busy machine, and not five.
      expect(lookUps).toBeLessThanOrEqual(6)
    }).pipe(Effect.scoped))
})
