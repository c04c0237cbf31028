import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import type { ClientId, Fetcher } from "effect-cimd"
import {
  Cache,
  ClientRegistry,
  HostPolicy,
  Migrations,
  PostgresCache,
  PostgresClient,
  Resolver,
  Validator
} from "effect-cimd"
import { FetcherTest, Origin, Postgres as PostgresServer } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import pg from "pg"
import * as TableNames from "../../src/internal/postgres/tableNames.js"
import { accepted, reader } from "../support/documents.js"

let next = 0
const newClient = () => `https://app.example/client-${next++}.json` as ClientId.ClientId

describe.sequential("an election", () => {
  // A server of its own, on which nothing else writes. It assigns a transaction id to what writes or notifies, and to
  // nothing else.
  const scope = Effect.runSync(Scope.make())
  let url: Redacted.Redacted
  let sql: PgClient.PgClient

  beforeAll(() =>
    Effect.gen(function*() {
      url = yield* PostgresServer.embedded({ settings: { autovacuum: "off" } })
      sql = Context.get(yield* Layer.build(PgClient.layer({ url, maxConnections: 2 })), PgClient.PgClient)
      yield* Effect.provideService(Migrations.run(), SqlClient.SqlClient, sql)
    }).pipe(Scope.extend(scope), Effect.runPromise)
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const caches = { layer: PostgresCache.layer, layerTiered: PostgresCache.layerTiered } as const

  const node = (cache: keyof typeof caches = "layer") =>
    Effect.map(
      Layer.build(Layer.fresh(Layer.provide(caches[cache](), PgClient.layer({ url, maxConnections: 4 })))),
      Context.get(Cache.Cache)
    )

  /** Returns how many transactions have written or notified since. */
  const writesSince = (start: bigint) => Effect.map(transactionId, (id) => Number(id - start))
  const transactionId = Effect.suspend(() =>
    Effect.map(
      sql<{ id: string }>`SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS id`,
      ([row]) => BigInt(row!.id)
    )
  )

  /** Counts the notifications of the nodes. */
  const notifications = Effect.gen(function*() {
    let count = 0
    const client = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const client = new pg.Client({ connectionString: Redacted.value(url) })
        await client.connect()
        client.on("notification", () => count++)
        await client.query(`LISTEN ${TableNames.defaults.channel}`)
        return client
      }),
      (client) => Effect.promise(() => client.end())
    )
    // What was sent before a statement on this connection has been received by its end.
    return Effect.map(Effect.promise(() => client.query("SELECT 1")), () => count)
  })

  /** A permit, and how many of it are held. */
  const permits = () => {
    const permits = { held: 0 }
    const permit = Effect.acquireRelease(
      Effect.sync(() => {
        permits.held++
      }),
      () =>
        Effect.sync(() => {
          permits.held--
        })
    )
    return { permits, permit }
  }
  // The time of a handshake counts as further starts, and may be long on a busy machine.
  const unlimited = { rateLimit: { limit: 10_000, window: "1 second" } } as const
  const refused = { permit: Effect.fail("refused" as const) }

  const leases = (clientId: string) =>
    sql<{ awaited: boolean }>`SELECT awaited FROM cimd_leases WHERE client_id = ${clientId}`
  const isAwaited = (clientId: string) =>
    Effect.repeat(Effect.delay(leases(clientId), "5 millis"), { until: ([lease]) => lease?.awaited === true }).pipe(
      Effect.timeout("5 seconds")
    )

  /** The lease of another node, written as the version before wrote it. */
  const holdElsewhere = (clientId: string, millis = 60_000) =>
    sql`INSERT INTO cimd_leases (client_id, holder, began_at, expires_at)
      VALUES (${clientId}, 'elsewhere', clock_timestamp(), clock_timestamp() + ${millis}::float8 * interval '1 millisecond')`
  const failElsewhere = (clientId: string) =>
    sql`UPDATE cimd_leases SET failure = 'no document', expires_at = clock_timestamp() + interval '5 seconds'
      WHERE client_id = ${clientId}`

  const resolver = (options: Fetcher.Options) =>
    Resolver.layer().pipe(
      Layer.provide(
        Layer.mergeAll(
          FetcherTest.layer(options),
          Validator.layer(),
          PostgresCache.layer(),
          ClientRegistry.layerMemory()
        )
      ),
      Layer.provide(HostPolicy.layerPublic),
      Layer.provide(PostgresClient.layer({ url, maxConnections: 8 })),
      Layer.fresh,
      Layer.build,
      Effect.map(Context.get(Resolver.Resolver))
    )

  /** Resolves other clients of the site until its rate is used up. */
  const useUp = ({ resolve }: Resolver.Resolver["Type"]) =>
    Effect.repeat(Effect.either(resolve(newClient())), {
      until: (result) => result._tag === "Left" && result.left._tag === "Throttled",
      times: 20
    })

  /**
   * Waits until a node has written what it writes by itself. It then writes its row once a minute, and five seconds after it
   * has served a further rule set.
   */
  const settled = (rulesets: number) =>
    Effect.repeat(
      Effect.delay(
        Effect.suspend(() =>
          sql`SELECT 1 FROM cimd_nodes, cimd_usage
            WHERE cardinality(rulesets) = ${rulesets} AND measured_at > '-infinity' AND claimed_until = '-infinity'`
        ),
        "2 seconds"
      ),
      { until: (rows) => rows.length > 0 }
    )

  it.scopedLive(
    "CAC-18: 2,000 calls that the limits refuse write nothing and notify nobody",
    () =>
      Effect.gen(function*() {
        const limited = yield* resolver({ rateLimit: { limit: 2, window: "1 hour" } })
        yield* useUp(limited)
        yield* settled(1)
        const sent = yield* notifications
        const start = yield* transactionId
        const startedAt = Date.now()
        const errors = yield* Effect.forEach(
          Array.from({ length: 2000 }, newClient),
          (clientId, i) => Effect.flip(limited.resolve(clientId, { requester: `192.0.2.${i % 250}` })),
          { concurrency: 20 }
        )
        expect(new Set(errors.map((error) => error._tag))).toEqual(new Set(["Throttled"]))
        expect(yield* writesSince(start)).toBeLessThanOrEqual(Math.floor((Date.now() - startedAt) / 60_000))
        expect(yield* sent).toBe(0)
      }).pipe(Effect.provide(Origin.layer)),
    120_000
  )

  it.scopedLive(
    "CAC-18: a node whose limits refuse a fetch receives the document that another node is fetching",
    () =>
      Effect.gen(function*() {
        const [fetching, limited] = [
          yield* resolver(unlimited),
          yield* resolver({ rateLimit: { limit: 2, window: "1 hour" } })
        ]
        yield* useUp(limited)
        const clientId = newClient()
        const origin = yield* Origin.Origin
        const before = (yield* origin.requests).length
        yield* origin.serve(clientId, {
          body: JSON.stringify({ client_id: clientId, redirect_uris: ["https://app.example/cb"] }),
          delay: "700 millis"
        })
        const fetched = yield* Effect.fork(fetching.resolve(clientId))
        yield* Effect.repeat(Effect.delay(leases(clientId), "5 millis"), { until: ({ length }) => length === 1 })
        const followed = yield* limited.resolve(clientId)
        expect([followed.source, (yield* Fiber.join(fetched)).source]).toEqual(["postgres", "origin"])
        expect((yield* origin.requests).length).toBe(before + 1)
        // Alone, it fails with the error of its own limits.
        expect((yield* Effect.flip(limited.resolve(newClient())))._tag).toBe("Throttled")
      }).pipe(Effect.provide(Origin.layer)),
    30_000
  )

  for (const cache of ["layer", "layerTiered"] as const) {
    it.scopedLive(
      `CAC-18: with PostgresCache.${cache} all waiters receive what the fetch left, with a permit or without`,
      () =>
        Effect.gen(function*() {
          const [holder, follower] = [yield* node(cache), yield* node(cache)]
          for (const outcome of ["a document", "a failure"] as const) {
            const { clientId } = accepted(newClient())
            const { permit, permits: ofFollower } = permits()
            const waiting = yield* Effect.scoped(Effect.gen(function*() {
              const election = yield* holder.elect(clientId, reader, { permit: Effect.succeed("permit") })
              if (election._tag !== "Elected") return expect.fail(election._tag)
              expect(election.permit).toBe("permit")
              const waiting = yield* Effect.forEach([{ permit }, refused], (options) =>
                Effect.forkDaemon(Effect.scoped(follower.elect(clientId, reader, options))))
              yield* isAwaited(clientId)
              // A permit that is not used is returned at once.
              expect(ofFollower.held).toBe(0)
              if (outcome === "a failure") {
                yield* election.fail("no document")
              } else {
                const { fetchedAt } = election
                yield* holder.put(accepted(clientId), { fetchedAt, timeToLive: "1 hour" })
              }
              return waiting
            }))
            for (const fiber of waiting) {
              expect(yield* Fiber.join(fiber)).toMatchObject(
                outcome === "a failure"
                  ? { _tag: "Failed", failure: "no document" }
                  : { _tag: "Found", entry: { document: { clientId } } }
              )
            }
          }
        }),
      30_000
    )
  }

  it.scopedLive("CAC-18: a release is notified if a node waits for it, and not otherwise", () =>
    Effect.gen(function*() {
      const [holder, follower] = [yield* node(), yield* node()]
      const sent = yield* notifications
      const elect = (fails: boolean, waits: boolean) =>
        Effect.scoped(Effect.gen(function*() {
          const clientId = newClient()
          const election = yield* holder.elect(clientId, reader, { permit: Effect.void })
          if (waits) {
            yield* Effect.forkScoped(Effect.scoped(follower.elect(clientId, reader, { permit: Effect.void })))
            yield* isAwaited(clientId)
          }
          if (fails && election._tag === "Elected") yield* election.fail("no document")
        }))
      for (
        const [fails, waits, count] of [[false, false, 0], [true, false, 0], [false, true, 1], [true, true, 2]] as const
      ) {
        yield* elect(fails, waits)
        expect(yield* sent).toBe(count)
      }
    }))

  it.scopedLive(
    "CAC-18: while another node fetches, a node writes once, and without a permit not at all",
    () =>
      Effect.gen(function*() {
        const follower = yield* node()
        yield* settled(0)
        for (const [options, writes] of [[{ permit: Effect.void }, 1], [refused, 0]] as const) {
          const clientId = newClient()
          yield* holdElsewhere(clientId)
          const start = yield* transactionId
          const waiting = yield* Effect.fork(Effect.scoped(follower.elect(clientId, reader, options)))
          yield* Effect.sleep("2 seconds")
          expect(yield* writesSince(start)).toBe(writes)
          yield* Fiber.interrupt(waiting)
        }
      }),
    20_000
  )

  it.scopedLive("CAC-18: after the end of a node that fetched, one with a permit takes over, and one without fails", () =>
    Effect.gen(function*() {
      const follower = yield* node("layerTiered")
      const [taken, left] = [newClient(), newClient()]
      const { permit, permits: own } = permits()
      yield* Effect.forEach([taken, left], (clientId) => holdElsewhere(clientId, 1000))
      const fails = yield* Effect.fork(Effect.scoped(Effect.flip(follower.elect(left, reader, refused))))
      const election = yield* follower.elect(taken, reader, { permit })
      expect([election._tag, own.held]).toEqual(["Elected", 1])
      expect(yield* Fiber.join(fails)).toBe("refused")
      expect(yield* leases(taken)).toEqual([{ awaited: false }])
    }))

  it.scopedLive("CAC-18: an interruption returns the permit and the lease, wherever it comes", () =>
    Effect.gen(function*() {
      const cache = yield* node()
      const { permit, permits: own } = permits()
      const interrupted = (clientId: ClientId.ClientId, slow: typeof permit) =>
        Effect.gen(function*() {
          const caller = yield* Effect.fork(
            Effect.scoped(Effect.zipRight(cache.elect(clientId, reader, { permit: slow }), Effect.never))
          )
          return { caller, held: Effect.map(Effect.sync(() => own.held), (held) => held > 0) }
        })
      const until = (condition: Effect.Effect<boolean, unknown>) =>
        Effect.repeat(Effect.delay(condition, "5 millis"), { until: (met) => met }).pipe(Effect.timeout("5 seconds"))
      const [elected, slow, following] = [newClient(), newClient(), newClient()]

      const asHolder = yield* interrupted(elected, permit)
      yield* until(Effect.map(leases(elected), ({ length }) => length === 1))
      yield* Fiber.interrupt(asHolder.caller)
      expect([own.held, yield* leases(elected)]).toEqual([0, []])

      const inQueue = yield* interrupted(slow, Effect.zipRight(permit, Effect.never))
      yield* until(inQueue.held)
      yield* Fiber.interrupt(inQueue.caller)
      expect([own.held, yield* leases(slow)]).toEqual([0, []])

      yield* holdElsewhere(following)
      const asFollower = yield* interrupted(following, permit)
      yield* isAwaited(following)
      yield* until(Effect.sync(() => own.held === 0))
      yield* Fiber.interrupt(asFollower.caller)
      expect(yield* leases(following)).toEqual([{ awaited: true }])
    }))

  it.scopedLive("FET-14: a fetch that failed while a call waited for its permit has failed for the call, and no other", () =>
    Effect.gen(function*() {
      const cache = yield* node()
      const { permit, permits: own } = permits()
      for (const permitted of [true, false]) {
        const clientId = newClient()
        const slow = Effect.zipRight(
          Effect.sleep("500 millis"),
          permitted ? permit : Effect.fail("refused" as const)
        )
        const waiting = yield* Effect.fork(Effect.scoped(cache.elect(clientId, reader, { permit: slow })))
        yield* Effect.sleep("200 millis")
        yield* holdElsewhere(clientId)
        yield* failElsewhere(clientId)
        expect(yield* Fiber.join(waiting)).toEqual({ _tag: "Failed", failure: "no document" })
        expect(own.held).toBe(0)
        expect(yield* Effect.flip(Effect.scoped(cache.elect(clientId, reader, refused)))).toBe("refused")
        expect((yield* Effect.scoped(cache.elect(clientId, reader, { permit })))._tag).toBe("Elected")
      }
    }))

  it.scopedLive("a document that was stored while a call waited for its permit is found, with a permit or without", () =>
    Effect.gen(function*() {
      const [cache, other] = [yield* node(), yield* node()]
      for (const permit of [Effect.void, Effect.fail("refused" as const)]) {
        const document = accepted(newClient())
        const stores = Effect.flatMap(
          other.now,
          (fetchedAt) => other.put(document, { fetchedAt, timeToLive: "1 hour" })
        )
        const election = yield* cache.elect(document.clientId, reader, {
          permit: Effect.zipRight(Effect.orDie(stores), permit)
        })
        expect(election._tag).toBe("Found")
      }
    }))

  it.scopedLive(
    "CAC-08: nodes of the version before share leases with this one, without the column that they do not know",
    () =>
      Effect.gen(function*() {
        const cache = yield* node("layerTiered")
        // They notify no failure that this node waits for, which then finds it by reading.
        const failing = newClient()
        yield* holdElsewhere(failing)
        const waiting = yield* Effect.fork(Effect.scoped(cache.elect(failing, reader, { permit: Effect.void })))
        yield* isAwaited(failing)
        yield* failElsewhere(failing)
        expect(yield* Fiber.join(waiting)).toEqual({ _tag: "Failed", failure: "no document" })

        // The statement by which they acquire.
        const acquire = (clientId: string) =>
          Effect.map(
            sql<{ acquired: boolean }>`WITH acquired AS (
            INSERT INTO cimd_leases AS held (client_id, holder, began_at, expires_at)
            VALUES (${clientId}, 'elsewhere', clock_timestamp(), clock_timestamp() + interval '3 seconds')
            ON CONFLICT (client_id) DO UPDATE SET
              holder = excluded.holder, began_at = excluded.began_at, expires_at = excluded.expires_at, failure = NULL
            WHERE held.expires_at <= clock_timestamp() OR held.failure IS NOT NULL
            RETURNING 1
          ) SELECT EXISTS (SELECT 1 FROM acquired) AS acquired`,
            ([row]) => row!.acquired
          )
        const clientId = newClient()
        const follower = yield* node()
        yield* Effect.scoped(Effect.gen(function*() {
          const election = yield* cache.elect(clientId, reader, { permit: Effect.void })
          yield* Effect.forkScoped(Effect.scoped(follower.elect(clientId, reader, { permit: Effect.void })))
          yield* isAwaited(clientId)
          expect(yield* acquire(clientId)).toBe(false)
          if (election._tag === "Elected") yield* election.fail("no document")
          expect(yield* acquire(clientId)).toBe(true)
        }))
        // The node that has lost it neither released nor renewed it, and acquires it once it has expired.
        expect(yield* leases(clientId)).toHaveLength(1)
        expect((yield* Effect.scoped(cache.elect(clientId, reader, { permit: Effect.void })))._tag).toBe("Elected")
        expect(yield* leases(clientId)).toEqual([])
      }),
    20_000
  )
})
