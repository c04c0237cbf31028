import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, expect, it } from "@effect/vitest"
import type { ClientId } from "effect-cimd"
import { Cache, ClientRegistry, PostgresCache, PostgresRegistry } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import manifest from "../../package.json" with { type: "json" }
import { accepted, reader, ruleset } from "../support/documents.js"
import { migratedUrl } from "../support/postgres.js"
import { built, cimd } from "./command.js"

built()

const folder = mkdtempSync(join(tmpdir(), "cimd-registry-"))
afterAll(() => rmSync(folder, { recursive: true }))

const clientId = "https://app.example/team/client.json" as ClientId.ClientId
const because = ["--reason", "ticket 42", "--by", "alice"]

const file = (name: string, content: string): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const valid = { client_id: clientId, client_name: "Pinned", redirect_uris: ["https://app.example/cb"] }
const validFile = file("valid.json", JSON.stringify(valid))

const run = (...args: Parameters<typeof cimd>) => Effect.promise(() => cimd(...args))

/** A new database, the command on it, and a node of a server that runs in this process. */
const world = (options: PostgresRegistry.Options = {}) =>
  Effect.gen(function*() {
    const url = yield* migratedUrl
    const database = yield* Layer.build(PgClient.layer({ url, maxConnections: 5 }))
    const node = yield* Layer.build(
      Layer.merge(PostgresCache.layerTiered(), PostgresRegistry.layer(options)).pipe(
        Layer.provide(Layer.succeedContext(database))
      )
    )
    const command = (args: ReadonlyArray<string>, stdin?: string) =>
      run(args, { env: { DATABASE_URL: Redacted.value(url) }, ...(stdin === undefined ? {} : { stdin }) })
    const json = (...args: ReadonlyArray<string>) =>
      Effect.map(command([...args, "--json"]), ({ exitCode, stderr, stdout }) => {
        expect(stderr).toBe("")
        return { exitCode, result: JSON.parse(stdout) }
      })
    return {
      command,
      json,
      sql: yield* Effect.provide(PgClient.PgClient, database),
      registry: yield* Effect.provide(ClientRegistry.ClientRegistry, node),
      cache: yield* Effect.provide(Cache.Cache, node)
    }
  })

/** Waits until a running node sees what a command did. A second is the guarantee (REG-10, CAC-12). */
const withinASecond = <A, E>(see: Effect.Effect<A, E>, wanted: (seen: A) => boolean) =>
  see.pipe(
    Effect.delay("10 millis"),
    Effect.repeat({ until: wanted }),
    Effect.timeout("1 second")
  )

describe("cimd block and unblock", () => {
  it.scopedLive.each([
    { subject: clientId, key: clientId },
    { subject: "app.example", key: "app.example/" },
    { subject: "*.example", key: "*.example/" },
    { subject: "app.example/team/", key: "app.example/team/" }
  ])(
    "REG-10, REG-11: a running node applies both within a second: $subject",
    ({ key, subject }) =>
      Effect.gen(function*() {
        const { command, json, registry } = yield* world()
        expect(yield* json("block", subject, ...because)).toEqual({
          exitCode: 0,
          result: { ok: true, decision: "block", subject: key }
        })
        const blocked = yield* withinASecond(registry.admission(clientId), ({ _tag }) => _tag === "Blocked")
        expect(blocked).toMatchObject({ block: { subject: key, by: "alice", reason: "ticket 42" } })
        expect(yield* command(["unblock", subject, ...because])).toEqual({
          exitCode: 0,
          stdout: `no longer blocked: ${key}\n`,
          stderr: ""
        })
        yield* withinASecond(registry.admission(clientId), ({ _tag }) => _tag === "Admitted")
        expect(yield* command(["unblock", subject, ...because])).toEqual({
          exitCode: 1,
          stdout: `was not blocked: ${key}\n`,
          stderr: ""
        })
        expect(yield* json("unblock", subject, ...because)).toEqual({
          exitCode: 1,
          result: { ok: false, decision: "unblock", subject: key }
        })
      })
  )
})

describe("cimd allow, disallow, approve, reject and requests", () => {
  it.scopedLive("REG-12: a running node applies each within a second, and requests lists what is open", () =>
    Effect.gen(function*() {
      const { command, json, registry } = yield* world({ admission: "approve" })
      const admission = (wanted: ClientRegistry.Admission["_tag"]) =>
        withinASecond(registry.admission(clientId), ({ _tag }) => _tag === wanted)
      yield* admission("Unapproved")

      expect((yield* command(["requests"])).stdout).toBe("There are no open requests.\n")
      expect(yield* registry.requestApproval(clientId, { by: "bob" })).toBe("recorded")
      expect(yield* json("requests")).toEqual({
        exitCode: 0,
        result: { ok: true, requests: [{ clientId, by: "bob", at: expect.stringMatching(/^\d{4}-.*Z$/) }] }
      })
      expect((yield* command(["requests"])).stdout).toMatch(
        /^\d{4}-\S+Z {2}https:\/\/app\.example\/team\/client\.json, for bob\n$/
      )

      expect(yield* command(["reject", clientId, ...because])).toEqual({
        exitCode: 0,
        stdout: `rejected: ${clientId}\n`,
        stderr: ""
      })
      const rejected = yield* withinASecond(
        registry.admission(clientId),
        (each) => each._tag === "Unapproved" && each.rejection !== undefined
      )
      expect(rejected).toMatchObject({ rejection: { by: "alice" } })
      expect(yield* json("requests")).toMatchObject({ result: { requests: [] } })

      expect((yield* command(["approve", clientId, ...because])).stdout).toBe(`approved: ${clientId}\n`)
      yield* admission("Admitted")
      expect((yield* command(["disallow", clientId, ...because])).stdout).toBe(`no longer decided: ${clientId}\n`)
      yield* admission("Unapproved")
      expect(yield* command(["disallow", clientId, ...because])).toMatchObject({
        exitCode: 1,
        stdout: `was neither allowed nor rejected: ${clientId}\n`
      })

      expect((yield* command(["allow", "*.example", ...because])).stdout).toBe("allowed: *.example/\n")
      yield* admission("Admitted")
      expect((yield* command(["disallow", "*.example", ...because])).exitCode).toBe(0)
      yield* admission("Unapproved")
    }))
})

describe("cimd pin and unpin", () => {
  it.scopedLive("REG-09: a running node applies both within a second", () =>
    Effect.gen(function*() {
      const { command, json, registry } = yield* world()
      const pinned = yield* json("pin", clientId, validFile, ...because)
      expect(pinned).toEqual({
        exitCode: 0,
        result: {
          ok: true,
          decision: "pin",
          subject: clientId,
          digest: expect.stringMatching(/^[0-9a-f]{64}$/),
          issues: []
        }
      })
      const admission = yield* withinASecond(registry.admission(clientId), ({ _tag }) => _tag === "Pinned")
      expect(admission).toMatchObject({ pin: { by: "alice", document: { digest: pinned.result.digest } } })

      // `-` is standard input, wherever it stands.
      const other = JSON.stringify({ ...valid, client_name: "Other" })
      const text = yield* command(["pin", clientId, "-", ...because], other)
      expect(text).toMatchObject({
        exitCode: 0,
        stdout: expect.stringMatching(/^pinned: \S+, SHA-256 [0-9a-f]{64}\n$/)
      })
      yield* withinASecond(
        registry.admission(clientId),
        (each) => each._tag === "Pinned" && each.pin.document.text.includes("Other")
      )

      expect((yield* command(["unpin", clientId, ...because])).stdout).toBe(`no longer pinned: ${clientId}\n`)
      yield* withinASecond(registry.admission(clientId), ({ _tag }) => _tag === "Admitted")
      expect(yield* command(["unpin", clientId, ...because])).toMatchObject({
        exitCode: 1,
        stdout: `was not pinned: ${clientId}\n`
      })
    }))

  it.scopedLive("DOC-19: refuses a document that breaks a rule, with every issue that lint finds", () =>
    Effect.gen(function*() {
      const { command, json, registry } = yield* world()
      const broken = file(
        "broken.json",
        JSON.stringify({
          client_id: "https://other.example/c",
          client_secret: "s",
          redirect_uris: ["javascript:alert(1)"]
        })
      )
      const linted = yield* json("lint", broken, "--client-id", clientId)
      const refused = yield* json("pin", clientId, broken, ...because)
      expect(refused.exitCode).toBe(1)
      expect(refused.result).toEqual({ ok: false, decision: "pin", subject: clientId, issues: linted.result.issues })
      expect(refused.result.issues.length).toBeGreaterThan(2)
      const text = yield* command(["pin", clientId, broken, ...because])
      expect(text.stdout).toMatch(/^errors:\n[^]*DOC-05[^]*\nnot pinned: \S+, 3 errors, 0 warnings\n$/)
      expect(text.exitCode).toBe(1)
      expect(yield* registry.audit()).toEqual([])
    }))

  it.scopedLive("DOC-20: the flags of the profile apply", () =>
    Effect.gen(function*() {
      const { json } = yield* world()
      const rules = (...args: ReadonlyArray<string>) =>
        Effect.map(json("pin", ...args, ...because), ({ exitCode, result }) => [
          exitCode,
          ...result.issues.map(({ rule }: { readonly rule: string }) => rule)
        ])
      expect(yield* rules(clientId, validFile, "--require", "logo_uri")).toEqual([1, "DOC-20"])
      const local = "https://localhost:8443/c.json"
      const localFile = file("local.json", JSON.stringify({ ...valid, client_id: local }))
      expect(yield* rules(local, localFile)).toEqual([1, "URL-10"])
      expect((yield* rules(local, localFile, "--allow-loopback"))[0]).toBe(0)
    }))

  it.scopedLive("reads a FIFO, and refuses a file that is too large or missing", () =>
    Effect.gen(function*() {
      const { command } = yield* world()
      const pipe = join(folder, "pipe")
      execFileSync("mkfifo", [pipe])
      const writing = Effect.promise(async () => {
        const writer = await open(pipe, "w")
        await writer.write(JSON.stringify(valid))
        await writer.close()
      })
      const [{ exitCode }] = yield* Effect.all([command(["pin", clientId, pipe, ...because]), writing], {
        concurrency: "unbounded"
      })
      expect(exitCode).toBe(0)
      const huge = file("huge.json", " ".repeat(1024 * 1024 + 1))
      for (const path of [huge, "/dev/zero", join(folder, "missing.json"), folder]) {
        const { exitCode, stderr, stdout } = yield* command(["pin", clientId, path, ...because])
        expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
        expect(stderr).toMatch(/^cimd: The file .+\n$/)
      }
    }))

  it.scopedLive("REG-15: refuses a document that is larger than a pin may be", () =>
    Effect.gen(function*() {
      const { json } = yield* world()
      const large = file("large.json", JSON.stringify({ ...valid, custom: "x".repeat(70_000) }))
      const { exitCode, result } = yield* json("pin", clientId, large, ...because)
      expect(exitCode).toBe(1)
      expect(result).toMatchObject({ error: { code: "InvalidDecision", issues: [{ rule: "REG-15" }] } })
    }))
})

describe("cimd evict", () => {
  it.scopedLive("REG-08, CAC-10: a running node forgets the document within a second, and stays consented", () =>
    Effect.gen(function*() {
      const { cache, command, json, registry } = yield* world()
      const document = accepted(clientId)
      const fetchedAt = yield* cache.now
      yield* cache.put(document, { fetchedAt, timeToLive: "1 hour" })
      yield* registry.confirm({ document, fetchedAt })
      expect(yield* registry.recall(clientId, ruleset)).toMatchObject({ source: "origin" })
      yield* withinASecond(
        Effect.zipRight(cache.get(clientId, reader), Effect.sync(() => cache.peek(clientId, ruleset))),
        (entry) => entry !== undefined
      )

      expect(yield* command(["evict", clientId, ...because])).toEqual({
        exitCode: 0,
        stdout: `evicted: ${clientId}\n`,
        stderr: ""
      })
      yield* withinASecond(cache.get(clientId, reader), ({ _tag }) => _tag === "None")
      const recalled = yield* withinASecond(
        Effect.either(registry.recall(clientId, ruleset)),
        ({ _tag }) => _tag === "Left"
      )
      expect(recalled).toMatchObject({ left: { _tag: "NotRecalled", reason: "tooOld" } })
      expect(yield* json("show", clientId)).toMatchObject({
        result: { cached: { state: "evicted", document: null }, consented: { document: document.json }, accepted: null }
      })
      // The registry comes first: a client that is not known is evicted too, and the audit has it.
      expect(yield* json("evict", clientId, ...because)).toEqual({
        exitCode: 0,
        result: { ok: true, decision: "evict", subject: clientId }
      })
      expect(yield* json("audit", clientId)).toMatchObject({
        result: { entries: [{ decision: "evict" }, { decision: "evict" }] }
      })
    }))

  it.scopedLive("leaves the consents of a server whose clients are forgotten late", () =>
    Effect.gen(function*() {
      const { command, registry, sql } = yield* world({ forgetAfter: "3650 days" })
      yield* registry.confirm({ document: accepted(clientId), fetchedAt: undefined })
      yield* sql`UPDATE cimd_clients SET used_at = now() - interval '1000 days'`
      expect(yield* command(["evict", clientId, ...because])).toMatchObject({ exitCode: 0 })
      expect((yield* registry.show(clientId)).consented).toBeDefined()
    }))
})

describe("cimd show", () => {
  it.scopedLive("prints all that is stored, and writes nothing", () =>
    Effect.gen(function*() {
      const { cache, command, json, registry, sql } = yield* world({ admission: "approve" })
      const before = accepted(clientId, { client_name: "Before" })
      const after = accepted(clientId, { client_name: "After", jwks_uri: "https://app.example/jwks" })
      const fetchedAt = yield* cache.now
      yield* registry.confirm({ document: before, fetchedAt })
      const later = yield* cache.now
      yield* cache.put(after, { fetchedAt: later, timeToLive: "1 hour" })
      yield* registry.recordFetch(after, { fetchedAt: later, timeToLive: "1 hour" })
      yield* registry.withdraw(clientId, { fetchedAt: yield* cache.now, ruleset: "other-2" })
      yield* registry.requestApproval(clientId, { by: "bob" })
      yield* registry.block("app.example/team/", { by: "alice", reason: "ticket 7" })

      const rows = Effect.forEach(
        ["documents", "leases", "clients", "decisions", "requests", "audit", "state", "migrations"],
        (table) => sql.unsafe(`SELECT to_jsonb(each)::text AS row, xmin::text FROM cimd_${table} AS each ORDER BY 1`)
      )
      const untouched = yield* rows
      const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
      expect(yield* json("show", clientId)).toEqual({
        exitCode: 0,
        result: {
          ok: true,
          clientId,
          cached: {
            state: "fresh",
            ruleset,
            fetchedAt: iso,
            expiresAt: iso,
            keptUntil: iso,
            withdrawn: false,
            withdrawnFor: [],
            document: after.json
          },
          admission: "blocked",
          decisions: [{ decision: "blocked", subject: "app.example/team/", by: "alice", at: iso, reason: "ticket 7" }],
          request: null,
          consented: { at: iso, usedAt: iso, digest: ClientRegistry.digest(before), document: before.json },
          accepted: { fetchedAt: iso, expiresAt: iso, digest: ClientRegistry.digest(after), document: after.json },
          changed: "security",
          changedMembers: ["client_name", "jwks_uri"],
          withdrawals: [{ ruleset: "other-2", firstAt: iso, latestAt: iso }],
          evictedAt: null
        }
      })
      const { exitCode, stdout } = yield* command(["show", clientId])
      expect(exitCode).toBe(0)
      expect(stdout).toMatch(/^cached: fresh, fetched .*, under rule set test-1\n {2}jwks_uri: "/)
      expect(stdout).toMatch(/^admission: blocked, every server refuses it$/m)
      expect(stdout).toMatch(/^decision: blocked app\.example\/team\/, .*, by alice: ticket 7$/m)
      expect(stdout).toMatch(/^consented: .*\n(?: {2}.*\n)* {2}client_name: "Before"$/m)
      expect(stdout).toMatch(/^last accepted: .*\n(?: {2}.*\n)* {2}client_name: "After"$/m)
      expect(stdout).toMatch(/^changed since the consent: security, client_name, jwks_uri$/m)
      expect(stdout).toMatch(/^withdrawn: invalid under rule set other-2, first /m)
      expect(yield* rows).toEqual(untouched)
    }))

  it.scopedLive("shows an open request, a pin, and a row that is evicted, expired or kept", () =>
    Effect.gen(function*() {
      const { cache, command, json, registry, sql } = yield* world({ admission: "approve" })
      yield* registry.requestApproval(clientId, { by: "bob" })
      expect(yield* json("show", clientId)).toMatchObject({
        exitCode: 0,
        result: { admission: "undecided", request: { clientId, by: "bob" }, cached: null, consented: null }
      })
      expect((yield* command(["show", clientId])).stdout).toMatch(
        /^cached: nothing\nadmission: undecided, .*\nrequest: .*, for bob\nconsented: no\n$/
      )

      const document = accepted(clientId)
      yield* registry.pin(document, { reason: "outage" })
      expect(yield* json("show", clientId)).toMatchObject({
        result: {
          admission: "pinned",
          decisions: [{ decision: "pinned", document: document.json, digest: ClientRegistry.digest(document) }]
        }
      })

      yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
      const stateAfter = (statement: string) =>
        Effect.zipRight(
          sql.unsafe(statement),
          Effect.map(json("show", clientId), ({ result }) => result.cached.state)
        )
      const past = "now() - interval '1 minute'"
      const future = "now() + interval '1 minute'"
      expect(yield* stateAfter(`UPDATE cimd_documents SET expires_at = ${past}, kept_until = ${future}`)).toBe("kept")
      expect(yield* stateAfter("UPDATE cimd_documents SET withdrawn = true")).toBe("expired")
      expect(yield* stateAfter(`UPDATE cimd_documents SET kept_until = ${past}`)).toBe("expired")
      expect(yield* stateAfter("UPDATE cimd_state SET evicted_at = now()")).toBe("evicted")
    }))

  it.scopedLive("says no if nothing is stored", () =>
    Effect.gen(function*() {
      const { command, json } = yield* world()
      expect(yield* command(["show", clientId])).toEqual({
        exitCode: 1,
        stdout: `Nothing is stored of ${clientId}.\n`,
        stderr: ""
      })
      expect(yield* json("show", clientId)).toMatchObject({
        exitCode: 1,
        result: { ok: false, cached: null, admission: "undecided", decisions: [], evictedAt: null }
      })
    }))

  it.scopedLive("text of strangers cannot control the terminal", () =>
    Effect.gen(function*() {
      const { cache, command } = yield* world()
      const document = accepted(clientId, { custom: "\u001b[2J\u200b\u202e" })
      yield* cache.put(document, { fetchedAt: yield* cache.now, timeToLive: "1 hour" })
      for (const flags of [[], ["--json"]]) {
        const { stdout } = yield* command(["show", clientId, ...flags])
        expect(stdout).toContain("\\u001b[2J\\u200b\\u202e")
        expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
      }
    }))
})

describe("cimd audit", () => {
  it.scopedLive("REG-13: prints the decisions, the latest first, also of one subject as it was written", () =>
    Effect.gen(function*() {
      const { command, json, sql } = yield* world()
      expect((yield* command(["audit"])).stdout).toBe("There are no decisions.\n")
      yield* command(["block", "app.example", ...because])
      yield* command(["pin", clientId, validFile, "--reason", "outage"])
      const [role] = yield* sql<{ name: string }>`SELECT session_user::text AS name`
      const { exitCode, result } = yield* json("audit")
      const at = expect.stringMatching(/^\d{4}-.*Z$/)
      expect(exitCode).toBe(0)
      expect(result.entries).toEqual([
        // Without --by it is the role of the database.
        { decision: "pin", subject: clientId, by: role?.name, at, reason: "outage", digest: expect.any(String) },
        { decision: "block", subject: "app.example/", by: "alice", at, reason: "ticket 42" }
      ])
      expect((yield* json("audit", "app.example")).result.entries).toEqual([result.entries[1]])
      expect((yield* json("audit", "--limit", "1")).result.entries).toEqual([result.entries[0]])
      const { stdout } = yield* command(["audit"])
      expect(stdout.split("\n")).toEqual([
        expect.stringMatching(/^\S+Z {2}pin https:\S+, by \S+: outage \(SHA-256 [0-9a-f]{64}\)$/),
        expect.stringMatching(/^\S+Z {2}block app\.example\/, by alice: ticket 42$/),
        ""
      ])
    }))

  it.live.each(["0", "-1"])("--limit %s is a usage error", (limit) =>
    Effect.gen(function*() {
      const { exitCode, stderr, stdout } = yield* run(["audit", "--limit", limit, "--database-url", unreachable])
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
      expect(stderr).toMatch(/^cimd: --limit .+\n$/)
    }))
})

describe("cimd nodes", () => {
  it.scopedLive(
    "CAC-28: prints the nodes that were seen within a day, and writes nothing",
    () =>
      Effect.gen(function*() {
        const { cache, command, json, sql } = yield* world()
        yield* cache.get(clientId, reader)
        const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
        const rows = Effect.map(json("nodes"), ({ result }) => result.nodes)
        // A node writes what changed of it within seconds.
        const [node] = yield* Effect.repeat(rows, {
          until: (nodes) => nodes[0]?.listening === true && nodes[0]?.rulesets.length > 0
        })
        expect(node).toEqual({
          nodeId: expect.stringMatching(/^[0-9a-z]{12}$/),
          version: manifest.version,
          rulesets: [ruleset],
          limits: {
            maxTableBytes: 2 ** 30,
            maxPerSite: 1000,
            maxBytes: 2 ** 26,
            timeoutMillis: 2000,
            staleIfErrorMillis: 0,
            disconnectedTtlMillis: 1000,
            notifications: true
          },
          listening: true,
          startedAt: iso,
          seenAt: iso
        })
        const { exitCode, stdout } = yield* command(["nodes"])
        expect(exitCode).toBe(0)
        expect(stdout).toContain(`${node.nodeId}, version ${manifest.version}, listening\n`)
        expect(stdout).toContain(`rule sets: ${ruleset}\n`)
        expect(stdout).toContain("maxTableBytes 1073741824, ")
        // Reading registers no node.
        expect(yield* sql`SELECT node_id FROM cimd_nodes`).toEqual([{ node_id: node.nodeId }])

        yield* sql`DELETE FROM cimd_nodes`
        expect((yield* command(["nodes"])).stdout).toBe("No node was seen within a day.\n")
        yield* sql`DROP TABLE cimd_nodes`
        expect(yield* json("nodes")).toMatchObject({
          exitCode: 3,
          result: { ok: false, error: { code: "DatabaseUnavailable" } }
        })
      }),
    60_000
  )
})

describe("cimd sweep", () => {
  it.scopedLive("SWP-07, REG-04: sweeps the registry too, by the ages that are given", () =>
    Effect.gen(function*() {
      const { command, json, registry, sql } = yield* world()
      const use = (days: number) =>
        Effect.zipRight(
          registry.confirm({ document: accepted(clientId), fetchedAt: undefined }),
          sql`UPDATE cimd_clients SET used_at = now() - ${days}::float8 * interval '1 day'`
        )
      yield* use(80)
      yield* command(["block", "app.example", ...because])
      yield* sql`UPDATE cimd_audit SET decided_at = now() - interval '300 days'`
      const swept = (...flags: ReadonlyArray<string>) =>
        Effect.map(json("sweep", ...flags), ({ result }) => result.swept)
      expect(yield* swept()).toEqual({ documents: 0, leases: 0, clients: 0, audit: 0 })
      expect(yield* swept("--forget-after", "70 days", "--audit-for", "200 days")).toEqual({
        documents: 0,
        leases: 0,
        clients: 1,
        audit: 1
      })
      yield* use(100)
      expect(yield* swept("--forget-after", "200 days")).toMatchObject({ clients: 0 })
      // Servers may have a longer time than the default, so nothing is forgotten without one.
      expect(yield* swept()).toMatchObject({ clients: 0, audit: 0 })
      expect((yield* command(["sweep", "--forget-after", "90 days"])).stdout).toBe(
        "removed 0 expired documents\nremoved 0 expired leases\nremoved 1 expired clients\n" +
          "removed 0 expired entries of the audit\n"
      )
      expect(yield* command(["sweep", "--forget-after", "9999 days"])).toMatchObject({
        exitCode: 2,
        stderr: expect.stringMatching(/^cimd: .*`forgetAfter` must be a duration/)
      })
      // The block outlives its entry in the audit.
      expect((yield* registry.admission(clientId))._tag).toBe("Blocked")
    }))

  it.live.each([["--forget-after", "soon"], ["--audit-for", "90"]])(
    "an age that is none is a usage error: %j",
    (flags) =>
      Effect.gen(function*() {
        const { exitCode, stderr, stdout } = yield* run(["sweep", ...flags, "--database-url", unreachable])
        expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
        expect(stderr).toMatch(/duration/)
      })
  )
})

const unreachable = "postgresql://postgres:sesame@127.0.0.1:1/postgres"

/** Each command, with what it needs beside its subject. */
const onPatterns = ["block", "unblock", "allow", "disallow"]
const onClients = ["approve", "reject", "unpin", "evict"]
const decisions = [...onPatterns, ...onClients]

interface Failed {
  readonly error: {
    readonly code: string
    readonly issues: ReadonlyArray<{ readonly path: string; readonly rule: string }>
  }
}

describe("wrong calls", () => {
  const issuesOf = ({ exitCode, result }: { readonly exitCode: number | null; readonly result: Failed }) => {
    expect({ exitCode, code: result.error.code }).toEqual({ exitCode: 1, code: "InvalidDecision" })
    return result.error.issues.map(({ path, rule }) => path === "" ? rule : path)
  }

  it.scopedLive.each(decisions)(
    "REG-11, REG-13: %s refuses bad input with every issue, and records nothing",
    (name) =>
      Effect.gen(function*() {
        const { json, registry } = yield* world()
        const refused = yield* json(name, "https://app.example/#a", "--reason", "\u001b[2J", "--by", "")
        expect(issuesOf(refused)).toEqual(["URL-04", "/by", "/reason"])
        expect(yield* registry.audit()).toEqual([])
      })
  )

  it.scopedLive.each([["block", "app.example"], ["evict", clientId], ["pin", clientId, validFile]])(
    "REG-13: the reason and the name have one printable line and a bounded length: %j",
    (args) =>
      Effect.gen(function*() {
        const { json, registry } = yield* world()
        const issues = (...flags: ReadonlyArray<string>) => Effect.map(json(...args, ...flags), issuesOf)
        expect(yield* issues("--reason", "two\nlines")).toEqual(["/reason"])
        expect(yield* issues("--reason", "x".repeat(1025), "--by", "\u0007")).toEqual(["/by", "/reason"])
        expect(yield* issues("--reason", " ", "--by", "y".repeat(257))).toEqual(["/by", "/reason"])
        expect(yield* registry.audit()).toEqual([])
        expect((yield* json(...args, "--reason", "x".repeat(1024), "--by", "y".repeat(256))).exitCode).toBe(0)
      })
  )

  it.scopedLive("a subject cannot control the terminal", () =>
    Effect.gen(function*() {
      const { command } = yield* world()
      const { exitCode, stdout } = yield* command(["block", "https://app.example/\u001b[2J", ...because])
      expect(stdout).toMatch(/^errors:\n[^]*\nfailed: InvalidDecision, 1 error, 0 warnings\n$/)
      expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
      expect(exitCode).toBe(1)
    }))

  it.scopedLive("a pattern names no single client", () =>
    Effect.gen(function*() {
      const { json } = yield* world()
      for (const name of onClients) {
        expect((yield* json(name, "app.example", ...because)).exitCode, name).toBe(1)
      }
      expect(yield* json("show", "app.example")).toMatchObject({
        exitCode: 1,
        result: { error: { code: "InvalidClientId" } }
      })
      for (const pattern of ["*", "app.example/team", "app.example/%61/", "app.example/a/../b/", ""]) {
        expect(yield* json("audit", pattern), pattern).toMatchObject({
          exitCode: 1,
          result: { error: { issues: [{ rule: "REG-11" }] } }
        })
      }
    }))

  it.live.each([["block", clientId], ["evict", clientId], ["pin", clientId, validFile]])(
    "REG-13: without a reason it is a usage error: %j",
    (args) =>
      Effect.gen(function*() {
        const { exitCode, stderr, stdout } = yield* run([...args, "--database-url", unreachable])
        expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
        expect(stderr).toContain("--reason")
      })
  )

  it.live.each([
    ["block", clientId, ...because],
    ["evict", clientId, ...because],
    ["pin", clientId, validFile, ...because],
    ["show", clientId],
    ["requests"],
    ["audit"],
    ["nodes"]
  ])(
    "CAC-08, REG-14: with an unreachable server it fails without printing a stack or the password: %j",
    (args) =>
      Effect.gen(function*() {
        const { exitCode, stderr, stdout } = yield* run([...args, "--database-url", unreachable])
        expect(stdout).toMatch(/^failed: DatabaseUnavailable\n {2}.*cannot connect to its Postgres server/)
        expect(stderr + stdout).not.toMatch(/^\s+at |sesame/m)
        expect(exitCode).toBe(3)
      })
  )

  it.live.each([
    ["block", clientId, ...because],
    ["pin", clientId, validFile, ...because],
    ["show", clientId],
    ["audit"],
    ["nodes"]
  ])(
    "without a database it is a usage error that lists the choices: %j",
    (args) =>
      Effect.gen(function*() {
        const { exitCode, stderr, stdout } = yield* run(args)
        expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
        expect(stderr).toMatch(/^cimd: .*--database-url.*DATABASE_URL.*--embedded.*\n$/)
      })
  )
})
