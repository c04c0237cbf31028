import { describe, expect, it } from "@effect/vitest"
import { Cache } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as ReadBatcher from "../../src/internal/postgres/readBatcher.js"
import * as Timeout from "../../src/internal/postgres/statementTimeout.js"

interface LookUp {
  readonly keys: ReadonlyArray<string>
  readonly done: (found: Exit.Exit<ReadonlyMap<string, string>, string>) => void
}

const options = { concurrency: 2, minKeys: 4, maxKeys: 20, timeoutMillis: 10_000, onTimeout: () => "timed out" }

/** Look-ups that a test ends. Each finds the upper case of every key except `absent`. */
const world = (settings = options) => {
  const lookUps: Array<LookUp> = []
  const find = ReadBatcher.make<string, string>((keys, done) => lookUps.push({ keys, done }), settings)
  const answer = ({ done, keys }: LookUp) =>
    done(Exit.succeed(new Map(keys.filter((key) => key !== "absent").map((key) => [key, key.toUpperCase()]))))
  return { lookUps, find, answer, sizes: () => lookUps.map(({ keys }) => keys.length) }
}

const names = (count: number, prefix = "key") => Array.from({ length: count }, (_, i) => `${prefix}-${i}`)

const together = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.tap(Effect.forEach(effects, (effect) => Effect.fork(effect)), () => turn)

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("ReadBatcher", () => {
  it.live("splits concurrent reads over the batches that may run, and returns each its own result", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world()
      const fibers = yield* together([...names(15), "absent"].map(find))
      expect(sizes()).toEqual([8, 8])
      lookUps.forEach(answer)
      const found = yield* Effect.forEach(fibers, Fiber.join)
      expect(found).toEqual([...names(15).map((name) => Option.some(name.toUpperCase())), Option.none()])
    }))

  it.live("does not split a few reads, and does not queue a lone one", () =>
    Effect.gen(function*() {
      const { find, sizes } = world()
      yield* together(names(4).map(find))
      expect(sizes()).toEqual([4])
      yield* together([find("lone")])
      expect(sizes()).toEqual([4, 1])
    }))

  it.live("gathers the reads that arrive while enough batches run, and starts them when one ends", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world()
      yield* together(names(8).map(find))
      const late = yield* together([...names(5, "late"), ...names(5, "late")].map(find))
      expect(sizes()).toEqual([4, 4])
      answer(lookUps[0]!)
      yield* turn
      // Each key is looked up once, however many reads need it.
      expect(sizes()).toEqual([4, 4, 5])
      answer(lookUps[2]!)
      expect((yield* Effect.forEach(late, Fiber.join)).every(Option.isSome)).toBe(true)
    }))

  it.live("makes no batch larger than `maxKeys`", () =>
    Effect.gen(function*() {
      const { find, sizes } = world()
      yield* together(names(100).map(find))
      expect(sizes()).toEqual([20, 20])
    }))

  it.live("fails the reads of a failed batch, and runs the next batch", () =>
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

  it.live("runs the other reads of a batch when a caller is interrupted", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps } = world()
      const [leaving, staying] = yield* together([find("a"), find("b")])
      yield* Fiber.interrupt(leaving!)
      answer(lookUps[0]!)
      expect(yield* Fiber.join(staying!)).toEqual(Option.some("B"))
    }))

  it.live("CAC-09: fails reads that are queued behind hanging batches after the timeout, the first ones first", () =>
    Effect.gen(function*() {
      const { answer, find, lookUps, sizes } = world({ ...options, timeoutMillis: 200 })
      yield* together(names(8).map(find))
      const errors: Array<string> = []
      const recording = (name: string) =>
        Effect.tapError(find(name), (error) => Effect.sync(() => errors.push(name + error)))
      const [first] = yield* together([recording("first ")])
      yield* Effect.sleep("100 millis")
      const [second] = yield* together([recording("second ")])
      yield* Effect.sleep("50 millis")
      const from = performance.now()
      yield* Fiber.await(first!)
      expect(errors).toEqual(["first timed out"])
      yield* Fiber.await(second!)
      expect(errors).toEqual(["first timed out", "second timed out"])
      expect(performance.now() - from).toBeLessThan(1000)
      expect(sizes()).toEqual([4, 4])

      // A read that arrives later is looked up as usual.
      const [third] = yield* together([find("third")])
      answer(lookUps[0]!)
      yield* turn
      answer(lookUps[2]!)
      expect(yield* Fiber.join(third!)).toEqual(Option.some("THIRD"))
      expect(lookUps[2]!.keys).toEqual(["third"])
    }))

  it.live("CAC-09: fails two thousand reads of a database that hangs within two timeouts", () =>
    Effect.gen(function*() {
      const timeout = yield* Timeout.make(Cache.CacheError, "400 millis")
      let lookUps = 0
      const hang = () => {
        lookUps++
        return () => {}
      }
      const find = ReadBatcher.make<string, Cache.CacheError>((_, done) => timeout.start("get", hang, done), {
        concurrency: 2,
        minKeys: 8,
        maxKeys: 200,
        timeoutMillis: timeout.timeoutMillis,
        onTimeout: () => timeout.onTimeout("get")
      })
      const errors = yield* Effect.forEach(names(2000), (name) => Effect.flip(find(name)), {
        concurrency: "unbounded"
      })
      expect(new Set(errors.map(({ _tag, operation, cause }) => `${_tag} ${operation} ${String(cause)}`))).toEqual(
        new Set(["CacheError get Error: timed out after 400ms"])
      )
      // Two run at a time, so there were two turns of them, or three on a busy machine.
      expect(lookUps).toBeLessThanOrEqual(6)
    }).pipe(Effect.scoped))
})
