import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it, vi } from "@effect/vitest"
import { Cache, Migrations, PostgresCache } from "effect-cimd"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import pg from "pg"
import * as metrics from "../../src/internal/metrics.js"
import * as Tables from "../../src/internal/postgres/tableNames.js"
import { accepted, reader, ruleset } from "../support/documents.js"
import * as Postgres from "../support/postgres.js"

const { channel } = Tables.defaults
const document = accepted("https://app.example/confidential.json", { client_name: "App" })

const tiered = (url: Redacted.Redacted) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresCache.layerTiered(), PgClient.layer({ url })))),
    Context.get(Cache.Cache)
  )
const put = (cache: Cache.Cache["Type"]) =>
  Effect.flatMap(cache.now, (fetchedAt) => cache.put(document, { fetchedAt, timeToLive: "1 hour" }))
const isHeld = (cache: Cache.Cache["Type"]) => cache.peek(document.clientId, ruleset) !== undefined
const listening = Effect.map(Metric.value(metrics.listening), ({ value }) => value === 1)
const until = (holds: boolean) =>
  Effect.repeat(Effect.delay(listening, "10 millis"), { until: (isListening) => isListening === holds }).pipe(
    Effect.timeout("5 seconds")
  )
const foreign = Effect.map(Metric.value(metrics.foreignNotifications), ({ count }) => count)

let roles = 0

/** A role of the database that has no right to a table, and the payloads that it hears. */
const stranger = (url: Redacted.Redacted, channels: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const role = `cimd_stranger_${process.pid}_${roles++}`
    const asOwner = (statement: string) =>
      Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(Effect.provide(PgClient.layer({ url })))
    yield* Effect.acquireRelease(
      asOwner(`CREATE ROLE ${role} LOGIN PASSWORD 'stranger'`),
      () => Effect.orDie(asOwner(`DROP ROLE ${role}`))
    )
    const own = new URL(Redacted.value(url))
    own.username = role
    own.password = "stranger"
    const heard: Array<{ readonly channel: string; readonly payload: string }> = []
    const client = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const client = new pg.Client({ connectionString: own.href })
        client.on("notification", ({ channel, payload = "" }) => heard.push({ channel, payload }))
        await client.connect()
        for (const channel of channels) await client.query(`LISTEN "${channel}"`)
        return client
      }),
      (client) => Effect.promise(() => client.end())
    )
    const notify = (channel: string, payload: string) =>
      Effect.promise(() => client.query("SELECT pg_notify($1, $2)", [channel, payload]))
    return { heard, notify }
  })

/** The texts and the parameters of the statements that run from now on. */
const statements = Effect.gen(function*() {
  const texts: Array<string> = []
  const parameters: Array<string> = []
  const original = pg.Client.prototype.query
  const query = vi.spyOn(pg.Client.prototype, "query")
  query.mockImplementation(function(this: pg.Client, ...args: Array<unknown>) {
    const [statement] = args
    texts.push(typeof statement === "string" ? statement : String((statement as { readonly text?: string }).text))
    parameters.push(JSON.stringify(args))
    return Reflect.apply(original, this, args)
  } as never)
  yield* Effect.addFinalizer(() => Effect.sync(() => query.mockRestore()))
  return { texts, parameters }
})

describe("CAC-15: a role without rights to the tables", () => {
  it.scopedLive("reads no client id from a notification, and from no text of a statement", () =>
    Effect.gen(function*() {
      const { parameters, texts } = yield* statements
      const url = yield* Postgres.migratedUrl
      const { heard } = yield* stranger(url, [channel])
      const cache = yield* tiered(url)
      yield* until(true)
      yield* put(cache)
      yield* cache.get(document.clientId, reader)
      yield* cache.supersede(document.clientId, yield* cache.now)
      // A release is notified if somebody waits for it.
      const elect = cache.elect(document.clientId, reader, { permit: Effect.void })
      const waiting = yield* Effect.scoped(
        elect.pipe(
          Effect.zipRight(Effect.forkDaemon(Effect.scoped(elect))),
          Effect.tap(Effect.sleep("300 millis"))
        )
      )
      expect((yield* Fiber.join(waiting))._tag).toBe("Elected")
      yield* cache.withdraw(document.clientId, { fetchedAt: yield* cache.now, ruleset })
      yield* cache.evict(document.clientId)
      yield* Effect.sleep("100 millis")
      expect(heard).toHaveLength(4)
      for (const { payload } of heard) {
        expect(payload + Buffer.from(payload, "base64url").toString("latin1")).not.toMatch(/example|changed|released/)
      }
      expect(texts.length).toBeGreaterThan(7)
      for (const text of texts) expect(text).not.toMatch(/app\.example|[0-9a-f]{64}/)
      // A server may log parameters.
      const [row] = yield* Effect.provide(
        Effect.flatMap(
          PgClient.PgClient,
          (sql) => sql<{ key: string }>`SELECT encode(notification_key, 'hex') AS key FROM cimd_state`
        ),
        PgClient.layer({ url })
      )
      expect(parameters.some((each) => each.includes("notification_key"))).toBe(true)
      for (const each of parameters) expect(each).not.toContain(row!.key)
    }))

  it.scopedLive("empties no memory tier: what it makes up is ignored, and counted", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const cache = yield* tiered(url)
      const { notify } = yield* stranger(url, [])
      yield* until(true)
      yield* put(cache)
      expect(isHeld(cache)).toBe(true)
      const before = yield* foreign
      const payloads = ["all someone ", `changed someone ${document.clientId}`, "", "A".repeat(7999)]
      yield* Effect.forEach(payloads, (payload) => notify(channel, payload))
      yield* Effect.repeat(Effect.delay(foreign, "5 millis"), { until: (count) => count >= before + payloads.length })
        .pipe(Effect.timeout("5 seconds"))
      expect(yield* foreign).toBe(before + payloads.length)
      expect(isHeld(cache)).toBe(true)
    }))

  it.scopedLive("that repeats a notification costs one read of its client, and of no other", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const [writer, cache] = [yield* tiered(url), yield* tiered(url)]
      const { heard, notify } = yield* stranger(url, [channel])
      yield* until(true)
      const other = accepted("https://app.example/other.json")
      yield* put(writer)
      yield* writer.evictAll
      yield* put(writer)
      yield* writer.put(other, { fetchedAt: yield* writer.now, timeToLive: "1 hour" })
      // Longer than until the next heartbeat.
      yield* Effect.sleep("600 millis")
      const hold = Effect.zipRight(cache.get(document.clientId, reader), cache.get(other.clientId, reader))
      yield* hold
      expect(isHeld(cache)).toBe(true)
      const [first] = heard
      yield* notify(channel, first!.payload)
      yield* Effect.repeat(Effect.delay(Effect.sync(() => isHeld(cache)), "5 millis"), { until: (held) => !held }).pipe(
        Effect.timeout("5 seconds")
      )
      expect(cache.peek(other.clientId, ruleset)).toBeDefined()
      expect((yield* cache.get(document.clientId, reader))._tag).toBe("Some")
    }))

  it.scopedLive("cannot stand in for the heartbeats of a node, whatever it makes up or repeats", () =>
    Effect.gen(function*() {
      const { texts } = yield* statements
      const url = yield* Postgres.migratedUrl
      yield* tiered(url)
      yield* until(true)
      const [, ownChannel = ""] = /LISTEN "\w+"; LISTEN "(\w+)"/.exec(texts.join("\n")) ?? []
      expect(ownChannel).toContain(channel)
      const { heard, notify } = yield* stranger(url, [ownChannel])
      yield* Effect.sleep("700 millis")
      expect(heard.length).toBeGreaterThan(1)
      const nodeId = ownChannel.slice(channel.length + 1)
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql.withTransaction(Effect.gen(function*() {
          // No heartbeat gets further than this table.
          yield* sql`LOCK TABLE cimd_state IN ACCESS EXCLUSIVE MODE`
          const replaying = yield* Effect.fork(Effect.forever(Effect.delay(
            Effect.suspend(() =>
              Effect.forEach(
                [
                  ...heard.map(({ payload }) => payload),
                  ...Array.from({ length: 20 }, (_, i) => `heartbeat ${nodeId} ${i}`)
                ],
                (payload) => notify(ownChannel, payload)
              )
            ),
            "50 millis"
          )))
          const start = performance.now()
          yield* until(false)
          expect(performance.now() - start).toBeLessThan(1500)
          yield* replaying.interruptAsFork(replaying.id())
        }))
      }).pipe(Effect.provide(PgClient.layer({ url })))
    }))
})

describe("the key of the notifications", () => {
  it.scopedLive("differs from database to database, and has 32 bytes", () =>
    Effect.gen(function*() {
      const keyOf = (url: Redacted.Redacted) =>
        Effect.flatMap(PgClient.PgClient, (sql) =>
          sql<{ key: string }>`SELECT encode(notification_key, 'hex') AS key FROM cimd_state`).pipe(
            Effect.map(([row]) =>
              row!.key
            ),
            Effect.provide(PgClient.layer({ url }))
          )
      const migrated = Effect.gen(function*() {
        const url = yield* Postgres.emptyUrl
        yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
        return yield* keyOf(url)
      })
      const keys = [yield* migrated, yield* migrated]
      for (const key of keys) expect(key).toMatch(/^[0-9a-f]{64}$/)
      expect(keys[0]).not.toBe(keys[1])
    }))

  it.scopedLive("CAC-12: a node that has another key than its tables serves nothing from memory for long", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.migratedUrl
      const cache = yield* tiered(url)
      yield* until(true)
      yield* put(cache)
      yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`UPDATE cimd_state SET notification_key = sha256('other')`)
        .pipe(
          Effect.provide(PgClient.layer({ url }))
        )
      const start = performance.now()
      yield* until(false)
      expect(performance.now() - start).toBeLessThan(1500)
      yield* Effect.sleep("1 second")
      expect(yield* listening).toBe(false)
      expect(isHeld(cache)).toBe(false)
    }))
})
