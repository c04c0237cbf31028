import { it } from "@effect/vitest"
import { NameLookup } from "effect-cimd"
import { NameLookupTest } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { isIP } from "node:net"
import { afterEach, describe, expect, vi } from "vitest"

const lookup = (host: string) => Effect.flatMap(NameLookup.NameLookup, (service) => service.lookup(host))

/** The system's resolver, when it does not answer: its calls are kept and can be answered by hand. */
const resolver = vi.hoisted(() => {
  const state: { hangs: boolean; readonly answers: Array<() => void> } = { hangs: false, answers: [] }
  return state
})

vi.mock("node:dns", async (importOriginal) => {
  const dns = await importOriginal<typeof import("node:dns")>()
  type Done = (error: Error | null, answers: ReadonlyArray<{ readonly address: string }>) => void
  return {
    ...dns,
    lookup: (host: string, options: object, done: Done) =>
      resolver.hangs ? void resolver.answers.push(() => done(null, [])) : dns.lookup(host, options, done as never)
  }
})

describe("The system's name lookup", () => {
  afterEach(() => {
    resolver.hangs = false
    for (const answer of resolver.answers.splice(0)) answer()
  })

  it.live("ADR-01: gives every address of localhost, as the hosts file has it", () =>
    Effect.gen(function*() {
      const addresses = yield* lookup("localhost")
      expect(addresses.length).toBeGreaterThan(0)
      expect(addresses.filter((address) => isIP(address) === 0)).toEqual([])
      expect(addresses.some((address) => address === "127.0.0.1" || address === "::1")).toBe(true)
    }).pipe(Effect.provide(NameLookup.layer)))

  it.live("ADR-01: a name that does not exist is an error with the resolver's code", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(lookup("does-not-exist.invalid"))
      expect(error).toMatchObject({ _tag: "NameLookupError", host: "does-not-exist.invalid" })
      expect(error.message).toContain("does-not-exist.invalid")
      expect(["ENOTFOUND", "EAI_AGAIN"]).toContain((error.cause as { code?: string }).code)
    }).pipe(Effect.provide(NameLookup.layer)))

  it.live("FET-08: a resolver that hangs holds nobody up, and gets no more than 32 lookups at once", () =>
    Effect.gen(function*() {
      resolver.hangs = true
      for (let host = 0; host < 32; host++) {
        expect(yield* Effect.timeoutOption(lookup(`h${host}.example`), 5)).toMatchObject({ _tag: "None" })
      }
      expect(resolver.answers.length).toBe(32)
      const error = yield* Effect.flip(lookup("late.example"))
      expect(error.message).toContain("32 earlier lookups")
      expect(resolver.answers.length).toBe(32)
      resolver.answers.shift()?.()
      yield* Effect.timeoutOption(lookup("next.example"), 5)
      expect(resolver.answers.length).toBe(32)
    }).pipe(Effect.provide(Layer.fresh(NameLookup.layer))))
})

describe("The double of a name lookup", () => {
  it.effect("ADR-01: answers from a record, and has no other names", () =>
    Effect.gen(function*() {
      expect(yield* lookup("a.example")).toEqual(["1.2.3.4", "::1"])
      expect(yield* lookup("empty.example")).toEqual([])
      expect((yield* Effect.flip(lookup("constructor")))._tag).toBe("NameLookupError")
    }).pipe(Effect.provide(NameLookupTest.layer({ "a.example": ["1.2.3.4", "::1"], "empty.example": [] }))))

  it.effect("ADR-02: answers by a function, so that a second lookup can differ", () => {
    let count = 0
    return Effect.gen(function*() {
      expect(yield* lookup("a.example")).toEqual(["1.1.1.1"])
      expect(yield* lookup("a.example")).toEqual(["127.0.0.1"])
    }).pipe(Effect.provide(NameLookupTest.layer(() => Effect.sync(() => [count++ === 0 ? "1.1.1.1" : "127.0.0.1"]))))
  })
})
