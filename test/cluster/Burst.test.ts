import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Postgres from "../support/postgres.js"
import type { Node } from "./client.js"
import * as Client from "./client.js"
import type { Tally } from "./protocol.js"
import { moment } from "./protocol.js"
import * as World from "./world.js"

const callers = 10_000

const sum = (tallies: ReadonlyArray<Tally>, part: "sources" | "versions" | "errors"): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const tally of tallies) {
    for (const [key, count] of Object.entries(tally[part])) counts[key] = (counts[key] ?? 0) + count
  }
  return counts
}

const total = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0)

describe.sequential("ten thousand callers of four processes ask for one cold client at the same instant", () => {
  const scope = Effect.runSync(Scope.make())
  let origin: Origin.Origin["Type"]
  let nodes: ReadonlyArray<Node>
  let spare: Effect.Effect<Node, Client.NodeNotStarted, Scope.Scope>

  beforeAll(() =>
    Effect.gen(function*() {
      origin = yield* Origin.make
      const options = { database: yield* Postgres.migratedUrl, origin }
      nodes = yield* World.nodes(4, options)
      spare = Client.spawn({ ...options, name: "spare", cache: "plain" })
    }).pipe(Scope.extend(scope), Effect.runPromise)
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const requestsFor = (clientId: string) =>
    Effect.map(origin.requests, (requests) => requests.filter(({ target }) => clientId.endsWith(target)))

  const burst = (asked: ReadonlyArray<Node>, clientId: string) =>
    Effect.suspend(() => {
      const at = moment() + 300
      return Effect.all(
        asked.map((node) => node.ask("resolve", { clientId, callers: callers / nodes.length, at })),
        { concurrency: "unbounded" }
      )
    })

  it.live("FET-14: they are all answered from one request at the origin", () =>
    Effect.gen(function*() {
      const clientId = "https://app.example/cold.json"
      yield* origin.serve(clientId, { body: JSON.stringify(World.document(clientId, "1")), delay: "300 millis" })
      const tallies = yield* burst(nodes, clientId)
      expect(sum(tallies, "versions")).toEqual({ "1": callers })
      expect(sum(tallies, "errors")).toEqual({})
      expect(yield* requestsFor(clientId)).toHaveLength(1)
    }))

  it.live("FET-14: when the origin fails, they all get the same error from one request", () =>
    Effect.gen(function*() {
      const clientId = "https://app.example/failing.json"
      yield* origin.serve(clientId, { status: 503, delay: "500 millis" })
      const tallies = yield* burst(nodes, clientId)
      expect(sum(tallies, "errors")).toEqual({ UnexpectedStatus: callers })
      expect(yield* requestsFor(clientId)).toHaveLength(1)
    }))

  it.live("when the node that fetches is killed, the callers of the others are answered from a second request", () =>
    Effect.gen(function*() {
      const clientId = "https://app.example/killed.json"
      const body = JSON.stringify(World.document(clientId, "1"))
      yield* origin.serve(clientId, (_, count) => count === 1 ? { raw: "", end: "hang" } : { body })
      const asking = yield* Effect.forEach(nodes, (node) => Effect.fork(burst([node], clientId)))
      const [first] = yield* Effect.delay(requestsFor(clientId), 10).pipe(
        Effect.repeat({ until: (requests) => requests.length > 0 }),
        Effect.timeout("10 seconds")
      )
      const killed = nodes.findIndex(({ name }) => name === World.askedBy(first!))
      yield* nodes[killed]!.kill
      const from = moment()
      const exits = yield* Effect.forEach(asking, Fiber.await)
      const living = exits.flatMap((exit, index) => index === killed ? [] : [exit])
      const tallies = living.flatMap((exit) => Exit.isSuccess(exit) ? exit.value : [])
      const expected = callers / nodes.length * (nodes.length - 1)
      expect(sum(tallies, "versions")).toEqual({ "1": expected })
      expect(total(sum(tallies, "errors"))).toBe(0)
      expect((yield* requestsFor(clientId)).length).toBe(2)
      // A lease without a sign of life ends after three seconds.
      expect(moment() - from).toBeLessThan(6000)
      expect(Exit.isFailure(exits[killed]!)).toBe(true)

      // A node that comes in the place of the dead one finds what the others fetched.
      const tally = yield* Effect.flatMap(spare, (node) => node.ask("resolve", { clientId, callers: 1 }))
      expect(tally.sources).toEqual({ postgres: 1 })
    }).pipe(Effect.scoped))
})
