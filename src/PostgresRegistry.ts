/**
 * The registry of a cluster, in Postgres: what one node does with a client, or an operator decides, counts on every node
 * within a second.
 *
 * It needs a `PgClient`, and does not build without a reachable server and tables of its version. `Migrations` or the
 * command `cimd migrate` creates the tables.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Instant } from "./Cache.js"
import type { Event, Options as RegistryOptions } from "./ClientRegistry.js"
import { ClientRegistry, InvalidDecision, NotRecalled, RegistryError } from "./ClientRegistry.js"
import * as Pool from "./internal/postgres/pool.js"
import * as AuditReads from "./internal/postgres/registry/auditReads.js"
import * as ClientReads from "./internal/postgres/registry/clientReads.js"
import * as ClientWrites from "./internal/postgres/registry/clientWrites.js"
import * as DecisionFeed from "./internal/postgres/registry/decisionFeed.js"
import * as DecisionWrites from "./internal/postgres/registry/decisionWrites.js"
import { RecallMemory } from "./internal/postgres/registry/recallMemory.js"
import * as Sweep from "./internal/postgres/registry/registrySweep.js"
import * as Requests from "./internal/postgres/registry/requests.js"
import * as Settings from "./internal/postgres/registry/settings.js"
import * as Statements from "./internal/postgres/registry/statements.js"
import * as Uses from "./internal/postgres/registry/uses.js"
import * as Timeout from "./internal/postgres/statementTimeout.js"
import * as TablesCheck from "./internal/postgres/tablesCheck.js"
import * as Reading from "./internal/registry/clientReading.js"
import * as Record from "./internal/registry/clientRecord.js"
import * as DecisionCalls from "./internal/registry/decisionCalls.js"
import * as Decisions from "./internal/registry/decisionOptions.js"
import * as Stored from "./internal/registry/documentRecord.js"
import { maxEvents } from "./internal/registry/options.js"
import * as Lifetime from "./internal/storedLifetime.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { DatabaseUnavailable } from "./PostgresClient.js"

/**
 * Options of the registry in Postgres. Each of them has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends RegistryOptions, Settings.PostgresOptions {}

const needs = ({ tables }: Settings.Settings): ReadonlyArray<TablesCheck.Need> => [
  ...[tables.clients, tables.decisions, tables.requests].map((table): TablesCheck.Need => ({
    table,
    privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"]
  })),
  { table: tables.audit, privileges: ["SELECT", "INSERT", "DELETE"] },
  { table: tables.state, privileges: ["SELECT", "UPDATE"] }
]

const make = (
  options: Options = {}
): Effect.Effect<ClientRegistry["Type"], DatabaseUnavailable | InvalidOptions, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const clock = yield* Effect.clock
    const nanos = () => clock.unsafeCurrentTimeNanos()
    const pool = yield* Pool.ofClient(client)
    const settings = yield* Settings.settle(options)
    const { forgetAfter, recallFor, tables } = settings
    const timedOut = pool?.pooler === undefined ? "cancel" : "abandon"
    const timeout = yield* Timeout.make(RegistryError, settings.timeoutMillis, timedOut)
    const sweepTimeout = yield* Timeout.make(RegistryError, settings.sweepTimeoutMillis, timedOut)
    yield* TablesCheck.check(client, tables, needs(settings), settings.timeoutMillis)

    const statements = Statements.make(client, tables)
    const events = yield* Effect.acquireRelease(PubSub.sliding<Event>(maxEvents), PubSub.shutdown)
    const feed = yield* Effect.mapError(
      DecisionFeed.make(statements, settings, timeout, {
        nanos,
        publish: (entry) => Effect.asVoid(PubSub.publish(events, { _tag: "Decided", entry }))
      }),
      ({ cause }) => TablesCheck.unavailable(tables, cause)
    )
    const memory = new RecallMemory(nanos)
    const reads = ClientReads.make(statements, pool, settings, timeout, memory)
    const change = ClientWrites.make(statements, settings, timeout)
    const requests = Requests.make(statements, settings, timeout)
    const use = yield* Uses.make(statements, settings, timeout, nanos)
    const decisionWrites = yield* DecisionWrites.make(statements, timeout, feed)

    /** Before the write, so that this node recalls nothing old while it runs. After it, for reads in between. */
    const dropping = <A, E>(clientId: string, write: Effect.Effect<A, E>): Effect.Effect<A, E> => {
      const drop = Effect.sync(() => memory.drop(clientId))
      return Effect.ensuring(Effect.zipRight(drop, write), drop)
    }

    /** A clock that is ahead must not keep the later fetches of other nodes from being recorded, nor a document for longer. */
    const started = (fetchedAt: Instant, now: Instant): Instant => fetchedAt < now ? fetchedAt : now

    return ClientRegistry.of({
      peekAdmission: feed.peek,
      admission: (clientId) => Effect.map(feed.trusted("admission"), ({ index }) => index.admission(clientId)),

      confirm: ({ document, fetchedAt, lifetimeMillis = 0 }) =>
        Effect.suspend(() => {
          const stored = Stored.store(document)
          const lifetime = BigInt(Lifetime.toMillis(lifetimeMillis)) * 1000n
          return dropping(
            document.clientId,
            change("confirm", document.clientId, (record, now) => {
              const at = fetchedAt === undefined ? undefined : started(fetchedAt, now)
              const fetched = at === undefined
                ? undefined
                : { document: stored, fetchedAt: at, expiresAt: at + lifetime }
              return Record.confirm(record, stored, fetched, now)
            })
          )
        }),
      used: (clientId) => Effect.sync(() => use(clientId)),
      isConfirmed: reads.isConfirmed,
      forget: (clientId) => dropping(clientId, change("forget", clientId, Record.forget)),
      recall: (clientId, ruleset) =>
        Effect.flatMap(
          feed.trusted("recall"),
          ({ index }) =>
            Effect.flatMap(reads.find(clientId), ({ now, record }) => {
              const recalled = Reading.recall(record, index.admission(clientId), ruleset, { now, recallFor })
              return typeof recalled === "string"
                ? new NotRecalled({ clientId, reason: recalled })
                : Effect.succeed(recalled)
            })
        ),

      recordFetch: (document, { fetchedAt, timeToLive }) =>
        dropping(
          document.clientId,
          change("recordFetch", document.clientId, (record, now) => {
            // Checked first, because most fetches are of clients that nobody confirmed.
            if (record.consent === undefined) return record
            const expiresAt = now + BigInt(Lifetime.toMillis(timeToLive)) * 1000n
            return Record.recordFetch(record, {
              document: Stored.store(document),
              fetchedAt: started(fetchedAt, now),
              expiresAt
            })
          })
        ),
      withdraw: (clientId, { fetchedAt, ruleset }) =>
        dropping(
          clientId,
          change("withdraw", clientId, (record, now) => Record.withdraw(record, started(fetchedAt, now), ruleset))
        ),

      ...DecisionCalls.make((issues) => new InvalidDecision({ issues }), {
        ...decisionWrites,
        evict: (clientId, options) => dropping(clientId, decisionWrites.evict(clientId, options))
      }),

      requestApproval: (clientId, { by }) =>
        Effect.suspend((): Effect.Effect<"recorded" | "decided", InvalidDecision | RegistryError> => {
          const issues = Decisions.issuesOf({ by, reason: "request" })
          if (issues.length > 0) return new InvalidDecision({ issues })
          return Effect.flatMap(
            feed.trusted("requestApproval"),
            ({ index }) =>
              Reading.isUndecided(index.admission(clientId))
                ? requests.record(clientId, by)
                : Effect.succeed("decided")
          )
        }),
      requests: Effect.flatMap(
        feed.current("requests"),
        ({ decisions: { index } }) =>
          Effect.map(
            requests.all,
            (all) => all.filter(({ clientId }) => Reading.isUndecided(index.admission(clientId)))
          )
      ),

      show: (clientId) =>
        Effect.flatMap(
          feed.current("show"),
          ({ decisions: { index } }) =>
            Effect.map(reads.show(clientId), ({ now, record, request }) =>
              Reading.show(clientId, Record.at(record, now, forgetAfter), {
                admission: index.admission(clientId),
                decisions: index.matching(clientId),
                request
              }))
        ),
      audit: AuditReads.make(statements, timeout),
      events: Stream.fromPubSub(events),
      refused: (clientId, error) =>
        Effect.asVoid(
          Effect.suspend(() => PubSub.publish(events, { _tag: "Refused", clientId, error, at: feed.now() }))
        ),
      sweep: Sweep.make(statements, settings, timeout, sweepTimeout)
    })
  })

/**
 * The registry in Postgres.
 *
 * @example
 * ```ts
 * import { PostgresClient, PostgresRegistry } from "effect-cimd"
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 *
 * const Live = Layer.provide(
 *   PostgresRegistry.layer({ admission: "approve" }),
 *   PostgresClient.layerConfig({ url: Config.redacted("DATABASE_URL") })
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options?: Options
): Layer.Layer<ClientRegistry, DatabaseUnavailable | InvalidOptions, PgClient.PgClient> =>
  Layer.scoped(ClientRegistry, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<ClientRegistry, DatabaseUnavailable | InvalidOptions | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(ClientRegistry, Effect.flatMap(Config.unwrap(options), make))
