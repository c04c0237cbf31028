import { describe, expect, it, layer } from "@effect/vitest"
import type { Cache, ClientId, ClientMetadata } from "effect-cimd"
import { ClientRegistry } from "effect-cimd"
import type * as Arr from "effect/Array"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { accepted, ruleset } from "./documents.js"

type Registry = Layer.Layer<ClientRegistry.ClientRegistry, unknown>

/** A registry to test. */
export interface Subject {
  /** Makes an empty registry. */
  readonly fresh: (options?: ClientRegistry.Options) => Registry
  /** Makes nodes of one empty registry. By default there is one. */
  readonly cluster?: (
    options?: ClientRegistry.Options
  ) => Effect.Effect<Arr.NonEmptyReadonlyArray<ClientRegistry.ClientRegistry["Type"]>, unknown, Scope.Scope>
  /** The registry's clock. */
  readonly now: Effect.Effect<Cache.Instant>
}

const second = 1_000_000n
const minute = 60n * second
const day = 1440n * minute

let next = 0
/** Returns a client that no other test uses, on a host of its own. */
const newClient = () => `https://app-${next++}.example/clients/client.json` as ClientId.ClientId

const operator = { by: "operator", reason: "a test" }

const registry = ClientRegistry.ClientRegistry

const recall = (clientId: ClientId.ClientId, under = ruleset) =>
  Effect.flatMap(
    registry,
    (registry) => Effect.catchTag(registry.recall(clientId, under), "NotRecalled", (error) => Effect.succeed(error))
  )

/** Returns the name of the recalled document, or why there is none. */
const recalledName = (clientId: ClientId.ClientId, under = ruleset) =>
  Effect.map(recall(clientId, under), (recalled) => "reason" in recalled ? recalled.reason : nameIn(recalled.document))

const nameIn = (document: ClientRegistry.StoredDocument | undefined): unknown =>
  document === undefined ? undefined : JSON.parse(document.text).client_name

const named = (clientId: ClientId.ClientId, client_name: string, members: ClientMetadata.JsonObject = {}) =>
  accepted(clientId, { client_name, ...members })

const admissionOf = (clientId: ClientId.ClientId) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    const admission = yield* registry.admission(clientId)
    expect(registry.peekAdmission(clientId)).toEqual(admission)
    return admission._tag
  })

/** The tests that every registry passes. */
export const registrySuite = (name: string, { cluster, fresh, now }: Subject) => {
  const nodesOf: NonNullable<Subject["cluster"]> = cluster ??
    ((options) => Effect.map(Layer.build(fresh(options)), (context) => [Context.get(context, registry)]))

  const ago = (micros: bigint) => Effect.map(now, (now) => now - micros)

  /** Confirms a client with a document that was fetched some time ago. */
  const confirm = (clientId: ClientId.ClientId, name = "consented", micros = 0n) =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      yield* registry.confirm({ document: named(clientId, name), fetchedAt: yield* ago(micros) })
    })

  const recordFetch = (document: ClientMetadata.AcceptedDocument, fetchedAt: Cache.Instant) =>
    Effect.flatMap(registry, (registry) => registry.recordFetch(document, { fetchedAt, timeToLive: "1 hour" }))

  layer(fresh(), { excludeTestServices: true })(name, (it) => {
    it.effect("REG-01: keeps the text and digest of what was consented to, beside the last accepted document", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const before = yield* now
        const shown = named(clientId, "Ünïcode \u{1F600}", { custom: { b: [1e21, null], a: "\u2028" } })
        yield* registry.confirm({ document: shown, fetchedAt: before })
        yield* recordFetch(named(clientId, "later"), yield* now)
        const { accepted, consented, usedAt } = yield* registry.show(clientId)
        expect(consented?.document.digest).toBe(ClientRegistry.digest(shown))
        expect(JSON.parse(consented?.document.text ?? "")).toEqual(shown.json)
        expect(consented?.at).toBeGreaterThanOrEqual(before)
        expect(usedAt).toBe(consented?.at)
        expect(nameIn(accepted?.document)).toBe("later")
        expect(accepted?.document.digest).toBe(ClientRegistry.digest(named(clientId, "later")))
      }))

    it.effect("REG-01: a document has one digest, whatever the order of its members", () =>
      Effect.gen(function*() {
        const clientId = newClient()
        const [one, other] = [{ a: 1, b: { c: 1, d: 2 } }, { b: { d: 2, c: 1 }, a: 1 }]
        expect(ClientRegistry.digest(accepted(clientId, one))).toBe(ClientRegistry.digest(accepted(clientId, other)))
        expect(ClientRegistry.digest(accepted(clientId, one))).toMatch(/^[0-9a-f]{64}$/)
        expect(ClientRegistry.digest(accepted(clientId, { a: 2 }))).not.toBe(
          ClientRegistry.digest(accepted(clientId, one))
        )
      }))

    it.effect("REG-01: a document that no validator accepted is a defect", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const forged = { ...named(clientId, "forged") }
        for (
          const call of [
            registry.confirm({ document: forged, fetchedAt: 0n }),
            registry.pin(forged, operator)
          ]
        ) expect((yield* Effect.exit(call))._tag).toBe("Failure")
        expect(yield* registry.show(clientId)).toMatchObject({ consented: undefined, decisions: [] })
      }))

    it.effect("REG-05: a consent that knows the lifetime of its document is not expired before that ends", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const fetchedAt = yield* ago(10n * minute)
        const expiredAfter = (lifetimeMillis?: number) =>
          Effect.gen(function*() {
            const clientId = newClient()
            yield* registry.confirm({ document: named(clientId, "shown"), fetchedAt, lifetimeMillis })
            return (yield* registry.recall(clientId, ruleset)).expired
          })
        expect(yield* expiredAfter(11 * 60_000)).toBe(false)
        expect(yield* expiredAfter(9 * 60_000)).toBe(true)
        expect(yield* expiredAfter()).toBe(true)
      }))

    it.effect("REG-02: a fetch of a client that is not confirmed writes nothing", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* recordFetch(named(clientId, "stranger"), yield* now)
        yield* registry.withdraw(clientId, { fetchedAt: yield* now })
        yield* registry.used(clientId)
        expect(yield* registry.show(clientId)).toEqual({
          clientId,
          admission: { _tag: "Admitted" },
          decisions: [],
          request: undefined,
          consented: undefined,
          usedAt: undefined,
          accepted: undefined,
          changed: undefined,
          changedMembers: [],
          withdrawals: [],
          evictedAt: undefined
        })
        expect(yield* recalledName(clientId)).toBe("unconfirmed")
      }))

    it.effect("REG-02: the fetch that started last is recalled, in whatever order they arrive", () =>
      Effect.gen(function*() {
        const clientId = newClient()
        yield* confirm(clientId, "consented", 10n * minute)
        const start = yield* ago(5n * minute)
        const fetches = Array.from({ length: 12 }, (_, i) => ({ name: `fetch ${i}`, at: start + BigInt(i) }))
        yield* Effect.forEach(
          fetches.map((_, i) => fetches[(i * 5) % 12]!),
          ({ at, name }) => recordFetch(named(clientId, name), at),
          { concurrency: "unbounded" }
        )
        expect(yield* recalledName(clientId)).toBe("fetch 11")
      }))

    it.effect("REG-02: a start in the future counts as now, so a later fetch still comes later", () =>
      Effect.gen(function*() {
        const clientId = newClient()
        yield* confirm(clientId)
        const future = (yield* now) + day
        yield* recordFetch(named(clientId, "future"), future)
        expect(yield* recall(clientId)).toSatisfy((recalled) => "fetchedAt" in recalled && recalled.fetchedAt < future)
        yield* Effect.sleep(5)
        yield* recordFetch(named(clientId, "present"), yield* now)
        expect(yield* recalledName(clientId)).toBe("present")
      }))

    it.effect("REG-03, REG-05: a document without a lifetime is recalled, and says that it has expired", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId)
        yield* registry.recordFetch(named(clientId, "no-store"), { fetchedAt: yield* now, timeToLive: 0 })
        expect(yield* recall(clientId)).toMatchObject({ source: "origin", expired: true, changed: "display" })
        yield* registry.recordFetch(named(clientId, "fresh"), { fetchedAt: yield* now, timeToLive: "1 hour" })
        expect(yield* recall(clientId)).toMatchObject({ expired: false })
      }))

    it.effect("REG-04: a client is confirmed from its consent until it is forgotten, whatever else happens to it", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const calls = {
          pin: registry.pin(named(clientId, "pinned"), operator),
          "recordFetch before the consent": recordFetch(named(clientId, "stranger"), yield* now),
          confirm: confirm(clientId),
          recall: recall(clientId),
          used: registry.used(clientId),
          withdraw: registry.withdraw(clientId, { fetchedAt: yield* ago(-minute) }),
          evict: registry.evict(clientId, operator),
          block: registry.block(clientId, operator),
          forget: registry.forget(clientId),
          "used after forget": registry.used(clientId),
          "confirm again": confirm(clientId)
        }
        expect(yield* registry.isConfirmed(clientId)).toBe(false)
        const confirmed: Array<string> = []
        for (
          const [name, call] of Object.entries<Effect.Effect<unknown, unknown, ClientRegistry.ClientRegistry>>(calls)
        ) {
          yield* call
          if (yield* registry.isConfirmed(clientId)) confirmed.push(name)
          expect(yield* registry.isConfirmed(newClient())).toBe(false)
        }
        expect(confirmed).toEqual(["confirm", "recall", "used", "withdraw", "evict", "block", "confirm again"])
      }))

    it.effect("REG-04: forget ends the confirmation, and no decision", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId)
        yield* registry.pin(named(clientId, "pinned"), operator)
        yield* registry.approve(clientId, operator)
        yield* registry.forget(clientId)
        expect(yield* recalledName(clientId)).toBe("unconfirmed")
        yield* registry.used(clientId)
        expect(yield* recalledName(clientId)).toBe("unconfirmed")
        const { decisions } = yield* registry.show(clientId)
        expect(decisions.map(({ decision }) => decision).sort()).toEqual(["allowed", "pinned"])
        yield* registry.forget(newClient())
      }))

    it.effect("REG-05: a confirmed client is recalled with the document of its consent", () =>
      Effect.gen(function*() {
        const clientId = newClient()
        const fetchedAt = yield* ago(minute)
        const registry = yield* ClientRegistry.ClientRegistry
        yield* registry.confirm({ document: named(clientId, "consented"), fetchedAt })
        expect(yield* recall(clientId)).toMatchObject({ source: "origin", fetchedAt, changed: "none" })
        expect(yield* recalledName(clientId)).toBe("consented")
        expect(yield* recalledName(newClient())).toBe("unconfirmed")
      }))

    it.effect("REG-05: a document is recalled for 30 days after the start of its last good fetch", () =>
      Effect.gen(function*() {
        const [young, old, refetched] = [newClient(), newClient(), newClient()]
        yield* confirm(young, "young", 30n * day - minute)
        yield* confirm(old, "old", 30n * day)
        yield* confirm(refetched, "old", 40n * day)
        yield* recordFetch(named(refetched, "new"), yield* ago(29n * day))
        expect(yield* recalledName(young)).toBe("young")
        expect(yield* recalledName(old)).toBe("tooOld")
        expect(yield* recalledName(refetched)).toBe("new")
      }))

    it.effect("REG-06: a hijacked document shows as a security change, until the user consents to it", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId, "App")
        const changedTo = (document: ClientMetadata.AcceptedDocument) =>
          Effect.gen(function*() {
            yield* recordFetch(document, yield* now)
            const recalled = yield* recall(clientId)
            const { changed, changedMembers } = yield* registry.show(clientId)
            expect("reason" in recalled ? recalled.reason : recalled.changed).toBe(changed)
            return [changed, ...changedMembers]
          })
        expect(yield* changedTo(named(clientId, "App"))).toEqual(["none"])
        expect(yield* changedTo(named(clientId, "Application"))).toEqual(["display", "client_name"])
        const hijacked = named(clientId, "App", { redirect_uris: ["https://evil.example/callback"] })
        expect(yield* changedTo(hijacked)).toEqual(["security", "redirect_uris"])
        yield* registry.confirm({ document: hijacked, fetchedAt: yield* now })
        expect(yield* changedTo(hijacked)).toEqual(["none"])
      }))

    it.effect("REG-07: a second fetch at least a minute later withdraws a document, for every rule set", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId, "App", 10n * minute)
        const first = yield* ago(5n * minute)
        const afterFind = (fetchedAt: Cache.Instant) =>
          Effect.zipRight(registry.withdraw(clientId, { fetchedAt }), recalledName(clientId))
        expect(yield* afterFind(first)).toBe("App")
        expect(yield* afterFind(first)).toBe("App")
        expect(yield* afterFind(first + minute - 1n)).toBe("App")
        expect(yield* afterFind(first + minute)).toBe("withdrawn")
        expect(yield* recalledName(clientId, "other-rules")).toBe("withdrawn")
        yield* recordFetch(named(clientId, "back"), yield* ago(minute))
        expect(yield* recalledName(clientId)).toBe("back")
        expect((yield* registry.show(clientId)).withdrawals).toEqual([])
      }))

    it.effect("REG-07: what a rule set refuses is withdrawn for that rule set only", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId, "App", 10n * minute)
        const first = yield* ago(5n * minute)
        yield* registry.withdraw(clientId, { fetchedAt: first, ruleset: "stricter" })
        yield* registry.withdraw(clientId, { fetchedAt: first + minute, ruleset: "other" })
        expect(yield* recalledName(clientId, "stricter")).toBe("App")
        yield* registry.withdraw(clientId, { fetchedAt: first + 2n * minute, ruleset: "stricter" })
        expect(yield* recalledName(clientId, "stricter")).toBe("withdrawn")
        expect(yield* recalledName(clientId, "other")).toBe("App")
        expect(yield* recalledName(clientId)).toBe("App")
      }))

    it.effect("REG-07: a find before the last good fetch does not count, and one between two finds starts over", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const [late, between] = [newClient(), newClient()]
        const start = yield* ago(20n * minute)
        for (const clientId of [late, between]) yield* confirm(clientId, "App", 30n * minute)
        yield* recordFetch(named(late, "good"), start + 5n * minute)
        yield* registry.withdraw(late, { fetchedAt: start })
        yield* registry.withdraw(late, { fetchedAt: start + 2n * minute })
        yield* registry.withdraw(late, { fetchedAt: start + 6n * minute })
        expect(yield* recalledName(late)).toBe("good")
        yield* registry.withdraw(between, { fetchedAt: start })
        yield* registry.withdraw(between, { fetchedAt: start + 10n * minute })
        expect(yield* recalledName(between)).toBe("withdrawn")
        yield* recordFetch(named(between, "good"), start + 5n * minute)
        expect(yield* recalledName(between)).toBe("good")
        yield* registry.withdraw(between, { fetchedAt: start + 11n * minute })
        expect(yield* recalledName(between)).toBe("withdrawn")
      }))

    it.effect("REG-08: evict acts at once, waits for a fetch that starts later, and keeps the client confirmed", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId)
        const during = yield* now
        yield* Effect.sleep(5)
        yield* registry.evict(clientId, operator)
        expect(yield* recalledName(clientId)).toBe("tooOld")
        expect(nameIn((yield* registry.show(clientId)).consented?.document)).toBe("consented")
        yield* recordFetch(named(clientId, "during"), during)
        expect(yield* recalledName(clientId)).toBe("tooOld")
        yield* Effect.sleep(5)
        yield* recordFetch(named(clientId, "after"), yield* now)
        expect(yield* recalledName(clientId)).toBe("after")
      }))

    it.effect("REG-08: consent to a document from before an eviction does not bring it back", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* registry.evict(clientId, operator)
        yield* confirm(clientId, "shown before", second)
        expect(yield* recalledName(clientId)).toBe("tooOld")
        yield* registry.forget(clientId)
        yield* confirm(clientId, "shown before", second)
        expect(yield* recalledName(clientId)).toBe("tooOld")
      }))

    it.effect("REG-09: a pinned document is recalled of a confirmed client, compared with the consent, and never ages", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* registry.pin(named(clientId, "pinned"), operator)
        expect(yield* admissionOf(clientId)).toBe("Pinned")
        expect(yield* recalledName(clientId)).toBe("unconfirmed")
        yield* registry.confirm({ document: named(clientId, "pinned"), fetchedAt: undefined })
        expect(yield* recall(clientId)).toMatchObject({ source: "pin", expired: false, changed: "none" })
        yield* registry.evict(clientId, operator)
        yield* registry.pin(named(clientId, "pinned", { scope: "more" }), operator)
        expect(yield* recall(clientId)).toMatchObject({ source: "pin", changed: "security" })
        expect(yield* registry.unpin(clientId, operator)).toBe(true)
        expect(yield* registry.unpin(clientId, operator)).toBe(false)
        expect(yield* admissionOf(clientId)).toBe("Admitted")
        expect(yield* recalledName(clientId)).toBe("tooOld")
      }))

    it.effect("REG-10: a block wins over a pin and an approval, in whatever order they were decided", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const host = new URL(clientId).hostname
        yield* confirm(clientId)
        yield* registry.block(`${host}/clients/`, operator)
        yield* registry.pin(named(clientId, "pinned"), operator)
        yield* registry.allow(clientId, operator)
        expect(yield* admissionOf(clientId)).toBe("Blocked")
        expect(yield* recalledName(clientId)).toBe("blocked")
        expect(yield* registry.unblock(host, operator)).toBe(false)
        expect(yield* registry.unblock(`${host}/clients/`, operator)).toBe(true)
        expect(yield* admissionOf(clientId)).toBe("Pinned")
        expect(yield* recalledName(clientId)).toBe("pinned")
        yield* registry.block(clientId, operator)
        expect(yield* recalledName(clientId)).toBe("blocked")
        expect(yield* registry.unblock(clientId, operator)).toBe(true)
        expect(yield* recalledName(clientId)).toBe("pinned")
      }))

    it.effect("REG-11: a block by pattern names the pattern, and concerns no other client", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const [clientId, other] = [newClient(), newClient()]
        const host = new URL(clientId).hostname
        yield* registry.block(host, { by: "eve", reason: "abuse" })
        const admission = yield* registry.admission(clientId)
        expect(admission).toMatchObject({ block: { subject: `${host}/`, by: "eve", reason: "abuse" } })
        expect(yield* admissionOf(other)).toBe("Admitted")
        expect((yield* registry.show(clientId)).decisions).toMatchObject([{ decision: "blocked", subject: `${host}/` }])
        expect(yield* registry.unblock(`${host}/`, operator)).toBe(true)
        expect(yield* admissionOf(clientId)).toBe("Admitted")
      }))

    it.effect("REG-11, REG-13: a malformed decision is refused with every issue, and changes nothing", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const before = yield* registry.audit()
        const clientId = newClient()
        const rulesOf = <A>(effect: Effect.Effect<A, ClientRegistry.InvalidDecision | ClientRegistry.RegistryError>) =>
          Effect.map(
            Effect.flip(effect),
            (error) =>
              error._tag === "InvalidDecision" ? error.issues.map(({ path, rule }) => `${rule} ${path}`) : error
          )
        for (const change of [registry.block, registry.unblock, registry.allow, registry.disallow]) {
          expect(yield* rulesOf<unknown>(change("app.example/x", { by: "", reason: "a\nb" }))).toEqual([
            "REG-11 /subject",
            "REG-13 /by",
            "REG-13 /reason"
          ])
        }
        for (const change of [registry.approve, registry.reject, registry.unpin, registry.evict]) {
          for (const reason of ["", "   ", "a".repeat(1025), "\ud800", "\u001b[2J", "\u2028"]) {
            expect(yield* rulesOf<unknown>(change(clientId, { reason }))).toEqual(["REG-13 /reason"])
          }
          expect(yield* rulesOf<unknown>(change(clientId, { by: "a".repeat(257), reason: "a" }))).toEqual([
            "REG-13 /by"
          ])
        }
        expect(yield* rulesOf(registry.pin(named(clientId, "pinned"), { reason: "" }))).toEqual(["REG-13 /reason"])
        expect(yield* registry.audit()).toEqual(before)
      }))

    it.effect("REG-13: each decision is in the audit with who, when and why; what changes nothing is not", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const pinned = named(clientId, "pinned")
        const before = yield* now
        const calls = [
          ["block", registry.block(clientId, { by: "a", reason: "1" })],
          ["unblock", registry.unblock(clientId, { by: "b", reason: "2" })],
          [undefined, registry.unblock(clientId, { by: "c", reason: "3" })],
          ["allow", registry.allow(clientId, { by: "d", reason: "4" })],
          ["reject", registry.reject(clientId, { by: "e", reason: "5" })],
          ["approve", registry.approve(clientId, { by: "f", reason: "6" })],
          ["disallow", registry.disallow(clientId, { by: "g", reason: "7" })],
          [undefined, registry.disallow(clientId, { by: "h", reason: "8" })],
          ["pin", registry.pin(pinned, { by: "i", reason: "9" })],
          ["evict", registry.evict(clientId, { by: "j", reason: "10" })],
          ["unpin", registry.unpin(clientId, { by: "k", reason: "11" })],
          [undefined, registry.unpin(clientId, { by: "l", reason: "12" })]
        ] as const
        for (const [, call] of calls) yield* call
        const audit = yield* registry.audit({ subject: clientId })
        expect(audit.toReversed().map(({ decision }) => decision)).toEqual(
          calls.flatMap(([decision]) => decision === undefined ? [] : [decision])
        )
        expect(audit.toReversed().map(({ by, reason }) => by + reason)).toEqual(
          calls.flatMap(([decision], i) => decision === undefined ? [] : ["abcdefghijkl"[i]! + String(i + 1)])
        )
        for (const { at, decision, digest } of audit) {
          expect(at).toBeGreaterThanOrEqual(before)
          expect(digest).toBe(decision === "pin" ? ClientRegistry.digest(pinned) : undefined)
        }
        expect(yield* registry.audit({ subject: clientId, limit: 1 })).toEqual(audit.slice(0, 1))
        yield* registry.block(clientId, { reason: "who?" })
        expect((yield* registry.audit({ limit: 1 }))[0]?.by).not.toBe("")
      }))

    it.effect("REG-13: decisions and refusals are events, for every subscriber", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        const ofClient = registry.events.pipe(
          Stream.filter((event) => (event._tag === "Decided" ? event.entry.subject : event.clientId) === clientId),
          Stream.take(2),
          Stream.runCollect,
          Effect.map(Chunk.toReadonlyArray)
        )
        const fibers = [yield* Effect.fork(ofClient), yield* Effect.fork(ofClient)]
        yield* Effect.sleep(50)
        yield* registry.block(clientId, operator)
        yield* registry.refused(clientId, "ClientBlocked")
        for (const fiber of fibers) {
          expect(yield* Fiber.join(fiber)).toMatchObject([
            { _tag: "Decided", entry: { decision: "block", by: "operator" } },
            { _tag: "Refused", clientId, error: "ClientBlocked" }
          ])
        }
      }))
  })

  layer(fresh({ admission: "approve" }), { excludeTestServices: true })(`${name} with approval`, (it) => {
    it.effect("REG-12: only clients that are approved, allowed or pinned are admitted", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clients = [newClient(), newClient(), newClient(), newClient(), newClient()] as const
        const [unknown, approved, allowed, byHost, pinned] = clients
        expect(yield* Effect.forEach(clients, admissionOf)).toEqual(clients.map(() => "Unapproved"))
        yield* registry.approve(approved, operator)
        yield* registry.allow(allowed, operator)
        yield* registry.allow(`${new URL(byHost).hostname}/clients/`, operator)
        yield* registry.pin(named(pinned, "pinned"), operator)
        expect(yield* admissionOf(unknown)).toBe("Unapproved")
        expect(yield* Effect.forEach(clients.slice(1, 4), admissionOf)).toEqual(["Admitted", "Admitted", "Admitted"])
        expect(yield* admissionOf(pinned)).toBe("Pinned")
        yield* registry.block(approved, operator)
        expect(yield* admissionOf(approved)).toBe("Blocked")
      }))

    it.effect("REG-10: a rejection wins over an allowed pattern, and a later approval over the rejection", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* registry.allow(new URL(clientId).hostname, operator)
        yield* registry.reject(clientId, { by: "eve", reason: "no" })
        expect(yield* registry.admission(clientId)).toMatchObject({ _tag: "Unapproved", rejection: { by: "eve" } })
        yield* registry.approve(clientId, operator)
        expect(yield* admissionOf(clientId)).toBe("Admitted")
        yield* registry.reject(clientId, operator)
        expect(yield* registry.disallow(clientId, operator)).toBe(true)
        expect(yield* admissionOf(clientId)).toBe("Admitted")
        expect(yield* registry.disallow(new URL(clientId).hostname, operator)).toBe(true)
        expect(yield* admissionOf(clientId)).toBe("Unapproved")
      }))

    it.effect("REG-12: a request is recorded once, for a client without a decision, until there is one", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const [clientId, rejected, blocked, allowed] = [newClient(), newClient(), newClient(), newClient()]
        const request = (clientId: ClientId.ClientId, by = "user") => registry.requestApproval(clientId, { by })
        expect(yield* request(clientId, "first")).toBe("recorded")
        expect(yield* request(clientId, "second")).toBe("recorded")
        expect(yield* registry.requests).toMatchObject([{ clientId, by: "first" }])
        expect((yield* registry.show(clientId)).request).toMatchObject({ by: "first" })
        for (const each of [rejected, blocked, allowed]) yield* request(each)
        yield* registry.reject(rejected, operator)
        yield* registry.block(new URL(blocked).hostname, operator)
        yield* registry.allow(allowed, operator)
        expect((yield* registry.requests).map((each) => each.clientId)).toEqual([clientId])
        for (const each of [rejected, blocked, allowed]) expect(yield* request(each)).toBe("decided")
        yield* registry.approve(clientId, operator)
        expect(yield* registry.requests).toEqual([])
        expect(yield* request(clientId)).toBe("decided")
        expect((yield* Effect.flip(registry.requestApproval(newClient(), { by: "\n" })))._tag).toBe("InvalidDecision")
      }))
  })

  describe(`${name} when it is full`, () => {
    it.live("REG-12: at most 5 requests of a site are kept, and its oldest go first", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const other = newClient()
        const ids = Array.from({ length: 7 }, (_, i) => `https://one.example/${i}` as ClientId.ClientId)
        yield* registry.requestApproval(other, { by: "user" })
        for (const clientId of ids) yield* registry.requestApproval(clientId, { by: "user" })
        expect((yield* registry.requests).map(({ clientId }) => clientId)).toEqual([other, ...ids.slice(2)])
      }).pipe(Effect.provide(fresh({ admission: "approve" }))))

    it.live("REG-12: at most 1000 requests are kept, and the oldest of the fullest site go first", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const request = (url: string) => registry.requestApproval(url as ClientId.ClientId, { by: "user" })
        const kept = Effect.map(registry.requests, (requests) => requests.map(({ clientId }) => clientId))
        const single = Array.from({ length: 997 }, (_, i) => `https://site-${i}.example/c`)
        const full = ["a", "b", "c"].map((path) => `https://full.example/${path}`)
        yield* Effect.forEach([...single, ...full], request)
        expect((yield* kept).length).toBe(1000)
        yield* request("https://new-1.example/c")
        yield* request("https://new-2.example/c")
        const after = yield* kept
        expect(after.length).toBe(1000)
        expect(after.filter((url) => url.startsWith("https://full"))).toEqual([full[2]])
        expect(after.slice(0, 997)).toEqual(single)
        yield* request("https://new-3.example/c")
        expect((yield* kept).slice(0, 2)).toEqual([single[1], single[2]])
      }).pipe(Effect.provide(fresh({ admission: "approve" }))))
  })

  describe(`${name} over time`, () => {
    it.live("REG-04: a client that was not used for `forgetAfter` is not confirmed, swept or not", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const [unused, swept] = [newClient(), newClient()]
        for (const clientId of [unused, swept]) {
          yield* confirm(clientId)
          yield* recall(clientId)
          yield* registry.block(clientId, operator)
        }
        expect(yield* registry.isConfirmed(unused)).toBe(true)
        yield* Effect.sleep(350)
        expect(yield* registry.isConfirmed(unused)).toBe(false)
        yield* registry.used(unused)
        yield* recordFetch(named(unused, "later"), yield* now)
        expect(yield* registry.show(unused)).toMatchObject({ consented: undefined, accepted: undefined })
        expect((yield* registry.sweep).clients).toBe(2)
        expect(yield* registry.sweep).toEqual({ clients: 0, audit: 0 })
        expect(
          yield* Effect.map(registry.show(swept), ({ clientId: _, decisions: __, admission: ___, ...rest }) => rest)
        )
          .toEqual(
            yield* Effect.map(
              registry.show(newClient()),
              ({ clientId: _, decisions: __, admission: ___, ...rest }) => rest
            )
          )
        expect(yield* admissionOf(swept)).toBe("Blocked")
        yield* registry.unblock(swept, operator)
        yield* registry.confirm({ document: named(swept, "again"), fetchedAt: undefined })
        expect(yield* recalledName(swept)).toBe("tooOld")
      }).pipe(Effect.provide(fresh({ forgetAfter: "300 millis" }))))

    it.live("REG-04: consent after the time starts anew, also without a sweep", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* confirm(clientId, "before")
        yield* Effect.sleep(350)
        yield* registry.confirm({ document: named(clientId, "again"), fetchedAt: undefined })
        expect(yield* recalledName(clientId)).toBe("tooOld")
      }).pipe(Effect.provide(fresh({ forgetAfter: "300 millis" }))))

    it.live("REG-13: a sweep deletes the audit that is older than its age, and no decision", () =>
      Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        const clientId = newClient()
        yield* registry.block(clientId, operator)
        yield* Effect.sleep(350)
        yield* registry.approve(clientId, operator)
        expect(yield* registry.sweep).toEqual({ clients: 0, audit: 1 })
        expect((yield* registry.audit()).map(({ decision }) => decision)).toEqual(["approve"])
        expect(yield* admissionOf(clientId)).toBe("Blocked")
      }).pipe(Effect.provide(fresh({ auditFor: "300 millis" }))))
  })

  describe(`${name} under concurrency`, () => {
    type Call = (
      registry: ClientRegistry.ClientRegistry["Type"],
      clientId: ClientId.ClientId,
      start: Cache.Instant
    ) => Effect.Effect<unknown, unknown>

    const fetch = (name: string, minutes: bigint): Call => (registry, clientId, start) =>
      registry.recordFetch(named(clientId, name), { fetchedAt: start + minutes * minute, timeToLive: "1 hour" })
    const find = (minutes: bigint): Call => (registry, clientId, start) =>
      registry.withdraw(clientId, { fetchedAt: start + minutes * minute })

    const calls = {
      confirm: (registry, clientId, start) =>
        registry.confirm({ document: named(clientId, "confirmed"), fetchedAt: start + 2n * minute }),
      forget: (registry, clientId) => registry.forget(clientId),
      evict: (registry, clientId) => registry.evict(clientId, operator),
      "fetch of minute 1": fetch("fetch 1", 1n),
      "fetch of minute 3": fetch("fetch 3", 3n),
      "find of minute 2": find(2n),
      "find of minute 4": find(4n),
      pin: (registry, clientId) => registry.pin(named(clientId, "pinned"), operator),
      unpin: (registry, clientId) => registry.unpin(clientId, operator),
      block: (registry, clientId) => registry.block(clientId, operator),
      approve: (registry, clientId) => registry.approve(clientId, operator),
      reject: (registry, clientId) => registry.reject(clientId, operator)
    } satisfies Record<string, Call>

    const sets: ReadonlyArray<ReadonlyArray<keyof typeof calls>> = [
      ["confirm", "evict", "pin", "fetch of minute 3", "find of minute 4"],
      ["confirm", "fetch of minute 1", "fetch of minute 3"],
      ["confirm", "forget", "fetch of minute 3", "evict"],
      ["fetch of minute 3", "find of minute 2", "find of minute 4"],
      ["fetch of minute 1", "find of minute 2", "find of minute 4"],
      ["pin", "unpin", "evict", "block"],
      ["approve", "reject", "block", "pin"]
    ]

    /** What can be seen of a client, without the times of the calls. */
    const seen = (registry: ClientRegistry.ClientRegistry["Type"], clientId: ClientId.ClientId) =>
      Effect.gen(function*() {
        const state = yield* registry.show(clientId)
        return JSON.stringify([
          state.admission._tag,
          state.decisions.map(({ decision }) => decision).sort(),
          nameIn(state.consented?.document),
          nameIn(state.accepted?.document),
          state.changed,
          state.withdrawals.map(({ firstAt, latestAt }) => Number((latestAt - firstAt) / minute)),
          state.evictedAt === undefined,
          yield* Effect.provideService(recalledName(clientId), ClientRegistry.ClientRegistry, registry)
        ])
      })

    const permutations = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
      all.length === 0 ?
        [[]] :
        all.flatMap((first, i) => permutations(all.filter((_, j) => j !== i)).map((rest) => [first, ...rest]))

    for (const names of sets) {
      for (const confirmed of ["unknown", "confirmed"] as const) {
        it.scopedLive(`at once on a client that is ${confirmed}, ${names.join(", ")} end as they could one by one`, () =>
          Effect.gen(function*() {
            const nodes = yield* nodesOf({ admission: "approve" })
            const [registry] = nodes
            const run = (
              perform: (calls: ReadonlyArray<Effect.Effect<unknown, unknown>>) => Effect.Effect<unknown, unknown>,
              order: ReadonlyArray<keyof typeof calls>
            ) =>
              Effect.gen(function*() {
                const clientId = newClient()
                const start = yield* ago(20n * minute)
                if (confirmed === "confirmed") {
                  yield* registry.confirm({ document: named(clientId, "before"), fetchedAt: start })
                }
                yield* perform(order.map((name, i) => calls[name](nodes[i % nodes.length]!, clientId, start)))
                return yield* seen(registry, clientId)
              })
            const serial = new Set(
              yield* Effect.forEach(
                permutations(names),
                (order) => run((calls) => Effect.forEach(calls, (call) => call), order)
              )
            )
            for (let round = 0; round < 10; round++) {
              const rotated = [...names.slice(round % names.length), ...names.slice(0, round % names.length)]
              const ended = yield* run((calls) => Effect.all(calls, { concurrency: "unbounded" }), rotated)
              expect(serial).toContain(ended)
            }
          }))
      }
    }
  })
}
