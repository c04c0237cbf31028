import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import type { ClientId, ClientRegistry } from "effect-cimd"
import { Migrations } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { accepted, ruleset } from "../support/documents.js"
import * as Postgres from "../support/postgres.js"
import { cluster, node } from "../support/registryNodes.js"

type Registry = ClientRegistry.ClientRegistry["Type"]

const operator = { by: "operator", reason: "a test" }
const now = Effect.map(Clock.currentTimeNanos, (nanos) => nanos / 1000n)

let next = 0
const newClient = () => `https://app-${next++}.example/client.json` as ClientId.ClientId

const named = (clientId: ClientId.ClientId, client_name: string) => accepted(clientId, { client_name })

const recalled = (registry: Registry, clientId: ClientId.ClientId) =>
  registry.recall(clientId, ruleset).pipe(
    Effect.map(({ document }) => String(JSON.parse(document.text).client_name)),
    Effect.catchTag("NotRecalled", ({ reason }) => Effect.succeed(reason))
  )

/** Waits until an effect has a result, for at most so long. */
const becomes = <A, E>(effect: Effect.Effect<A, E>, expected: A, within: "1 second" | "10 seconds" = "1 second") =>
  effect.pipe(
    Effect.flatMap((actual) => actual === expected ? Effect.void : Effect.fail(actual)),
    Effect.retry(Schedule.spaced("10 millis")),
    Effect.timeoutFail({ duration: within, onTimeout: () => `not ${String(expected)} within ${within}` })
  )

const peeked = (registry: Registry, clientId: ClientId.ClientId) =>
  Effect.sync(() => registry.peekAdmission(clientId)?._tag)

describe("REG-16: every node follows what one node does, within a second", () => {
  for (const count of [2, 4]) {
    it.scopedLive(`decisions, with ${count} nodes`, () =>
      Effect.gen(function*() {
        const { nodes } = yield* cluster(count, { admission: "approve" })
        const clientId = newClient()
        const { hostname } = new URL(clientId)
        const steps = [
          [(registry: Registry) => registry.approve(clientId, operator), "Admitted"],
          [(registry: Registry) => registry.pin(named(clientId, "pinned"), operator), "Pinned"],
          [(registry: Registry) => registry.block(hostname, operator), "Blocked"],
          [(registry: Registry) => registry.unblock(hostname, operator), "Pinned"],
          [(registry: Registry) => registry.unpin(clientId, operator), "Admitted"],
          [(registry: Registry) => registry.reject(clientId, operator), "Unapproved"],
          [(registry: Registry) => registry.allow(clientId, operator), "Admitted"],
          [(registry: Registry) => registry.disallow(clientId, operator), "Unapproved"]
        ] as const
        for (const [i, [decide, expected]] of steps.entries()) {
          const deciding = nodes[i % count]!
          yield* decide(deciding)
          expect(deciding.peekAdmission(clientId)?._tag).toBe(expected)
          yield* Effect.forEach(nodes, (registry) => becomes(peeked(registry, clientId), expected), {
            concurrency: "unbounded"
          })
        }
      }))

    it.scopedLive(`confirm, recordFetch, withdraw, evict and forget, with ${count} nodes`, () =>
      Effect.gen(function*() {
        const { nodes } = yield* cluster(count)
        const clientId = newClient()
        const start = (yield* now) - 600_000_000n
        const steps = [
          [
            (registry: Registry) => registry.confirm({ document: named(clientId, "consented"), fetchedAt: start }),
            "consented"
          ],
          [
            (registry: Registry) =>
              registry.recordFetch(named(clientId, "fetched"), { fetchedAt: start + 1n, timeToLive: "1 hour" }),
            "fetched"
          ],
          [
            (registry: Registry) =>
              Effect.forEach([2n, 120_000_000n], (after) => registry.withdraw(clientId, { fetchedAt: start + after })),
            "withdrawn"
          ],
          [(registry: Registry) => registry.evict(clientId, operator), "tooOld"],
          [(registry: Registry) => registry.forget(clientId), "unconfirmed"]
        ] as const
        for (const [i, [change, expected]] of steps.entries()) {
          // Every node has the state of before in its memory.
          yield* Effect.forEach(nodes, (registry) => recalled(registry, clientId))
          const changing = nodes[i % count]!
          yield* change(changing)
          expect(yield* recalled(changing, clientId)).toBe(expected)
          const isConfirmed = expected !== "unconfirmed"
          expect(yield* changing.isConfirmed(clientId)).toBe(isConfirmed)
          yield* Effect.forEach(
            nodes,
            (registry) =>
              Effect.all([
                becomes(recalled(registry, clientId), expected),
                becomes(registry.isConfirmed(clientId), isConfirmed)
              ], { concurrency: "unbounded" }),
            { concurrency: "unbounded" }
          )
        }
      }))
  }

  it.scopedLive("REG-13: each decision is one event on every node, in the order of the audit", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(3)
      const count = 60
      const received = yield* Effect.forEach(nodes, ({ events }) =>
        Effect.fork(events.pipe(
          Stream.map((event) => event._tag === "Decided" ? event.entry.reason : ""),
          Stream.interruptAfter("8 seconds"),
          Stream.take(count + 1),
          Stream.takeUntil((reason) => reason === "last"),
          Stream.runCollect,
          Effect.map(Chunk.toReadonlyArray)
        )))
      yield* Effect.sleep("100 millis")
      yield* Effect.forEach(
        Array.from({ length: count }, (_, i) => i),
        (i) => nodes[i % 3]!.block(newClient(), { by: "operator", reason: String(i) }),
        { concurrency: "unbounded" }
      )
      yield* nodes[0].block(newClient(), { by: "operator", reason: "last" })
      const audit = (yield* nodes[1]!.audit({ limit: 1000 })).map(({ reason }) => reason).reverse()
      expect(audit.toSorted()).toEqual([...Array.from({ length: count }, (_, i) => String(i)), "last"].toSorted())
      for (const fiber of received) expect(yield* Fiber.join(fiber)).toEqual(audit)
    }))

  it.scopedLive(
    "more decisions than fit into one answer, and many pages of them at a start",
    () =>
      Effect.gen(function*() {
        const { nodes: [registry], sql, url } = yield* cluster(1)
        const clientId = newClient()
        yield* sql`WITH made AS (
          INSERT INTO cimd_decisions (subject, slot, decision, decided_by, decided_at, reason, generation)
          SELECT 'https://many.example/' || i, 'block', 'blocked', 'test', now(), 'test', i
          FROM generate_series(1, 12000) AS i RETURNING *
        ), audited AS (
          INSERT INTO cimd_audit (generation, decision, subject, decided_by, decided_at, reason)
          SELECT generation, 'block', subject, decided_by, decided_at, reason FROM made RETURNING 1
        ) UPDATE cimd_state SET decision_generation = 12000`
        yield* registry.block(clientId, operator)
        const started = yield* node({}, { url, pooler: Postgres.pooler })
        for (const each of [registry, started]) {
          for (const id of [clientId, "https://many.example/1", "https://many.example/12000"]) {
            expect(each.peekAdmission(id as ClientId.ClientId)?._tag).toBe("Blocked")
          }
          expect(each.peekAdmission("https://many.example/12001" as ClientId.ClientId)?._tag).toBe("Admitted")
        }
      }),
    20_000
  )

  it.scopedLive("decisions outlive every node", () =>
    Effect.gen(function*() {
      const { sql: _, url } = yield* cluster(1)
      const [clientId, pinned] = [newClient(), newClient()]
      yield* Effect.scoped(Effect.gen(function*() {
        const registry = yield* node({}, { url, pooler: Postgres.pooler })
        yield* registry.block(clientId, operator)
        yield* registry.pin(named(pinned, "pinned"), operator)
        yield* registry.confirm({ document: named(pinned, "consented"), fetchedAt: undefined })
      }))
      const registry = yield* node({}, { url, pooler: Postgres.pooler })
      expect(yield* peeked(registry, clientId)).toBe("Blocked")
      expect(yield* recalled(registry, pinned)).toBe("pinned")
    }))

  const restores = {
    "a restore to an earlier state": "",
    "a restore, after which as many other decisions were made":
      `INSERT INTO cimd_audit VALUES (2, 'unblock', 'other.example/', 'x', now(), 'x', NULL);
       UPDATE cimd_state SET decision_generation = 2;`,
    "a restore, after which more decisions were made":
      `INSERT INTO cimd_audit SELECT i, 'unblock', 'other.example/', 'x', now(), 'x', NULL FROM generate_series(2, 5) AS i;
       UPDATE cimd_state SET decision_generation = 5;`,
    "a gap in the audit": "DELETE FROM cimd_audit; UPDATE cimd_state SET decision_generation = 9;"
  }
  for (const [what, then] of Object.entries(restores)) {
    it.scopedLive(`follows ${what}`, () =>
      Effect.gen(function*() {
        const { nodes, sql } = yield* cluster(2)
        const [kept, lost] = [newClient(), newClient()]
        yield* nodes[0].block(kept, operator)
        yield* nodes[0].block(lost, operator)
        yield* becomes(peeked(nodes[1]!, lost), "Blocked")
        yield* sql.unsafe(`BEGIN;
          DELETE FROM cimd_decisions WHERE generation > 1;
          DELETE FROM cimd_audit WHERE generation > 1;
          UPDATE cimd_state SET decision_generation = 1;
          ${then}
          COMMIT`)
        for (const registry of nodes) {
          yield* becomes(peeked(registry, lost), "Admitted")
          expect(registry.peekAdmission(kept)?._tag).toBe("Blocked")
        }
        yield* nodes[1]!.block(lost, operator)
        yield* becomes(peeked(nodes[0], lost), "Blocked")
      }))
  }
})

describe("REG-14, REG-16: a node that cannot ask fails closed", () => {
  it.scopedLive("while the server is away", () =>
    Effect.gen(function*() {
      const data = yield* Scope.make()
      const url = yield* Scope.extend(PostgresServer.embedded(), data)
      yield* Effect.provide(Migrations.run(), PgClient.layer({ url, maxConnections: 1 }))
      const registry = yield* node({ timeout: "500 millis" }, { url, maxConnections: 3 })
      const clientId = newClient()
      yield* registry.confirm({ document: named(clientId, "App"), fetchedAt: yield* now })
      expect(yield* recalled(registry, clientId)).toBe("App")
      yield* Scope.close(data, Exit.void)
      yield* becomes(peeked(registry, clientId), undefined, "10 seconds")
      const failures = [
        ["admission", registry.admission(clientId)],
        ["recall", registry.recall(clientId, ruleset)],
        ["confirm", registry.confirm({ document: named(clientId, "App"), fetchedAt: 1n })],
        ["isConfirmed", registry.isConfirmed(clientId)],
        ["forget", registry.forget(clientId)],
        ["recordFetch", registry.recordFetch(named(clientId, "App"), { fetchedAt: 1n, timeToLive: 1 })],
        ["withdraw", registry.withdraw(clientId, { fetchedAt: 1n })],
        ["decide", registry.block(clientId, operator)],
        ["decide", registry.unblock(clientId, operator)],
        ["decide", registry.evict(clientId, operator)],
        ["requestApproval", registry.requestApproval(clientId, { by: "user" })],
        ["requests", registry.requests],
        ["show", registry.show(clientId)],
        ["audit", registry.audit()],
        ["sweep", registry.sweep]
      ] as const
      for (const [operation, call] of failures) {
        expect(yield* Effect.flip(call as Effect.Effect<unknown, unknown>)).toMatchObject({
          _tag: "RegistryError",
          operation
        })
      }
      yield* registry.used(clientId)
    }), 30_000)

  it.scopedLive("while its statements hang, with one answer for all callers", () =>
    Effect.gen(function*() {
      const { nodes: [registry], sql } = yield* cluster(1, { timeout: "500 millis" })
      const clientId = newClient()
      const hung = yield* Effect.fork(
        sql.withTransaction(
          Effect.zipRight(sql`LOCK TABLE cimd_state IN ACCESS EXCLUSIVE MODE`, Effect.sleep("3 seconds"))
        )
      )
      yield* becomes(peeked(registry, clientId), undefined, "10 seconds")
      const started = yield* now
      const exits = yield* Effect.forEach(
        Array.from({ length: 50 }, () => clientId),
        (id) => Effect.flip(registry.admission(id)),
        { concurrency: "unbounded" }
      )
      expect((yield* now) - started).toBeLessThan(1_500_000n)
      for (const error of exits) expect(error._tag).toBe("RegistryError")
      yield* Fiber.join(hung)
      yield* becomes(peeked(registry, clientId), "Admitted", "10 seconds")
      yield* registry.block(clientId, operator)
    }), 20_000)

  it.scopedLive("when its connections are terminated, it connects again", () =>
    Effect.gen(function*() {
      const { nodes: [registry], sql } = yield* cluster(1)
      const clientId = newClient()
      for (let i = 0; i < 5; i++) {
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()`
        yield* Effect.sleep("100 millis")
      }
      yield* becomes(peeked(registry, clientId), "Admitted", "10 seconds")
      yield* Effect.retry(registry.block(clientId, operator), { times: 3 })
      expect(registry.peekAdmission(clientId)?._tag).toBe("Blocked")
    }), 20_000)

  it.scopedLive("when it was suspended, it says nothing until it has asked again", () =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      let skipped = 0n
      const skipping: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + skipped,
        currentTimeNanos: Effect.sync(() => clock.unsafeCurrentTimeNanos() + skipped)
      })
      const { nodes: [other], url } = yield* cluster(1)
      const registry = yield* Effect.withClock(node({}, { url, pooler: Postgres.pooler }), skipping)
      const clientId = newClient()
      expect(registry.peekAdmission(clientId)?._tag).toBe("Admitted")
      yield* other.block(clientId, operator)
      skipped += 900_000_000n
      expect(registry.peekAdmission(clientId)).toBeUndefined()
      expect((yield* registry.admission(clientId))._tag).toBe("Blocked")
      expect(registry.peekAdmission(clientId)?._tag).toBe("Blocked")
    }))
})
