import { describe, expect, it } from "@effect/vitest"
import type { ClientId } from "effect-cimd"
import { ClientRegistry, OAuthError } from "effect-cimd"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { accepted, ruleset } from "./support/documents.js"
import { registrySuite } from "./support/registrySuite.js"

registrySuite("ClientRegistry.layerMemory", {
  fresh: (options) => Layer.fresh(ClientRegistry.layerMemory(options)),
  now: Effect.map(Clock.currentTimeNanos, (nanos) => nanos / 1000n)
})

const operator = { by: "operator", reason: "a test" }

describe("ClientRegistry.layerMemory", () => {
  const invalid: ReadonlyArray<readonly [ClientRegistry.MemoryOptions, string]> = [
    [{ admission: "closed" as never }, "`admission` must be \"open\" or \"approve\", but is \"closed\""],
    [{ forgetAfter: 0 }, "`forgetAfter` must be a duration between 1 ms and 3650 days"],
    [{ recallFor: -1 }, "`recallFor` must be a duration"],
    [{ auditFor: "4000 days" }, "`auditFor` must be a duration"],
    [{ recallFor: Number.POSITIVE_INFINITY }, "`recallFor` must be a duration"],
    [{ maxClients: 0 }, "`maxClients` must be a positive integer"]
  ]
  for (const [options, issue] of invalid) {
    it.effect(`fails with InvalidOptions for ${JSON.stringify(options)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(ClientRegistry.layerMemory(options))))
        expect(error).toMatchObject({ _tag: "InvalidOptions", message: expect.stringContaining(issue) })
      }))
  }

  it.effect("reads its options from Config, and fails for invalid ones", () => {
    const admission = (mode: string) =>
      Effect.flatMap(
        ClientRegistry.ClientRegistry,
        (registry) => registry.admission("https://app.example/c" as ClientId.ClientId)
      ).pipe(
        Effect.provide(ClientRegistry.layerMemoryConfig({ admission: Config.literal("open", "approve")("MODE") })),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["MODE", mode]])))
      )
    return Effect.gen(function*() {
      expect((yield* admission("approve"))._tag).toBe("Unapproved")
      expect((yield* Effect.flip(admission("closed")))._tag).toBe("ConfigError")
    })
  })

  it.live("REG-15: when there are too many clients, the fullest site loses the least recently used one", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const confirm = (url: string) => registry.confirm({ document: accepted(url), fetchedAt: 1n })
      const confirmed = (url: string) =>
        Effect.map(registry.show(url as ClientId.ClientId), ({ consented }) => consented !== undefined)
      const crowd = ["a", "b", "c"].map((path) => `https://crowd.example/${path}`)
      yield* confirm("https://quiet.example/c")
      yield* Effect.forEach(crowd, confirm)
      yield* registry.used(crowd[0] as ClientId.ClientId)
      yield* confirm("https://new.example/c")
      expect(yield* Effect.forEach(["https://quiet.example/c", ...crowd, "https://new.example/c"], confirmed)).toEqual([
        true,
        true,
        false,
        true,
        true
      ])
    }).pipe(Effect.provide(ClientRegistry.layerMemory({ maxClients: 4 }))))

  it.live("REG-15: a pinned document has at most 64 KiB, and all of them 16 MiB", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const pin = (path: string, length: number) =>
        registry.pin(accepted(`https://app.example/${path}`, { text: "a".repeat(length) }), operator)
      const rules = (error: { readonly _tag: string; readonly issues?: ReadonlyArray<{ readonly rule: string }> }) =>
        error.issues?.map(({ rule }) => rule)
      expect(rules(yield* Effect.flip(pin("large", 65_536)))).toEqual(["REG-15"])
      for (let i = 0; i < 260; i++) yield* pin(String(i), 64_000)
      expect(rules(yield* Effect.flip(Effect.forEach(["x", "y", "z"], (path) => pin(path, 64_000))))).toEqual([
        "REG-15"
      ])
      yield* registry.unpin("https://app.example/1" as ClientId.ClientId, operator)
      yield* pin("instead of 1", 64_000)
      expect(rules(yield* Effect.flip(pin("one more", 64_000)))).toEqual(["REG-15"])
      yield* pin("2", 1)
      yield* pin("instead of 2", 64_000)
    }).pipe(Effect.provide(ClientRegistry.layerMemory())))

  it.live("REG-10: an admission is computed again after each decision, also of a client that was remembered", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const clientId = "https://app.example/c" as ClientId.ClientId
      yield* registry.block("other.example", operator)
      for (let i = 0; i < 3; i++) {
        expect(registry.peekAdmission(clientId)?._tag).toBe("Admitted")
        yield* registry.block("app.example", operator)
        expect(registry.peekAdmission(clientId)?._tag).toBe("Blocked")
        yield* registry.unblock("app.example", operator)
      }
      // More clients than are remembered.
      for (let i = 0; i < 10_001; i++) registry.peekAdmission(`https://app.example/${i}` as ClientId.ClientId)
      yield* registry.block("app.example", operator)
      expect(registry.peekAdmission("https://app.example/1" as ClientId.ClientId)?._tag).toBe("Blocked")
    }).pipe(Effect.provide(ClientRegistry.layerMemory())))

  it.live("REG-13: a slow subscriber loses the oldest events, and nobody waits for it", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      const released = yield* Deferred.make<void>()
      const errors = yield* Effect.fork(
        registry.events.pipe(
          Stream.tap(() => Deferred.await(released)),
          Stream.map((event) => event._tag === "Refused" ? Number(event.error) : -1),
          Stream.takeUntil((count) => count === 4999),
          Stream.runCollect
        )
      )
      yield* Effect.sleep("50 millis")
      yield* Effect.forEach(
        Array.from({ length: 5000 }, (_, i) => String(i)),
        (error) => registry.refused("https://app.example/c", error)
      ).pipe(Effect.timeout("5 seconds"))
      yield* Deferred.succeed(released, undefined)
      const received = Chunk.toReadonlyArray(yield* Fiber.join(errors))
      expect(received.slice(-1024)).toEqual(Array.from({ length: 1024 }, (_, i) => 5000 - 1024 + i))
      expect(received.length).toBeLessThan(1100)
    }).pipe(Effect.provide(ClientRegistry.layerMemory())))

  it.live("REG-13: the events end with the registry", () =>
    Effect.gen(function*() {
      const events = yield* Effect.provide(
        Effect.gen(function*() {
          const { events } = yield* ClientRegistry.ClientRegistry
          const fiber = yield* Effect.forkDaemon(Stream.runDrain(events))
          yield* Effect.sleep("20 millis")
          return fiber
        }),
        ClientRegistry.layerMemory()
      )
      expect((yield* Effect.timeout(Fiber.await(events), "2 seconds"))._tag).toBeDefined()
    }))

  it("REG-14: while the registry fails, clients are refused for now and keep their credentials", () => {
    const error = new ClientRegistry.RegistryError({ operation: "admission", cause: new Error("away") })
    expect(error.oauthError).toBe(OAuthError.temporarilyUnavailable)
    expect(error.message).toContain("could not read the decisions")
    expect(error.cause).toEqual(new Error("away"))
  })

  it("REG-12: a client without approval is refused with a text of its own", () => {
    const { oauthError } = new ClientRegistry.ClientUnapproved({ clientId: "https://app.example/c", rejected: false })
    expect(oauthError).toBe(OAuthError.unapprovedClient)
    expect(oauthError.error_description).not.toBe(OAuthError.invalidClient.error_description)
    expect(oauthError.error_description).not.toBe(OAuthError.temporarilyUnavailable.error_description)
  })

  it.live("the messages of its errors name the client and what to do", () =>
    Effect.gen(function*() {
      const clientId = "https://app.example/c"
      const { ClientBlocked, ClientUnapproved, NotRecalled, RegistryError } = ClientRegistry
      expect(new ClientBlocked({ clientId, subject: "app.example/", by: "eve", reason: "a\u001b" }).message).toBe(
        "The client \"https://app.example/c\" is blocked by a decision on \"app.example/\" of \"eve\": \"a\\u001b\""
      )
      expect(new ClientUnapproved({ clientId, rejected: false }).message).toContain("call `requestApproval`")
      expect(new ClientUnapproved({ clientId, rejected: true }).message).toContain("rejected")
      expect(new NotRecalled({ clientId, reason: "tooOld" }).message).toContain("not since its eviction")
      expect(new RegistryError({ operation: "recall", cause: "x" }).message).toContain("could not recall a client")
      const registry = yield* ClientRegistry.ClientRegistry
      const error = yield* Effect.flip(registry.block("*", operator))
      expect(error.message).toMatch(
        /^The decision cannot be recorded:\n- error REG-11 at \/subject: "\*" names no clients/
      )
      expect(yield* Effect.flip(registry.recall(clientId as ClientId.ClientId, ruleset))).toBeInstanceOf(NotRecalled)
    }).pipe(Effect.provide(ClientRegistry.layerMemory())))
})
