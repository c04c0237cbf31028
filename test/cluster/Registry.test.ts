import { describe, expect, it } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as FullQueue from "../support/fullQueue.js"
import * as Postgres from "../support/postgres.js"
import type { Node } from "./client.js"
import type { Answers, Decision } from "./protocol.js"
import * as World from "./world.js"

/** The second in which every node must act on a decision. */
const boundMillis = 1000

/** A call, and which answers of the other nodes it ends. */
interface Step {
  readonly decision: Decision
  readonly ends: ReadonlyArray<keyof Answers>
  /** What the others answer then. A version is that of the document. */
  readonly then: Partial<Answers>
}

/** The steps in the life of a client, in an order in which each of them changes something. The origin serves `1`, later `2`. */
const steps: ReadonlyArray<Step> = [
  { decision: "approve", ends: ["resolve", "recall"], then: { resolve: "1", recall: "unconfirmed" } },
  { decision: "confirm", ends: ["recall"], then: { resolve: "1", recall: "1" } },
  { decision: "block", ends: ["resolve", "recall"], then: { resolve: "ClientBlocked", recall: "blocked" } },
  { decision: "unblock", ends: ["resolve", "recall"], then: { resolve: "1", recall: "1" } },
  { decision: "pin", ends: ["resolve", "recall"], then: { resolve: "pinned", recall: "pinned" } },
  { decision: "unpin", ends: ["resolve", "recall"], then: { resolve: "1", recall: "1" } },
  // The origin has changed the document. Recall waits for a fetch, which the next `resolve` makes.
  { decision: "evict", ends: ["resolve", "recall"], then: { resolve: "2" } },
  { decision: "forget", ends: ["recall"], then: { resolve: "2", recall: "unconfirmed" } },
  { decision: "reject", ends: ["resolve", "recall"], then: { resolve: "ClientUnapproved" } }
]

const nameOf = ({ decision }: Step) => decision

const untilRecalled = (node: Node, clientId: string, version: string) =>
  node.ask("answers", { clientId }).pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: ({ recall }) => recall === version }),
    Effect.timeout("5 seconds")
  )

/** Runs all steps on a new client, each on any node, and returns for how long the other nodes answered as before. */
const life = (origin: Origin.Origin["Type"], nodes: ReadonlyArray<Node>, clientId: string) =>
  Effect.gen(function*() {
    yield* origin.document(clientId, World.document(clientId, "1"))
    const stale: Array<number> = []
    for (const { decision, ends, then } of steps) {
      const writer = nodes[yield* Random.nextIntBetween(0, nodes.length)]!
      const others = nodes.filter((node) => node !== writer)
      if (decision === "evict") yield* origin.document(clientId, World.document(clientId, "2"))
      const watching = yield* Effect.forEach(others, (node) =>
        Effect.gen(function*() {
          const before = yield* node.ask("answers", { clientId })
          const old = Object.fromEntries(ends.map((end) => [end, before[end]]))
          return yield* Effect.fork(node.ask("watchAnswers", { clientId, old, withinMillis: 8000 }))
        }), { concurrency: "unbounded" })
      const { doneAt, error } = yield* writer.ask("decide", { clientId, decision, version: "pinned" })
      expect(error, decision).toBeNull()
      // The node that decides answers accordingly at once.
      expect(yield* writer.ask("answers", { clientId }), decision).toMatchObject(then)
      for (const { answers, lastOldAt } of yield* Effect.forEach(watching, Fiber.join)) {
        expect(answers, decision).toMatchObject(then)
        const millis = Math.max((lastOldAt ?? doneAt) - doneAt, 0)
        expect(millis, `milliseconds until ${decision} is heeded`).toBeLessThan(boundMillis)
        stale.push(millis)
      }
      // A node remembers for less than a second that there is nothing to recall.
      if (decision === "evict") yield* Effect.forEach(nodes, (node) => untilRecalled(node, clientId, "2"))
    }
    return stale
  })

/** Runs lives side by side, in as many rounds as are asked for. A round is one call. */
const lives = (rounds: number, origin: Origin.Origin["Type"], nodes: ReadonlyArray<Node>, name: string) =>
  Effect.map(
    Effect.forEach(
      Array.from({ length: Math.ceil(rounds / steps.length) }),
      (_, index) => life(origin, nodes, `https://${name}-${index}.example/client.json`),
      { concurrency: 10 }
    ),
    (stale) => {
      const all = stale.flat()
      console.log(
        `${stale.length * steps.length} rounds of ${steps.map(nameOf).join(", ")}: the worst took ${
          Math.round(Math.max(...all))
        } ms`
      )
    }
  )

const started = (count: number, database: Redacted.Redacted) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    const nodes = yield* World.nodes(count, { database, origin, admission: "approve" })
    yield* World.untilAllHear(nodes)
    return { origin, nodes }
  })

const rounds = World.isThorough ? 1000 : 36

describe("four processes with one registry", () => {
  it.scopedLive(
    `REG-16: what one decides all others heed within a second (${rounds} rounds)`,
    () =>
      Effect.gen(function*() {
        const { nodes, origin } = yield* started(4, yield* Postgres.migratedUrl)
        yield* lives(rounds, origin, nodes, "decided")
      }).pipe(Effect.provide(Origin.layer)),
    600_000
  )

  it.scopedLive.runIf(World.isThorough)(
    "REG-16: also while the connections that listen are being killed",
    () =>
      Effect.gen(function*() {
        const database = yield* Postgres.migratedUrl
        const { nodes, origin } = yield* started(4, database)
        let killed = 0
        const killing = yield* Effect.fork(Effect.forever(
          Effect.gen(function*() {
            killed += yield* World.terminateListeners
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 1500))
          }).pipe(Effect.provide(World.observer(database)))
        ))
        yield* lives(rounds, origin, nodes, "killed")
        yield* Fiber.interrupt(killing)
        expect(killed).toBeGreaterThan(0)
      }).pipe(Effect.provide(Origin.layer)),
    600_000
  )

  it.scopedLive.runIf(World.isThorough)(
    "REG-16: also while the NOTIFY queue of the server is full",
    () =>
      Effect.gen(function*() {
        const { database, url } = yield* FullQueue.server
        const { nodes, origin } = yield* started(4, database)
        const queue = yield* FullQueue.fill(url)
        yield* lives(rounds, origin, nodes, "full")
        expect(yield* queue.isFull).toBe(true)
        yield* queue.drain
      }).pipe(Effect.provide(Origin.layer)),
    600_000
  )
})
