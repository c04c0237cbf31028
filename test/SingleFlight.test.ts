import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Scope from "effect/Scope"
import * as SingleFlight from "../src/internal/singleFlight.js"

/** Work that waits to be told its end, and counts how often it was begun and interrupted. */
const work = Effect.map(Deferred.make<string, string>(), (gate) => {
  const counts = { begun: 0, interrupted: 0 }
  const effect = Effect.suspend(() => {
    counts.begun++
    return Effect.onInterrupt(Deferred.await(gate), () => Effect.sync(() => counts.interrupted++))
  })
  return { gate, counts, effect }
})

const many = <A, E>(count: number, effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fibers = yield* Effect.forEach(Array.from({ length: count }), () => Effect.fork(effect))
    for (let i = 0; i < 10; i++) yield* Effect.yieldNow()
    return fibers
  })

describe("SingleFlight", () => {
  it.scoped("callers of one key share one run", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const { counts, effect, gate } = yield* work
      const fibers = yield* many(100, share.join("a", effect))
      yield* Deferred.succeed(gate, "done")
      expect(new Set(yield* Effect.forEach(fibers, Fiber.join))).toEqual(new Set(["done"]))
      expect(counts.begun).toBe(1)
    }))

  it.scoped("keys do not wait for each other, and a run that has ended is not shared", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const { counts, effect, gate } = yield* work
      const first = yield* many(1, share.join("a", effect))
      expect(yield* share.join("b", Effect.succeed("b"))).toBe("b")
      yield* Deferred.succeed(gate, "done")
      yield* Effect.forEach(first, Fiber.join)
      yield* share.join("a", effect)
      yield* share.join("a", effect)
      expect(counts.begun).toBe(3)
    }))

  it.scoped("a caller that needs a later run waits for the one in progress and shares the next one", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const [under, later] = [yield* work, yield* work]
      const [first] = yield* many(1, share.joinNext("a", under.effect))
      const others = yield* many(10, share.joinNext("a", later.effect))
      expect([under.counts.begun, later.counts.begun]).toEqual([1, 0])
      yield* Deferred.fail(under.gate, "refused")
      expect(yield* Effect.flip(Fiber.join(first!))).toBe("refused")
      yield* Deferred.succeed(later.gate, "later")
      expect(new Set(yield* Effect.forEach(others, Fiber.join))).toEqual(new Set(["later"]))
      expect([under.counts.begun, later.counts.begun]).toEqual([1, 1])
    }))

  it.scoped("FET-14: all waiters share a failure", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const { counts, effect, gate } = yield* work
      const fibers = yield* many(50, share.join("a", effect))
      yield* Deferred.fail(gate, "refused")
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      expect(exits.every((exit) => Exit.isFailure(exit) && Cause.squash(exit.cause) === "refused")).toBe(true)
      expect(counts.begun).toBe(1)
    }))

  it.scoped("a defect reaches all waiters, and the key is free again", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const exit = yield* Effect.exit(share.join("a", Effect.die("defect")))
      expect(Exit.isFailure(exit) && Cause.isDieType(exit.cause)).toBe(true)
      expect(yield* share.join("a", Effect.succeed("again"))).toBe("again")
    }))

  it.scoped("FET-11: the first caller can leave without failing the others", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const { counts, effect, gate } = yield* work
      const [first, ...others] = yield* many(5, share.join("a", effect))
      yield* Fiber.interrupt(first!)
      yield* Deferred.succeed(gate, "done")
      expect(yield* Effect.forEach(others, Fiber.join)).toEqual(["done", "done", "done", "done"])
      expect(counts).toEqual({ begun: 1, interrupted: 0 })
    }))

  it.scoped("FET-11: the last caller to leave interrupts the run, and the next caller starts a new one", () =>
    Effect.gen(function*() {
      const share = yield* SingleFlight.make<string, string>()
      const { counts, effect, gate } = yield* work
      const fibers = yield* many(5, share.join("a", effect))
      yield* Fiber.interruptAll(fibers)
      const next = yield* many(1, share.join("a", effect))
      expect(counts).toEqual({ begun: 2, interrupted: 1 })
      yield* Deferred.succeed(gate, "done")
      expect(yield* Effect.forEach(next, Fiber.join)).toEqual(["done"])
    }))

  it.effect("a caller that waits when the scope closes is interrupted and does not hang", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const share = yield* Scope.extend(SingleFlight.make<string, string>(), scope)
      const { effect } = yield* work
      const [before] = yield* many(1, share.join("a", effect))
      yield* Scope.close(scope, Exit.void)
      expect(Exit.isInterrupted(yield* Fiber.await(before!))).toBe(true)
      expect(Exit.isInterrupted(yield* Effect.exit(share.join("b", effect)))).toBe(true)
    }))

  it.live("a failed run is not logged as unhandled, since its waiters receive the failure", () =>
    Effect.gen(function*() {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ message }) => {
        logged.push(message)
      })
      const quiet = Effect.provide(
        Effect.gen(function*() {
          const share = yield* SingleFlight.make<string, string>()
          yield* Effect.exit(share.join("a", Effect.fail("https://app.example/secret.json")))
          yield* Effect.logTrace("heard")
        }),
        Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.All))
      )
      yield* Effect.scoped(quiet)
      expect(logged).toEqual([["heard"]])
    }))
})
