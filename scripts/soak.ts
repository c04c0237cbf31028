/**
 * Four nodes of an authorization server, each a process, over one Postgres and for as long as you like: clients that are
 * asked for at random, documents that change, evictions, nodes that are killed, connections that are terminated, origins
 * that fail, and an attacker with 100 requests a second for hosts that hang, cost TLS, flood or are not found, or whose
 * documents fill the table. `npm run soak -- --minutes 10 --seed 1`; the log goes to a file in the system's folder for such, and its name
 * is printed. The seed makes what is done repeatable, though not how it interleaves.
 *
 * These hold all the time, or the exit code is 1:
 *
 * 1. An evict, an evictAll or a refresh that has been done for a second is seen: no call that begins later is answered
 *    with a document older than what the origin served when the write began.
 * 2. No document is served that its origin had replaced longer ago than its lifetime and the time of a fetch.
 * 3. No client is fetched again within its lifetime (less two seconds, for clocks and refreshes that overtake each
 *    other). Excused is a request if, between a second before the one before and itself, the client was being evicted or refreshed; or if
 *    the one before was answered with a failure; or if in the eight seconds after the one before its node was killed, or
 *    connections to Postgres were terminated, so that its document may not have been stored.
 * 4. Every call is answered within its bound.
 * 5. A `CacheError` or a `RegistryError` is answered only while connections to Postgres are terminated or in the second
 *    after, an error of the fetch only while the client's origin fails or in the eight seconds after, the pause after it in
 *    the sixteen seconds after, and other errors never, except that the limits refuse. No process ends that was not killed.
 * 6. The heap of no node grows beyond a bound.
 * 7. Enough went on to have broken them: callers were answered from every tier, documents changed and were evicted, and
 *    for each minute nodes were killed, connections terminated and origins broken.
 * 8. Of the calls of confirmed clients with expired documents 0.999 are answered, and of those of new clients 0.95, without
 *    those during a fault of Postgres. Neither is ever paused for a failure, also when a refused call is repeated.
 * 9. The live documents take at most a tenth more than the bound of the table, which the attacker's documents reach.
 * 10. In the end no lease, no connection to Postgres and no connection to any host is left, and every node ends with
 *    exit code 0.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Migrations } from "effect-cimd"
import { Origin, Postgres } from "effect-cimd/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { appendFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Client from "../test/cluster/client.js"
import type { Command, Input, Output } from "../test/cluster/protocol.js"
import { moment } from "../test/cluster/protocol.js"
import * as World from "../test/cluster/world.js"
import * as Attack from "../test/support/attack/process.js"
import { kinds, ofOneSite } from "../test/support/attack/world.js"
import * as Ledger from "./soak/ledger.js"

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, seed: { type: "string", default: String(Date.now() % 1e6) } }
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error("--minutes must be a number above 0")

const nodeCount = 4
const lifetimeMillis = 20_000
/** Long enough for a holder that dies, a holder whose origin hangs, and a fetch of one's own. */
const callMillis = 20_000
const heapBytes = 120 * 1024 * 1024
/** More than the honest documents take, and less than the attacker's do within a minute. */
const maxTableBytes = 2 ** 20
const clientCount = 300
const clientOf = (index: number) => `https://h${index % 60}.example/client-${index}.json`
const clientIds = Array.from({ length: clientCount }, (_, index) => clientOf(index))

/** Clients that users have consented to. Their documents expire within a second. */
const confirmedIds = Array.from({ length: 40 }, (_, index) => `https://confirmed${index}.example/client.json`)
const attacksPerSecond = 100
/** How long the attacker stays with one kind of its hosts. */
const attackMillis = 7000

const logFile = join(tmpdir(), `effect-cimd-soak-${process.pid}.log`)
writeFileSync(logFile, "")
const startedAt = moment()
const log = (what: string) =>
  appendFileSync(logFile, `${((moment() - startedAt) / 1000).toFixed(3).padStart(9)} ${what}\n`)

const violations: Array<string> = []
const violated = (what: string) => {
  log(`VIOLATED ${what}`)
  if (violations.length < 100) violations.push(what)
}

const ledger = Ledger.make(clientIds, { lifetimeMillis, callMillis }, violated)

const pick = <A>(from: Iterable<A>): Effect.Effect<A> => Effect.orDie(Random.choice(from))

const pause = (from: number, to: number) => Effect.flatMap(Random.nextRange(from, to), Effect.sleep)

/** Some clients are far more popular than others. */
const anyClient = Effect.map(Random.next, (at) => clientOf(Math.floor(at ** 3 * clientCount)))

/** What must at least have gone on in a minute: about a quarter of what does on two busy processors. */
const floors: Readonly<Record<string, number>> = {
  "answers": 8000,
  "answers from memory": 2000,
  "answers from postgres": 2000,
  "answers from origin": 1000,
  "versions": 100,
  "evict": 20,
  "broken origins": 4,
  "faults of Postgres": 3,
  "killed nodes": 2,
  "requests of the attacker": 1500,
  "answers of confirmed clients": 150,
  "answers of new clients": 35
}

/** A place in the cluster. The process in it changes when it is killed, and its name with it. */
interface Place {
  node: Client.Node
  scope: Scope.CloseableScope
}

/** What an origin that fails may answer. */
const failures: ReadonlyArray<Origin.Answer> = [
  { status: 503 },
  { status: 404 },
  { status: 302, headers: { Location: "https://elsewhere.example/" } },
  { body: "{}" },
  { raw: "", end: "hang" },
  { raw: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", end: "reset" }
]

/** The answer of a node that lives; nothing if it was killed, and a violation if it ended or hangs by itself. */
const ask = <C extends Command>(node: Client.Node, command: C, input: Input<C>): Effect.Effect<Output<C> | undefined> =>
  Effect.catchAll(node.ask(command, input, callMillis * 1.5), (error) =>
    Effect.sync(() => {
      if (error._tag === "NodeSilent" || !ledger.wasKilled(node.name)) violated(error.message)
      return undefined
    }))

/** Serves all clients, and goes on breaking some of their origins. */
const origins = (origin: Origin.Origin["Type"]) =>
  Effect.gen(function*() {
    const broken = new Map<string, Origin.Answer>()
    const slow = new Set<string>()
    yield* Effect.forEach(clientIds, (clientId) =>
      origin.serve(clientId, (request) => {
        const failure = broken.get(clientId)
        ledger.request(clientId, World.askedBy(request) ?? "nobody", failure === undefined)
        return failure ?? {
          body: JSON.stringify(World.document(clientId, String(ledger.version(clientId)))),
          headers: { "Cache-Control": `max-age=${lifetimeMillis / 1000}` },
          delay: slow.has(clientId) ? 3000 : 0
        }
      }), { discard: true })

    const slowing = Effect.gen(function*() {
      yield* pause(100, 500)
      const clientId = yield* anyClient
      slow.add(clientId)
      yield* Effect.fork(Effect.delay(Effect.sync(() => slow.delete(clientId)), "3 seconds"))
    })
    const breaking = Effect.gen(function*() {
      yield* pause(2000, 6000)
      const clientId = yield* anyClient
      const failure = yield* pick(failures)
      if (broken.has(clientId)) return
      const mended = ledger.breaks(clientId)
      broken.set(clientId, failure)
      log(`${clientId} fails: ${JSON.stringify(failure)}`)
      yield* pause(2000, 6000)
      broken.delete(clientId)
      mended()
      log(`${clientId} is mended`)
    })
    const publishing = Effect.gen(function*() {
      yield* pause(50, 150)
      ledger.publish(yield* anyClient)
    })
    return [slowing, publishing, breaking, breaking]
  })

/** Asks, and holds the answers to what is true. */
const calling = (place: Place) =>
  Effect.gen(function*() {
    yield* pause(0, 40)
    const clientId = yield* anyClient
    const callers = yield* Random.nextIntBetween(1, 10)
    const { node } = place
    const began = moment()
    const tally = yield* ask(node, "resolve", { clientId, callers })
    if (tally !== undefined) ledger.answers(clientId, node.name, began, tally)
  })

const writing = (places: ReadonlyArray<Place>) =>
  Effect.gen(function*() {
    yield* pause(50, 250)
    const { node } = yield* pick(places)
    const clientId = yield* anyClient
    const chance = yield* Random.next
    if (yield* Random.nextBoolean) ledger.publish(clientId)
    const began = moment()
    if (chance < 0.3) {
      const written = ledger.write([clientId])
      const tally = yield* ask(node, "refresh", { clientId })
      if (tally === undefined || Object.keys(tally.errors).length > 0) written.failed()
      else written.done(tally.doneAt)
      if (tally !== undefined) ledger.answers(clientId, node.name, began, tally)
      return
    }
    const command = chance < 0.99 ? "evict" as const : "evictAll" as const
    const written = ledger.write(command === "evict" ? [clientId] : clientIds)
    if (command === "evictAll") log(`${node.name} evicts all`)
    const answer = yield* ask(node, command, { clientId })
    ledger.count(command)
    if (answer === undefined || answer.error !== null) written.failed()
    else written.done(answer.doneAt)
    ledger.operation(node.name, command, began, answer?.error)
  })

/** Asks a node for an honest client whose origin never fails. Returns whether it was answered. */
const honest = (party: Ledger.Party, clientId: string, node: Client.Node) =>
  Effect.gen(function*() {
    const began = moment()
    const tally = yield* ask(node, "resolve", { clientId, callers: 1 })
    if (tally !== undefined) ledger.honest(party, clientId, node.name, began, tally)
    return tally === undefined || Object.keys(tally.errors).length === 0
  })

const confirmedCalling = (places: ReadonlyArray<Place>) =>
  Effect.gen(function*() {
    yield* pause(100, 300)
    yield* honest("confirmed", yield* pick(confirmedIds), (yield* pick(places)).node)
  })

const newCalling = (places: ReadonlyArray<Place>) =>
  Effect.gen(function*() {
    yield* pause(500, 1500)
    const clientId = `https://new${newClients++}.example/late/client.json`
    const { node } = yield* pick(places)
    const isAnswered = yield* honest("new", clientId, node)
    // At once, so that a pause would still last.
    if (!isAnswered) yield* honest("new", clientId, node)
  })
let newClients = 0

/** Serves the honest clients whose origins never fail. New clients are far away. */
const honestOrigins = (origin: Origin.Origin["Type"]) =>
  Effect.gen(function*() {
    const serve = (path: string, delay: number, maxAge: number) =>
      origin.serve(path, ({ headers }) => {
        const host = headers.find(([name]) => name === "Host")?.[1]
        const body = JSON.stringify(World.document(`https://${host}${path}`, "honest"))
        return { body, delay, headers: { "Cache-Control": `max-age=${maxAge}` } }
      })
    yield* serve("/client.json", 0, 1)
    yield* serve("/late/client.json", 700, lifetimeMillis / 1000)
  })

/** Sends a request of the attacker, and waits for nothing. */
const attacking = (places: ReadonlyArray<Place>) =>
  Effect.gen(function*() {
    yield* Effect.sleep(1000 / attacksPerSecond)
    const { node } = yield* pick(places)
    const kind = kinds[Math.floor((moment() - startedAt) / attackMillis) % kinds.length] ?? "hang"
    const clientId = ofOneSite(kind, attacks++)
    yield* Effect.fork(Effect.map(ask(node, "resolve", { clientId, callers: 1 }), (tally) => {
      if (tally !== undefined) ledger.attack(clientId, node.name, tally)
    }))
  })
let attacks = 0

const sweeping = (places: ReadonlyArray<Place>) =>
  Effect.gen(function*() {
    yield* pause(5000, 10_000)
    const { node } = yield* pick(places)
    const began = moment()
    const swept = yield* ask(node, "sweep", {})
    ledger.operation(node.name, "sweep", began, swept?.error)
    if (swept !== undefined) {
      ledger.count("swept documents", swept.documents)
      ledger.count("swept leases", swept.leases)
    }
  })

const terminating = (sql: PgClient.PgClient) =>
  Effect.gen(function*() {
    yield* pause(4000, 10_000)
    const kind = yield* pick(["all", "listeners", "half"] as const)
    const over = ledger.fault()
    const ended = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name <> 'test' AND CASE ${kind}
        WHEN 'all' THEN true WHEN 'listeners' THEN query ~ '^(LISTEN|SELECT pg_notify)' ELSE random() < 0.5 END`.pipe(
      Effect.orDie
    )
    over()
    log(`terminated ${ended.length} connections (${kind})`)
    ledger.count("terminated connections", ended.length)
  })

const watching = (places: ReadonlyArray<Place>, sql: PgClient.PgClient) =>
  Effect.gen(function*() {
    yield* Effect.sleep("10 seconds")
    const heaps = yield* Effect.forEach(places, ({ node }) =>
      Effect.map(ask(node, "status", {}), (status) => {
        const { heapUsed } = status ?? { heapUsed: 0 }
        if (heapUsed > heapBytes) violated(`the heap of ${node.name} is ${heapUsed} bytes`)
        return `${node.name} ${(heapUsed / 1e6).toFixed(1)} MB`
      }))
    const connections = yield* connectionsOf(sql)
    const bytes = yield* tableBytesOf(sql)
    mostTableBytes = Math.max(mostTableBytes, bytes)
    if (bytes > 1.1 * maxTableBytes) violated(`the live documents take ${bytes} bytes of the table`)
    log(
      `${JSON.stringify(ledger.summary())}; heaps: ${
        heaps.join(", ")
      }; connections: ${connections}; table: ${bytes} bytes`
    )
  })

let mostTableBytes = 0

/** What the live documents take, counted row by row. */
const tableBytesOf = (sql: PgClient.PgClient) =>
  sql<{ bytes: number }>`SELECT coalesce(sum(bytes), 0)::float8 AS bytes FROM cimd_documents
    WHERE document IS NOT NULL`.pipe(Effect.map(([row]) => row?.bytes ?? 0), Effect.orDie)

const connectionsOf = (sql: PgClient.PgClient) =>
  sql<{ count: number }>`SELECT count(*)::int FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'test'`.pipe(
    Effect.map(([row]) => row?.count ?? 0),
    Effect.orDie
  )

const main = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  yield* honestOrigins(origin)
  const attackers = yield* Attack.start
  const database = yield* Effect.flatMap(Postgres.url, Postgres.database)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url: database, maxConnections: 1 }))
  const sql = Context.get(yield* Layer.build(World.observer(database)), PgClient.PgClient)

  let processes = 0
  const occupied: Effect.Effect<Place, Client.NodeNotStarted> = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const name = `n${processes++}`
    const node = yield* Client.spawn({
      name,
      database,
      origin,
      attackers,
      minimumLifetime: 1000,
      maxBytes: 262_144,
      maxTableBytes
    })
      .pipe(
        Scope.extend(scope),
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
    return { node, scope }
  })
  const leave = ({ scope }: Place) => Scope.close(scope, Exit.void)
  const places = yield* Effect.acquireRelease(
    Effect.replicateEffect(occupied, nodeCount),
    (places) => Effect.forEach(places, leave, { discard: true })
  )

  yield* Effect.forEach(
    confirmedIds,
    (clientId) => Effect.flatMap(pick(places), ({ node }) => ask(node, "decide", { clientId, decision: "confirm" })),
    {
      concurrency: 4,
      discard: true
    }
  )

  const killing = Effect.gen(function*() {
    yield* pause(5000, 15_000)
    const place = yield* pick(places)
    ledger.kill(place.node.name)
    log(`kill ${place.node.name}`)
    yield* Effect.gen(function*() {
      yield* leave(place)
      yield* pause(100, 2000)
      // It may meet connections that are being terminated.
      const { node, scope } = yield* Effect.retry(occupied, { times: 5 })
      place.node = node
      place.scope = scope
      log(`${node.name} begins`)
    }).pipe(Effect.uninterruptible)
  })

  const actors = [
    ...(yield* origins(origin)),
    ...places.flatMap((place) => Array.from({ length: 6 }, () => calling(place))),
    ...Array.from({ length: 8 }, () => confirmedCalling(places)),
    ...Array.from({ length: 4 }, () => newCalling(places)),
    attacking(places),
    writing(places),
    sweeping(places),
    terminating(sql),
    watching(places, sql),
    killing
  ]
  yield* Effect.all(actors.map(Effect.forever), { concurrency: "unbounded", discard: true }).pipe(
    Effect.timeoutOption(minutes * 60_000)
  )

  ledger.checkShares()
  const counts: Readonly<Record<string, number>> = ledger.summary()
  for (const [what, floor] of Object.entries(floors)) {
    const count = counts[what] ?? 0
    const least = Math.floor(floor * minutes)
    if (count < least) violated(`${what}: no more than ${count}, and at least ${least} were to be`)
  }
  if (mostTableBytes < 0.8 * maxTableBytes) violated(`the table never held more than ${mostTableBytes} bytes`)
  log("the end: what is left")
  // Longer than the wait for a permit, a fetch that hangs, and the time for which its failure is kept for the waiters.
  yield* Effect.sleep("16 seconds")
  const swept = yield* ask((yield* pick(places)).node, "sweep", {})
  if (swept?.error !== null) violated(`the last sweep: ${swept?.error}`)
  const leases = yield* sql`SELECT * FROM cimd_leases`
  if (leases.length > 0) violated(`leases are left: ${JSON.stringify(leases)}`)
  const exitCodes = yield* Effect.forEach(places, ({ node }) => Effect.timeout(node.quit, "10 seconds"))
  if (exitCodes.some((code) => code !== 0)) violated(`exit codes: ${exitCodes.join()}`)
  yield* Effect.sleep("1 second")
  const connections = yield* connectionsOf(sql)
  if (connections > 0) violated(`${connections} connections to Postgres are left`)
  const { open } = yield* origin.connections
  if (open > 0) violated(`${open} connections to the origin are left`)
  const held = (yield* attackers.connections).open
  if (held > 0) violated(`${held} connections to hosts of the attacker are left`)
}).pipe(Effect.scoped, Effect.provide(Origin.layer), Effect.withRandom(Random.make(values.seed)))

console.log(`${minutes} minutes, seed ${values.seed}; the log is ${logFile}`)
await Effect.runPromise(main)
const summary = JSON.stringify(ledger.summary(), null, 2)
log(summary)
console.log(summary)
for (const violation of violations) console.log(`VIOLATED ${violation}`)
console.log(violations.length === 0 ? "Every invariant held." : `${violations.length} violations`)
process.exitCode = violations.length === 0 ? 0 : 1
