import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import type { ClientId } from "effect-cimd"
import { ClientRegistry, Migrations, PostgresClient, PostgresRegistry } from "effect-cimd"
import { Postgres as PostgresServer } from "effect-cimd/testing"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { accepted, ruleset } from "./support/documents.js"
import * as Postgres from "./support/postgres.js"
import { cluster, node } from "./support/registryNodes.js"
import { registrySuite } from "./support/registrySuite.js"

// The server of the tests is on this machine.
const now = Effect.map(Clock.currentTimeNanos, (nanos) => nanos / 1000n)

registrySuite("PostgresRegistry.layer", {
  fresh: (options) => Layer.fresh(Layer.provide(PostgresRegistry.layer(options), Postgres.migrated)),
  now
})

for (const [name, pooler] of [["the own client", Postgres.pooler], ["a pooler", "transaction"]] as const) {
  registrySuite(`PostgresRegistry.layer over ${name}`, {
    fresh: (options) =>
      Layer.fresh(Layer.provide(
        PostgresRegistry.layer(options),
        Layer.unwrapScoped(
          Effect.map(Postgres.migratedUrl, (url) => PostgresClient.layer({ url, pooler, maxConnections: 5 }))
        )
      )),
    cluster: (options) => Effect.map(cluster(4, options, pooler), ({ nodes }) => nodes),
    now
  })
}

const operator = { by: "operator", reason: "a test" }
const clientId = "https://app.example/client.json" as ClientId.ClientId
const document = accepted(clientId, { client_name: "App" })

const confirmed = (registry: ClientRegistry.ClientRegistry["Type"], shown = document) =>
  Effect.flatMap(now, (fetchedAt) => registry.confirm({ document: shown, fetchedAt }))

const recalled = (registry: ClientRegistry.ClientRegistry["Type"], id = clientId) =>
  registry.recall(id, ruleset).pipe(
    Effect.map(({ document }) => JSON.parse(document.text).client_name),
    Effect.catchTag("NotRecalled", ({ reason }) => Effect.succeed(reason))
  )

const startFailure = (options: PostgresRegistry.Options, client: Layer.Layer<PgClient.PgClient, unknown>) =>
  Effect.flip(Effect.scoped(Layer.build(Layer.provide(PostgresRegistry.layer(options), client))))

describe("REG-14: a registry that cannot work does not build", () => {
  it.live("without tables", () =>
    Effect.gen(function*() {
      const error = yield* startFailure({}, Postgres.empty)
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "MissingTables" })
    }))

  it.live("with tables of other names", () =>
    Effect.gen(function*() {
      const error = yield* startFailure({ prefix: "other_" }, Postgres.migrated)
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "MissingTables" })
      expect(String(error)).toContain("--prefix other_")
    }))

  it.scopedLive("without a privilege that it needs", () =>
    Effect.gen(function*() {
      const { sql, url } = yield* cluster(1)
      const role = `registry_${yield* Clock.currentTimeMillis}`
      yield* sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
      yield* Effect.addFinalizer(() =>
        Effect.orDie(sql.unsafe(`DROP OWNED BY ${role}`).pipe(Effect.zipRight(sql.unsafe(`DROP ROLE ${role}`))))
      )
      const own = new URL(Redacted.value(url))
      own.username = role
      own.password = "secret"
      const client = PgClient.layer({ url: Redacted.make(own.href), maxConnections: 2 })
      yield* sql.unsafe(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON cimd_clients, cimd_decisions, cimd_requests TO ${role}`
      )
      yield* sql.unsafe(`GRANT SELECT, UPDATE ON cimd_state TO ${role}`)
      yield* sql.unsafe(`GRANT SELECT, INSERT ON cimd_audit TO ${role}`)
      const error = yield* startFailure({}, client)
      expect(error).toMatchObject({
        reason: "Refused",
        cause: { message: "missing privileges: DELETE ON cimd_audit" }
      })
      // What is listed suffices for every call.
      yield* sql.unsafe(`GRANT DELETE ON cimd_audit TO ${role}`)
      yield* Effect.gen(function*() {
        const registry = yield* ClientRegistry.ClientRegistry
        yield* confirmed(registry)
        yield* registry.used(clientId)
        yield* registry.pin(document, { reason: "a test" })
        yield* registry.evict(clientId, { reason: "a test" })
        yield* registry.unpin(clientId, { reason: "a test" })
        yield* registry.requestApproval(clientId, { by: "user" })
        yield* registry.forget(clientId)
        yield* registry.sweep
        expect((yield* registry.audit()).map(({ by }) => by)).toEqual([role, role, role])
      }).pipe(Effect.provide(Layer.provide(PostgresRegistry.layer({ admission: "approve" }), client)))
    }))

  it.live("with invalid options, or those of Config", () =>
    Effect.gen(function*() {
      const error = yield* startFailure({ timeout: 0, prefix: "A", recallFor: -1 }, Postgres.migrated)
      expect(error).toMatchObject({ _tag: "InvalidOptions", module: "PostgresRegistry" })
      for (const option of ["timeout", "prefix", "recallFor"]) expect(String(error)).toContain(`\`${option}\``)
      const layer = PostgresRegistry.layerConfig({ admission: Config.literal("open", "approve")("MODE") })
      const admission = yield* Effect.flatMap(ClientRegistry.ClientRegistry, (registry) => registry.admission(clientId))
        .pipe(
          Effect.provide(Layer.provide(layer, Postgres.migrated)),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["MODE", "approve"]])))
        )
      expect(admission._tag).toBe("Unapproved")
    }))
})

describe("PostgresRegistry", () => {
  it.live("works with other table names, over a client that renames columns", () =>
    Effect.gen(function*() {
      const registry = yield* ClientRegistry.ClientRegistry
      yield* confirmed(registry)
      yield* registry.block("other.example", operator)
      expect(yield* recalled(registry)).toBe("App")
      expect((yield* registry.audit()).length).toBe(1)
    }).pipe(Effect.provide(
      PostgresRegistry.layer({ schema: "identity", prefix: "oauth_" }).pipe(
        Layer.provide(Migrations.layer({ schema: "identity", prefix: "oauth_" })),
        Layer.provide(
          Layer.unwrapScoped(Effect.map(Postgres.emptyUrl, (url) =>
            PgClient.layer({
              url,
              transformResultNames: (name) => name.toUpperCase(),
              transformQueryNames: (name) => name.toLowerCase()
            })))
        )
      )
    )))

  it.scopedLive("REG-02: calls about strangers write nothing", () =>
    Effect.gen(function*() {
      // A server of its own, on which nothing else writes. It assigns a transaction id to what writes, and to nothing else.
      const url = yield* PostgresServer.embedded({ settings: { autovacuum: "off" } })
      const sql = Context.get(yield* Layer.build(PgClient.layer({ url, maxConnections: 2 })), PgClient.PgClient)
      yield* Effect.provideService(Migrations.run(), SqlClient.SqlClient, sql)
      const registry = yield* node({}, { url, maxConnections: 4 })
      const written = Effect.map(
        sql<{ id: string }>`SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS id`,
        ([row]) => row?.id
      )
      const before = yield* written
      for (let i = 0; i < 20; i++) {
        const stranger = accepted(`https://stranger-${i}.example/c`)
        yield* registry.recordFetch(stranger, { fetchedAt: yield* now, timeToLive: "1 hour" })
        yield* registry.withdraw(stranger.clientId, { fetchedAt: yield* now, ruleset })
        yield* registry.forget(stranger.clientId)
        yield* registry.show(stranger.clientId)
        yield* registry.admission(stranger.clientId)
        expect(yield* registry.isConfirmed(stranger.clientId)).toBe(false)
        yield* registry.refused(stranger.clientId, "HostRefused")
        expect(yield* recalled(registry, stranger.clientId)).toBe("unconfirmed")
        expect(yield* registry.unblock(stranger.clientId, operator)).toBe(false)
      }
      expect(yield* written).toBe(before)
      expect(yield* sql`SELECT 1 FROM cimd_clients`).toEqual([])
    }))

  it.scopedLive("REG-04: uses are written together, and at most once a minute of all nodes", () =>
    Effect.gen(function*() {
      const { nodes, sql } = yield* cluster(2)
      const ids = Array.from({ length: 3 }, (_, i) => `https://app-${i}.example/c`)
      for (const id of ids) yield* confirmed(nodes[0], accepted(id))
      const usedAt = Effect.map(
        sql<{ at: string }>`SELECT (used_at > now() - interval '1 minute')::text AS at FROM cimd_clients
          ORDER BY client_id`,
        (rows) => rows.map(({ at }) => at)
      )
      const revisions = Effect.map(
        sql<{ revision: string }>`SELECT revision::text FROM cimd_clients ORDER BY client_id`,
        (rows) => rows.map(({ revision }) => BigInt(revision))
      )
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '1 hour'`
      const before = yield* revisions
      for (let round = 0; round < 3; round++) {
        for (const registry of nodes) {
          yield* registry.used(ids[0] as ClientId.ClientId)
          yield* registry.used(ids[1] as ClientId.ClientId)
          yield* registry.used("https://stranger.example/c" as ClientId.ClientId)
        }
        yield* Effect.sleep("1200 millis")
      }
      expect(yield* usedAt).toEqual(["true", "true", "false"])
      expect((yield* revisions).map((after, i) => after - before[i]!)).toEqual([1n, 1n, 0n])
    }))

  it.scopedLive("REG-04: uses are written when the registry closes", () =>
    Effect.gen(function*() {
      const { nodes: [other], sql, url } = yield* cluster(1)
      yield* confirmed(other)
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '1 hour'`
      yield* Effect.scoped(
        Effect.flatMap(node({}, { url, pooler: Postgres.pooler }), (registry) => registry.used(clientId))
      )
      expect(yield* sql`SELECT 1 FROM cimd_clients WHERE used_at > now() - interval '1 minute'`).toHaveLength(1)
    }))

  it.scopedLive("REG-04, REG-08: a sweep keeps the mark of a late eviction, and deletes it after a day", () =>
    Effect.gen(function*() {
      const { nodes: [registry], sql } = yield* cluster(1)
      yield* confirmed(registry)
      yield* registry.evict(clientId, operator)
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '91 days'`
      expect(yield* registry.sweep).toEqual({ clients: 1, audit: 0 })
      const { evictedAt } = yield* registry.show(clientId)
      expect(evictedAt).toBeDefined()
      yield* registry.confirm({ document, fetchedAt: evictedAt! - 1n })
      expect(yield* recalled(registry)).toBe("tooOld")
      yield* registry.forget(clientId)
      yield* sql`UPDATE cimd_clients SET evicted_at = now() - interval '25 hours'`
      expect(yield* registry.sweep).toEqual({ clients: 1, audit: 0 })
      expect(yield* sql`SELECT 1 FROM cimd_clients`).toEqual([])
    }))

  it.scopedLive("REG-12: concurrent requests of one site leave five", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(2, { admission: "approve" })
      yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => `https://one.example/${i}` as ClientId.ClientId),
        (id, i) => nodes[i % 2]!.requestApproval(id, { by: "user" }),
        { concurrency: "unbounded" }
      )
      expect((yield* nodes[0].requests).length).toBe(5)
    }))

  it.scopedLive("recalls one object for one document, so its reader validates it once", () =>
    Effect.gen(function*() {
      const { nodes: [registry] } = yield* cluster(1)
      yield* confirmed(registry)
      const first = yield* registry.recall(clientId, ruleset)
      expect((yield* registry.recall(clientId, ruleset)).document).toBe(first.document)
      yield* registry.recordFetch(document, { fetchedAt: yield* now, timeToLive: "1 hour" })
      const refreshed = yield* registry.recall(clientId, ruleset)
      expect(refreshed.expired).toBe(false)
      expect(refreshed.document).toBe(first.document)
      yield* registry.recordFetch(accepted(clientId, { client_name: "Other" }), {
        fetchedAt: yield* now,
        timeToLive: "1 hour"
      })
      expect(yield* recalled(registry)).toBe("Other")
    }))

  const damages = {
    "accepted = 'x'": "tooOld",
    "accepted_digest = 'x'": "tooOld",
    "accepted = '[]', accepted_digest = encode(sha256('[]'), 'hex')": "tooOld",
    "accepted = repeat('[', 200000), accepted_digest = encode(sha256(repeat('[', 200000)::bytea), 'hex')": "tooOld",
    "consented = 'x'": "unconfirmed",
    "consented_at = 'infinity'": "unconfirmed",
    "used_at = '-infinity'": "unconfirmed",
    "fetched_at = 'infinity'": "tooOld",
    "withdrawals = '{}'": "Other",
    "withdrawals = '[{\"ruleset\": 1}]'": "Other",
    "evicted_at = 'infinity'": "Other"
  } as const

  for (const [damage, expected] of Object.entries(damages)) {
    it.scopedLive(`REG-05: a row with ${damage.slice(0, 60)} is no defect, fails no other read, and is replaced`, () =>
      Effect.gen(function*() {
        const { nodes: [registry], sql } = yield* cluster(1)
        const other = accepted("https://other.example/c", { client_name: "Intact" })
        yield* confirmed(registry, other)
        yield* confirmed(registry)
        yield* registry.recordFetch(accepted(clientId, { client_name: "Other" }), {
          fetchedAt: yield* now,
          timeToLive: "1 hour"
        })
        yield* sql`UPDATE cimd_clients SET ${sql.literal(damage)} WHERE client_id = ${clientId}`
        expect(
          yield* Effect.forEach([clientId, other.clientId], (id) => recalled(registry, id), {
            concurrency: "unbounded"
          })
        ).toEqual([expected, "Intact"])
        yield* registry.show(clientId)
        yield* registry.withdraw(clientId, { fetchedAt: yield* now })
        yield* confirmed(registry)
        expect(yield* recalled(registry)).toBe("App")
      }))
  }

  const unreadable = {
    "decision = 'blocked'": "Blocked",
    "document = '[]'": "Blocked",
    "digest = 'x'": "Blocked"
  }
  for (const [damage, expected] of Object.entries(unreadable)) {
    it.scopedLive(`REG-14: a pin with ${damage} admits nobody, until it is made again or ended`, () =>
      Effect.gen(function*() {
        const { nodes: [registry], sql, url } = yield* cluster(1)
        yield* registry.pin(document, operator)
        yield* sql`UPDATE cimd_decisions SET ${sql.literal(damage)}`
        const second = yield* node({}, { url, pooler: Postgres.pooler })
        const admission = yield* second.admission(clientId)
        expect(admission).toMatchObject({ _tag: expected, block: { reason: expect.stringContaining("cannot read") } })
        yield* second.pin(document, operator)
        expect((yield* second.admission(clientId))._tag).toBe("Pinned")
        yield* sql`UPDATE cimd_decisions SET ${sql.literal(damage)}`
        const third = yield* node({}, { url, pooler: Postgres.pooler })
        expect(yield* third.unpin(clientId, operator)).toBe(true)
        expect((yield* third.admission(clientId))._tag).toBe("Admitted")
      }))
  }

  it.scopedLive("REG-14: a block of a subject that this version cannot read stops the start", () =>
    Effect.gen(function*() {
      const { nodes: [registry], sql, url } = yield* cluster(1)
      yield* registry.block("app.example", operator)
      yield* sql`UPDATE cimd_decisions SET subject = 'a new syntax'`
      const error = yield* Effect.flip(Effect.scoped(node({}, { url, pooler: Postgres.pooler })))
      expect(error).toMatchObject({ _tag: "DatabaseUnavailable", reason: "NewerTables" })
      expect(String((error as PostgresClient.DatabaseUnavailable).cause)).toContain("\"a new syntax\"")
    }))

  it.scopedLive("REG-10: a look at an admission returns the same object, and computes nothing", () =>
    Effect.gen(function*() {
      const { nodes: [registry] } = yield* cluster(1)
      yield* registry.block("app.example", operator)
      const admission = registry.peekAdmission(clientId)
      expect(admission?._tag).toBe("Blocked")
      for (let i = 0; i < 100; i++) expect(registry.peekAdmission(clientId)).toBe(admission)
    }))
})
