import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Migrations } from "effect-cimd"
import { Origin, Postgres as PostgresServer } from "effect-cimd/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Postgres from "../support/postgres.js"
import type { Node } from "./client.js"
import * as Client from "./client.js"
import { moment } from "./protocol.js"
import * as World from "./world.js"

/** What the nodes of this file give a statement. */
const timeoutMillis = 1000

const hour = 3_600_000

const ids = (name: string, count: number) =>
  Array.from({ length: count }, (_, index) => `https://app.example/${name}-${index}.json`)

// Behind a pooler a node hears of no change. Its memory asks again after a second, and each round takes that long.
const [raceRounds, staleBoundMillis] = Postgres.pooler === undefined ? [World.isThorough ? 200 : 60, 1000] : [15, 1250]

describe.sequential("two processes over one database", () => {
  const scope = Effect.runSync(Scope.make())
  let database: Redacted.Redacted
  let origin: Origin.Origin["Type"]
  let nodes: readonly [Node, Node]

  beforeAll(() =>
    Effect.gen(function*() {
      origin = yield* Origin.make
      database = yield* Postgres.migratedUrl
      const options = { database, origin, cacheTimeout: timeoutMillis, maxConnections: 2 }
      nodes = yield* Effect.all([
        Client.spawn({ ...options, name: "one" }),
        Client.spawn({ ...options, name: "other" })
      ], { concurrency: "unbounded" })
      yield* World.untilAllHear(nodes)
    }).pipe(Scope.extend(scope), Effect.runPromise)
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const serve = (clientId: string, version: string, headers?: Origin.Answer["headers"]) =>
    origin.document(clientId, World.document(clientId, version), headers)

  const requestsFor = (clientId: string) =>
    Effect.map(origin.requests, (requests) => requests.filter(({ target }) => clientId.endsWith(target)).length)

  const observing = <A, E>(effect: Effect.Effect<A, E, PgClient.PgClient | Scope.Scope>) =>
    Effect.suspend(() => Effect.provide(Effect.scoped(effect), World.observer(database)))

  it.live("CAC-09: a statement whose backend is terminated is a typed error at once, and the next one works", () =>
    observing(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const clientId = "https://app.example/terminated.json"
      yield* serve(clientId, "1")
      const locked = yield* Deferred.make<void>()
      const free = yield* Deferred.make<void>()
      const locking = yield* Effect.fork(sql.withTransaction(Effect.gen(function*() {
        yield* sql`LOCK TABLE cimd_documents IN ACCESS EXCLUSIVE MODE`
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(free)
      })))
      yield* Deferred.await(locked)
      const asking = yield* Effect.fork(nodes[0].ask("resolve", { clientId, callers: 20 }))
      yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = ${nodes[0].name} AND wait_event_type = 'Lock'
          AND query LIKE '%cimd_documents%'`.pipe(
        Effect.delay(10),
        Effect.repeat({ until: (terminated) => terminated.length > 0 }),
        Effect.timeout("10 seconds")
      )
      const refused = yield* Fiber.join(asking)
      yield* Deferred.succeed(free, undefined)
      yield* Fiber.join(locking)
      expect(refused.errors).toEqual({ CacheError: 20 })
      // Not because it was overdue.
      expect(refused.cause).toContain("terminating connection")
      expect((yield* nodes[0].ask("resolve", { clientId, callers: 20 })).versions).toEqual({ "1": 20 })
      expect(yield* requestsFor(clientId)).toBe(1)
    })))

  it.live("CAC-09, REG-14: without a free connection calls fail in time, memory answers for a second, and it works afterwards", () =>
    Effect.gen(function*() {
      const known = "https://app.example/known.json"
      // More than two look-ups hold, so that some have to wait for the look-ups of others.
      const unknown = ids("unknown", 1500)
      yield* Effect.forEach([known, ...unknown], (clientId) => serve(clientId, "1"), { discard: true })
      expect(yield* nodes[0].ask("hold", { clientId: known, version: "1", withinMillis: 5000 })).toEqual({ held: true })
      const exhausting = yield* Effect.fork(nodes[0].ask("exhaust", { forMillis: 4000 }))
      yield* Effect.sleep("100 millis")
      const [fromMemory, refused] = yield* Effect.all([
        nodes[0].ask("load", { clientIds: [known], callers: 5, forMillis: 1500 }),
        // Each calls at most once: the time is over when it is answered.
        nodes[0].ask("load", { clientIds: unknown, callers: unknown.length, forMillis: timeoutMillis / 2 })
      ], { concurrency: "unbounded" })
      // After that, the node may have missed a decision.
      expect(["RegistryError"]).toEqual(expect.arrayContaining(Object.keys(fromMemory.errors)))
      expect(Object.keys(fromMemory.sources)).toEqual(["memory"])
      expect(World.typedErrors).toEqual(expect.arrayContaining(Object.keys(refused.errors)))
      expect(refused.versions).toEqual({})
      expect(refused.slowestMillis).toBeLessThan(2 * timeoutMillis + 1000)
      expect(yield* Fiber.join(exhausting)).toEqual({ taken: 2 })
      const answered = yield* nodes[0].ask("resolve", { clientId: unknown[0]!, callers: 100 })
      expect(answered.versions).toEqual({ "1": 100 })
    }))

  it.live("CAC-09: when the disk is full nothing is lost or made up, and no lease is left behind", () =>
    observing(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [stored, fresh] = ["https://app.example/stored.json", "https://app.example/fresh.json"]
      yield* serve(stored, "1")
      yield* serve(fresh, "1")
      yield* nodes[1].ask("resolve", { clientId: stored, callers: 1 })
      yield* sql`CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`
      yield* sql`CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON cimd_documents
        FOR EACH ROW EXECUTE FUNCTION disk_full()`

      const onNode = yield* nodes[0].ask("resolve", { clientId: stored, callers: 10 })
      expect(onNode.versions).toEqual({ "1": 10 })
      const refused = yield* nodes[0].ask("resolve", { clientId: fresh, callers: 10 })
      expect(refused.errors).toEqual({ CacheError: 10 })
      expect(yield* requestsFor(fresh)).toBe(1)
      expect((yield* nodes[1].ask("resolve", { clientId: fresh, callers: 10 })).errors).toEqual({ CacheError: 10 })
      // Who cannot evict is told so.
      expect((yield* nodes[0].ask("evict", { clientId: stored })).error).toBe("CacheError")
      expect(yield* sql`SELECT 1 FROM cimd_leases`).toEqual([])

      yield* sql`DROP TRIGGER disk_full ON cimd_documents`
      yield* sql`DROP FUNCTION disk_full()`
      expect((yield* nodes[0].ask("resolve", { clientId: fresh, callers: 10 })).sources).toEqual({ origin: 10 })
      expect((yield* nodes[1].ask("resolve", { clientId: fresh, callers: 10 })).sources).toEqual({ postgres: 10 })
      expect((yield* nodes[1].ask("resolve", { clientId: stored, callers: 1 })).versions).toEqual({ "1": 1 })
      expect(yield* requestsFor(stored)).toBe(1)
    })))

  it.live(
    `CAC-05: of two processes that write an old and a new document at once the old one never wins (${raceRounds} rounds)`,
    () =>
      Effect.gen(function*() {
        const clientId = "https://app.example/race.json"
        for (let round = 0; round < raceRounds; round++) {
          const [late, early] = round % 2 === 0 ? nodes : [nodes[1], nodes[0]]
          const earlier = yield* late.ask("now", {})
          const later = yield* early.ask("now", {})
          const at = moment() + 4
          const written = yield* Effect.all([
            late.ask("put", { clientId, version: `old ${round}`, fetchedAt: earlier.instant, at }),
            early.ask("put", { clientId, version: `new ${round}`, fetchedAt: later.instant, at })
          ], { concurrency: "unbounded" })
          expect(written.map(({ error }) => error)).toEqual([null, null])
          expect(written[1].stored).toBe(true)
          const from = moment()
          const seen = yield* Effect.forEach(
            nodes,
            (node) => node.ask("watch", { clientId, old: `old ${round}`, withinMillis: 2000 }),
            { concurrency: "unbounded" }
          )
          for (const { lastOldAt, version } of seen) {
            expect(version).toBe(`new ${round}`)
            expect((lastOldAt ?? from) - from).toBeLessThan(staleBoundMillis)
          }
        }
        expect(yield* requestsFor(clientId)).toBe(0)
      }),
    60_000
  )

  // None of them has the client in memory.
  const putAround = (clientId: string, assignment: string) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* serve(clientId, "1")
      yield* nodes[0].ask("put", { clientId, version: "0" })
      yield* sql.unsafe(`UPDATE cimd_documents SET ${assignment} WHERE client_id = $1`, [clientId])
      yield* sql`UPDATE cimd_state SET generation = generation + 1`
      yield* World.untilForgotten(nodes, clientId)
    })

  const damages: Record<string, string> = {
    "a corrupt document": `document = '{"client_id": 5}'`,
    "a document that only older rules accept": `ruleset = '0-older', document = document || '{"client_secret": "s"}'`
  }
  for (const [damage, assignment] of Object.entries(damages)) {
    it.live(`CAC-11: a row with ${damage} costs the cluster one request, and nobody is answered with it`, () =>
      observing(Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const clientId = `https://app.example/${damage.replaceAll(" ", "-")}.json`
        yield* putAround(clientId, assignment)
        const at = moment() + 50
        const tallies = yield* Effect.forEach(nodes, (node) => node.ask("resolve", { clientId, callers: 100, at }), {
          concurrency: "unbounded"
        })
        for (const tally of tallies) expect(tally).toMatchObject({ versions: { "1": 100 }, errors: {} })
        expect(yield* requestsFor(clientId)).toBe(1)
        const [row] = yield* sql`SELECT document->>'client_name' AS name FROM cimd_documents
          WHERE client_id = ${clientId}`
        expect(row).toEqual({ name: "1" })
      })))
  }

  const foreign: Record<string, string> = {
    "an older rule set": `ruleset = '0-older'`,
    "a judgement of an older schema": `judgement = '{"methods": []}'`
  }
  for (const [kind, assignment] of Object.entries(foreign)) {
    it.live(`CAC-11: a row with ${kind} whose document is valid is served without a request`, () =>
      observing(Effect.gen(function*() {
        const clientId = `https://app.example/${kind.replaceAll(" ", "-")}.json`
        yield* putAround(clientId, assignment)
        const tallies = yield* Effect.forEach(nodes, (node) => node.ask("resolve", { clientId, callers: 100 }))
        for (const tally of tallies) expect(tally).toMatchObject({ versions: { "0": 100 }, errors: {} })
        expect(yield* requestsFor(clientId)).toBe(0)
      })))
  }

  it.live("CAC-11: processes with different rule sets are served from what one of them fetched: one request", () =>
    Effect.gen(function*() {
      const mcp = yield* Client.spawn({ name: "mcp", database, origin, profile: "mcp" })
      const all = [...nodes, mcp]
      yield* World.untilAllHear(all)
      for (const [index, order] of [all, [...all].reverse()].entries()) {
        const clientId = `https://app.example/rule-sets-${index}.json`
        yield* serve(clientId, "1")
        // Together while none has it, then in turns, from Postgres and from memory.
        const tallies = yield* Effect.forEach(order, (node) => node.ask("resolve", { clientId, callers: 50 }), {
          concurrency: "unbounded"
        })
        for (let turn = 0; turn < 3; turn++) {
          for (const node of order) tallies.push(yield* node.ask("resolve", { clientId, callers: 10 }))
        }
        for (const { errors, versions } of tallies) {
          expect([Object.keys(versions), errors]).toEqual([["1"], {}])
        }
        expect(yield* requestsFor(clientId)).toBe(1)
        for (const node of order) {
          const held = yield* node.ask("hold", { clientId, version: "1", withinMillis: 3000 })
          expect(held).toEqual({ held: true })
        }
        expect(yield* requestsFor(clientId)).toBe(1)
      }
    }).pipe(Effect.scoped))

  it.live("CAC-08: over tables of an older version a process does not start, and names the command that mends it", () =>
    observing(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`UPDATE cimd_state SET latest = latest - 1`
      const refused = yield* Effect.flip(Client.spawn({ name: "late", database, origin }))
      yield* sql`UPDATE cimd_state SET latest = latest + 1`
      expect(refused).toMatchObject({ _tag: "NodeNotStarted", error: "DatabaseUnavailable", exitCode: 1 })
      expect(refused.message).toContain("npx effect-cimd migrate")
    })))
})

describe("clocks that are wrong", () => {
  it.live("CAC-07, CAC-12: nodes an hour ahead and an hour behind keep to the database's time", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const options = { database: yield* Postgres.migratedUrl, origin, minimumLifetime: 500 }
      const nodes = yield* Effect.all([
        Client.spawn({ ...options, name: "ahead", clockOffset: { millis: hour } }),
        Client.spawn({ ...options, name: "behind", clockOffset: { millis: -hour } })
      ], { concurrency: "unbounded" })
      const offsets = yield* Effect.all([nodes[0].ask("status", {}), nodes[1].ask("status", {})])
      expect(Math.round((offsets[0].wallClock - offsets[1].wallClock) / hour)).toBe(2)
      yield* World.untilAllHear(nodes)

      for (const [writer, reader] of [nodes, [nodes[1], nodes[0]]] as const) {
        const brief = `https://app.example/brief-by-${writer.name}.json`
        yield* origin.document(brief, World.document(brief, "1"), { "Cache-Control": "max-age=2" })
        const asked = moment()
        expect((yield* writer.ask("resolve", { clientId: brief, callers: 1 })).sources).toEqual({ origin: 1 })
        const stored = moment()
        expect((yield* reader.ask("resolve", { clientId: brief, callers: 1 })).sources).toEqual({ postgres: 1 })
        expect(yield* reader.ask("hold", { clientId: brief, version: "1", withinMillis: 1000 })).toEqual({ held: true })
        yield* origin.document(brief, World.document(brief, "2"), { "Cache-Control": "max-age=2" })
        const expired = yield* reader.ask("watch", { clientId: brief, old: "1", withinMillis: 5000 })
        expect(expired.version).toBe("2")
        // Its two seconds began between the two moments. How long the next fetch takes is the work of the machine.
        expect(expired.newAt! - asked).toBeGreaterThan(1500)
        expect(expired.lastOldAt! - stored).toBeLessThan(2100)
        expect((yield* writer.ask("resolve", { clientId: brief, callers: 1 })).versions).toEqual({ "2": 1 })

        const evicted = `https://app.example/evicted-by-${writer.name}.json`
        yield* origin.document(evicted, World.document(evicted, "1"))
        const held = yield* reader.ask("hold", { clientId: evicted, version: "1", withinMillis: 5000 })
        expect(held).toEqual({ held: true })
        yield* origin.document(evicted, World.document(evicted, "2"))
        const { doneAt } = yield* writer.ask("evict", { clientId: evicted })
        const seen = yield* reader.ask("watch", { clientId: evicted, old: "1", withinMillis: 5000 })
        expect(seen.version).toBe("2")
        expect((seen.lastOldAt ?? doneAt) - doneAt).toBeLessThan(1000)
      }
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))
})

describe("a server of its own", () => {
  it.live(
    "CAC-09: Postgres restarts under load: typed errors in time, nothing lost, and it works again by itself",
    () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const dataDirectory = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "effect-cimd-faults-"))),
          (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
        )
        const start = (port?: number) =>
          Effect.gen(function*() {
            const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
            const url = yield* Scope.extend(PostgresServer.embedded({ dataDirectory, port }), scope)
            return { url, stop: Scope.close(scope, Exit.void) }
          })
        const server = yield* start()
        yield* Effect.provide(Migrations.run(), World.observer(server.url))
        const nodes = yield* World.nodes(3, { database: server.url, origin, cacheTimeout: timeoutMillis })
        yield* World.untilAllHear(nodes)
        const clientIds = ids("restart", 30)
        yield* Effect.forEach(clientIds, (clientId) => origin.document(clientId, World.document(clientId, "1")))
        // All of them are stored, and not all of them are in every memory.
        yield* Effect.forEach(
          clientIds,
          (clientId, index) => nodes[index % 3]!.ask("resolve", { clientId, callers: 1 }),
          { concurrency: 10 }
        )

        const loads = yield* Effect.forEach(
          nodes,
          (node) => Effect.fork(node.ask("load", { clientIds, callers: 8, forMillis: 4500 }))
        )
        yield* Effect.sleep("1 second")
        yield* server.stop
        yield* Effect.sleep("1500 millis")
        yield* start(Number(new URL(Redacted.value(server.url)).port))
        const tallies = yield* Effect.forEach(loads, Fiber.join)
        for (const tally of tallies) {
          expect(Object.keys(tally.versions)).toEqual(["1"])
          // A call that cannot be answered while there is no server is refused, and nothing else goes wrong.
          expect(World.typedErrors).toEqual(expect.arrayContaining(Object.keys(tally.errors)))
          expect(Object.keys(tally.errors).length).toBeGreaterThan(0)
          // A caller may wait for the end of a question about the decisions, and then for that of its own.
          expect(tally.slowestMillis).toBeLessThan(2 * timeoutMillis + 500)
        }
        yield* World.untilAllHear(nodes)
        for (const node of nodes) {
          const tally = yield* node.ask("load", { clientIds, callers: 30, forMillis: 200 })
          expect(tally.errors).toEqual({})
        }
        expect((yield* origin.requests).length).toBe(clientIds.length)
      }).pipe(Effect.scoped, Effect.provide(Origin.layer)),
    60_000
  )
})
