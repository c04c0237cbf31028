import { describe, expect, it } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FullQueue from "../support/fullQueue.js"
import * as World from "./world.js"

/** The second in which every node must have noticed a change. */
const boundMillis = 1000

describe("three processes over a server whose NOTIFY queue is full", () => {
  it.scopedLive(
    "CAC-14: every node notices an eviction within a second, also if the queue drains at once",
    () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const { database, url } = yield* FullQueue.server
        const nodes = yield* World.nodes(3, { database, origin })
        const [writer, ...others] = nodes
        for (const [round, drains] of [false, true, false, true].entries()) {
          yield* World.untilAllHear(nodes)
          const clientId = `https://app.example/full-${round}.json`
          const [old, next] = [`old ${round}`, `new ${round}`]
          yield* origin.document(clientId, World.document(clientId, old))
          const held = yield* Effect.forEach(
            nodes,
            (node) => node.ask("hold", { clientId, version: old, withinMillis: 5000 }),
            { concurrency: "unbounded" }
          )
          expect(held).toEqual(nodes.map(() => ({ held: true })))
          yield* origin.document(clientId, World.document(clientId, next))
          const queue = yield* FullQueue.fill(url)
          const watching = yield* Effect.forEach(
            others,
            (node) => Effect.fork(node.ask("watch", { clientId, old, withinMillis: 5000 }))
          )
          const { doneAt, error } = yield* writer!.ask(round < 2 ? "evict" : "evictAll", { clientId })
          if (drains) yield* queue.drain
          expect(error).toBeNull()
          for (const { lastOldAt, version } of yield* Effect.forEach(watching, Fiber.join)) {
            expect(version).toBe(next)
            expect((lastOldAt ?? doneAt) - doneAt).toBeLessThan(boundMillis)
          }
          const answers = yield* Effect.forEach(nodes, (node) => node.ask("resolve", { clientId, callers: 20 }))
          for (const { errors, versions } of answers) {
            expect({ errors, versions }).toEqual({ errors: {}, versions: { [next]: 20 } })
          }
          yield* queue.drain
        }
      }).pipe(Effect.provide(Origin.layer)),
    60_000
  )
})
