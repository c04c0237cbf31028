import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Migrations } from "effect-cimd"
import { Origin, Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Client from "../cluster/client.js"
import type { Tally } from "../cluster/protocol.js"
import * as World from "../cluster/world.js"
import * as OldVersion from "./oldVersion.js"

/** More than the memory of a node of either version holds, so many reads go to Postgres. */
const clientIds = Array.from({ length: 200 }, (_, index) => `https://app.example/${index}.json`)
const memory = { maxEntries: 5, maxBytes: 2 ** 16 }

/** Callers that resolve on a node without a pause. Returns how to stop them, which returns what they received. */
const traffic = (node: Client.Node) =>
  Effect.gen(function*() {
    const tallies: Array<Tally> = []
    let goesOn = true
    const fiber = yield* Effect.fork(
      Effect.gen(function*() {
        while (goesOn) tallies.push(yield* node.ask("load", { clientIds, callers: 3, forMillis: 200 }))
      })
    )
    return Effect.zipRight(
      Effect.sync(() => {
        goesOn = false
      }),
      Effect.as(Fiber.join(fiber), tallies)
    )
  })

const total = (tallies: ReadonlyArray<Tally>, key: "sources" | "errors", name?: string) =>
  tallies.flatMap((tally) => Object.entries(tally[key])).reduce(
    (sum, [found, count]) => name === undefined || found === name ? sum + count : sum,
    0
  )

/** Asserts that a node resolved all the time, from Postgres too, and that nothing waited for as long as its timeout. */
const expectServed = (name: string, tallies: ReadonlyArray<Tally>) => {
  const causes = tallies.flatMap(({ cause }) => cause === undefined ? [] : [cause])
  expect({ name, errors: total(tallies, "errors"), causes }).toEqual({ name, errors: 0, causes: [] })
  expect(total(tallies, "sources", "postgres"), name).toBeGreaterThan(100)
  const slowest = Math.round(Math.max(...tallies.map(({ slowestMillis }) => slowestMillis)))
  console.log(`${name}: ${total(tallies, "sources")} resolved, the slowest in ${slowest} ms`)
  expect(slowest, name).toBeLessThan(2000)
}

/** Asserts that every node sees within a second what one of them evicts. */
const expectCoherent = (
  origin: typeof Origin.Origin.Service,
  evicting: Client.Node,
  nodes: ReadonlyArray<Client.Node>
) =>
  Effect.gen(function*() {
    const names = nodes.map(({ name }) => name).join("")
    const clientId = `https://app.example/evicted-by-${evicting.name}-of-${names}.json`
    yield* origin.document(clientId, World.document(clientId, "old"))
    // Each node has it in memory. The other clients overflow that, and watching it puts it there again.
    for (const node of nodes) {
      expect(yield* node.ask("hold", { clientId, version: "old", withinMillis: 5000 }), node.name).toEqual({
        held: true
      })
    }
    yield* origin.document(clientId, World.document(clientId, "new"))
    const watching = yield* Effect.fork(Effect.forEach(
      nodes,
      (node) => node.ask("watch", { clientId, old: "old", withinMillis: 10_000 }),
      { concurrency: "unbounded" }
    ))
    yield* Effect.sleep("200 millis")
    const { doneAt, error } = yield* evicting.ask("evict", { clientId })
    expect(error).toBeNull()
    for (const [index, seen] of (yield* Fiber.join(watching)).entries()) {
      const pair = `${evicting.name} to ${nodes[index]?.name}`
      expect(seen.version, pair).toBe("new")
      // A node that never saw the old version would prove nothing.
      expect(seen.lastOldAt, pair).not.toBeNull()
      expect((seen.lastOldAt ?? doneAt) - doneAt, pair).toBeLessThan(1000)
    }
  })

if (!OldVersion.isInHistory) console.warn(OldVersion.notice)

describe.skipIf(!OldVersion.isInHistory)("an upgrade from tables of version 1", () => {
  it.live("CAC-08: is migrated first, while nodes of the version before serve, restart and stay coherent", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const folder = yield* OldVersion.checkout
      const database = yield* Effect.flatMap(Postgres.url, (server) => Postgres.database(server))
      const url = Redacted.value(database)
      expect(yield* OldVersion.cimd(folder, url, "migrate")).toBe("ran migration 1: client_metadata_documents\n")
      yield* Effect.forEach(clientIds, (clientId) => origin.document(clientId, World.document(clientId, "1")))

      const settings = { database, origin, ...memory }
      const old = (name: string) => Client.spawn({ ...settings, name, checkout: folder })
      const [staying, restarted] = yield* Effect.all([old("a"), old("b")], { concurrency: "unbounded" })
      yield* World.untilAllHear([staying, restarted])
      const stopStaying = yield* traffic(staying)
      const stopRestarted = yield* traffic(restarted)
      yield* Effect.sleep("1 second")

      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        // A backup holds this lock. It lets the migration wait, which would make all readers wait behind it.
        const backup = yield* Effect.fork(
          sql.withTransaction(
            Effect.zipRight(sql`LOCK TABLE cimd_state IN ACCESS SHARE MODE`, Effect.sleep("4 seconds"))
          )
        )
        yield* Effect.sleep("500 millis")
        expect(yield* Migrations.run()).toEqual([[2, "client_registry"], [3, "limits"]])
        yield* Fiber.join(backup)
      }).pipe(Effect.provide(PgClient.layer({ url: database })))

      yield* Effect.sleep("1 second")
      yield* expectCoherent(origin, staying, [staying, restarted])
      expectServed("b, before its restart", yield* stopRestarted)
      expect(yield* restarted.quit).toBe(0)

      const [again, upgraded] = yield* Effect.all([old("b"), Client.spawn({ ...settings, name: "c" })], {
        concurrency: "unbounded"
      })
      const nodes = [staying, again, upgraded]
      yield* World.untilAllHear(nodes)
      const stopAgain = yield* traffic(again)
      const stopUpgraded = yield* traffic(upgraded)
      for (const node of nodes) yield* expectCoherent(origin, node, nodes)

      const state = Effect.flatMap(
        PgClient.PgClient,
        (sql) => sql`SELECT version, latest, (SELECT count(*) FROM cimd_migrations) AS migrations FROM cimd_state`
      ).pipe(
        Effect.provide(PgClient.layer({ url: database }))
      )
      const migrated = yield* state
      expect(migrated).toEqual([{ version: 1, latest: 3, migrations: "3" }])
      expect(yield* OldVersion.cimd(folder, url, "migrate", "--status")).toContain("The tables are up to date.")
      expect(yield* OldVersion.cimd(folder, url, "migrate")).toBe("The tables are up to date.\n")
      yield* OldVersion.cimd(folder, url, "sweep")
      expect(yield* state).toEqual(migrated)

      expectServed("a", yield* stopStaying)
      expectServed("b, restarted on the new tables", yield* stopAgain)
      expectServed("c, of this version", yield* stopUpgraded)
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))
})
