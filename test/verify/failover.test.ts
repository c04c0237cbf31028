import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import { Migrations } from "effect-cimd"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Node } from "../cluster/client.js"
import { moment } from "../cluster/protocol.js"
import * as Proxy from "../cluster/proxy.js"
import * as World from "../cluster/world.js"
import * as Replication from "./replication.js"

const clientsPerNode = 10
/** A change reaches every node within a second (CAC-12); the rest is the work of the machine. */
const staleMillis = 1500

/** What the nodes were told that is stored, and what they read. */
interface Ledger {
  /** The last version that was acknowledged, by client, and when. */
  readonly stored: Map<string, { readonly version: number; readonly at: number }>
  readonly violations: Array<string>
  /** When a node was last refused, by node. */
  readonly refused: Map<string, number>
  writes: number
  reads: number
}

const clientsOf = (node: Node) =>
  Array.from({ length: clientsPerNode }, (_, index) => `https://app.example/${node.name}-${index}.json`)

/** One write after the other by a node, of clients that no other node writes. There is no pause in which a connection gets idle. */
const writing = (node: Node, ledger: Ledger) => {
  const clients = clientsOf(node)
  let version = 0
  return Effect.forever(Effect.gen(function*() {
    const clientId = clients[++version % clients.length]!
    const written = version
    const { error, stored } = yield* node.ask("put", { clientId, version: String(written) })
    ledger.writes++
    if (error !== null) ledger.refused.set(node.name, moment())
    else if (stored) ledger.stored.set(clientId, { version: written, at: moment() })
    else ledger.violations.push(`${node.name} did not store version ${written} of ${clientId}`)
    yield* Effect.sleep("5 millis")
  }))
}

/** One read after the other by a node. Each is held to what had been acknowledged a while before. */
const reading = (node: Node, nodes: ReadonlyArray<Node>, ledger: Ledger) => {
  const clients = nodes.flatMap(clientsOf)
  let next = 0
  return Effect.forever(Effect.gen(function*() {
    const clientId = clients[next++ % clients.length]!
    const known = ledger.stored.get(clientId)
    const from = moment()
    const { error, version } = yield* node.ask("get", { clientId })
    ledger.reads++
    if (error !== null) ledger.refused.set(node.name, moment())
    else if (known !== undefined && from - known.at > staleMillis && !(Number(version) >= known.version)) {
      ledger.violations.push(
        `${node.name} read version ${version} of ${clientId}, of which ${known.version} was stored`
      )
    }
    yield* Effect.sleep("2 millis")
  }))
}

/** Until each node has written and read without an error for a while. Returns after how many milliseconds that began. */
const untilAllGoOn = (nodes: ReadonlyArray<Node>, ledger: Ledger) =>
  Effect.gen(function*() {
    const from = moment()
    const lastRefused = Effect.sync(() => Math.max(from, ...nodes.map(({ name }) => ledger.refused.get(name) ?? 0)))
    yield* Effect.repeat(Effect.delay(lastRefused, "20 millis"), { until: (at) => moment() - at > 3000 }).pipe(
      Effect.timeout("30 seconds")
    )
    return Math.round((yield* lastRefused) - from)
  })

/** Nodes over a primary and a standby, with traffic that does not end while the primary is replaced. */
const failover = (
  replace: (world: Replication.World & { readonly proxy: Proxy.Proxy }) => Effect.Effect<void>
) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    const { primary, standby } = yield* Replication.make
    yield* Effect.provide(Migrations.run(), PgClient.layer({ url: primary.url(), maxConnections: 1 }))
    const proxy = yield* Proxy.make(primary.port)
    const nodes = yield* World.nodes(3, {
      database: primary.url(proxy.port),
      origin,
      cacheTimeout: "1 second",
      maxConnections: 4
    })
    yield* World.untilAllHear(nodes)

    const ledger: Ledger = { stored: new Map(), violations: [], refused: new Map(), writes: 0, reads: 0 }
    const traffic = yield* Effect.forEach(nodes, (node) =>
      Effect.fork(Effect.all([writing(node, ledger), reading(node, nodes, ledger), reading(node, nodes, ledger)], {
        concurrency: "unbounded"
      })))
    yield* Effect.sleep("3 seconds")
    expect(ledger.refused.size).toBe(0)
    expect(ledger.stored.size).toBe(nodes.length * clientsPerNode)

    yield* replace({ primary, standby, proxy })
    const recoveredAfter = yield* untilAllGoOn(nodes, ledger)
    const [writes, stored] = [ledger.writes, new Map(ledger.stored)]
    yield* World.untilAllHear(nodes)
    yield* Effect.sleep("1 second")
    expect(ledger.writes).toBeGreaterThan(writes)
    yield* Fiber.interruptAll(traffic)

    expect(ledger.refused.size).toBe(nodes.length)
    expect(ledger.violations).toEqual([])
    // Nothing that was acknowledged is lost: the new primary has that version, or a later one that was not acknowledged.
    const rows = yield* standby.sql((sql) =>
      sql<{ id: string; version: string }>`SELECT client_id AS id, document->>'client_name' AS version
        FROM cimd_documents WHERE document IS NOT NULL`
    )
    const found = new Map(rows.map(({ id, version }) => [id, Number(version)]))
    const lost = [...stored].filter(([clientId, { version }]) =>
      !((found.get(clientId) ?? -1) >= version)
    )
    expect(lost).toEqual([])
    console.log(
      `${ledger.writes} writes and ${ledger.reads} reads; all nodes went on ${recoveredAfter} ms after the new primary was there`
    )

    // The cluster is one again: what one node evicts, all others forget.
    const clientId = "https://app.example/after.json"
    yield* origin.document(clientId, World.document(clientId, "old"))
    for (const node of nodes) {
      expect(yield* node.ask("hold", { clientId, version: "old", withinMillis: 5000 })).toEqual({ held: true })
    }
    yield* origin.document(clientId, World.document(clientId, "new"))
    const { doneAt } = yield* nodes[0]!.ask("evict", { clientId })
    for (const node of nodes) {
      const seen = yield* node.ask("watch", { clientId, old: "old", withinMillis: 5000 })
      expect(seen.version).toBe("new")
      expect((seen.lastOldAt ?? doneAt) - doneAt).toBeLessThan(1000)
    }
    return { primary, nodes }
  })

const sessionsOf = (nodes: ReadonlyArray<Node>, server: Replication.Server) =>
  server.sql((sql) =>
    sql`SELECT 1 FROM pg_stat_activity WHERE ${sql.in("application_name", nodes.map(({ name }) => name))}`
  ).pipe(Effect.map((rows) => rows.length))

describe.sequential("a standby that takes over under load", () => {
  it.live("CAC-17: the primary is killed: nodes go on by themselves, and nothing acknowledged is lost", () =>
    failover(({ primary, proxy, standby }) =>
      Effect.gen(function*() {
        yield* primary.kill
        yield* Effect.sleep("1 second")
        // The name leads to the standby before it is the primary.
        yield* proxy.switchTo(standby.port)
        yield* Effect.sleep("2 seconds")
        yield* Replication.promote(standby)
      })
    ).pipe(Effect.scoped, Effect.provide(Origin.layer)))

  it.live("CAC-17: the primary turns read-only with its sessions open: nodes leave it while traffic goes on", () =>
    Effect.gen(function*() {
      const { nodes, primary } = yield* failover(({ primary, proxy, standby }) =>
        Effect.gen(function*() {
          yield* Replication.demote(primary)
          yield* Effect.sleep("1 second")
          yield* Replication.promote(standby)
          yield* proxy.switchTo(standby.port)
        })
      )
      expect(yield* sessionsOf(nodes, primary)).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(Origin.layer)))
})
