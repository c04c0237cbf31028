/**
 * One node of an authorization server, in a process of its own. It does what it is told over IPC until its parent leaves.
 *
 * Names are answered by a double, and connections to the public addresses it gives go to the origin of the test. All
 * else is what a server would run, with every guard in force.
 */
import "./clock.js"
import * as PgClient from "@effect/sql-pg/PgClient"
import {
  Cache,
  ClientId,
  ClientRegistry,
  Fetcher,
  FetchError,
  HostPolicy,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Validator
} from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as metrics from "../../src/internal/metrics.js"
import * as Network from "../support/attack/network.js"
import type { Command, Decision, Input, Message, Output, Question, Tally } from "./protocol.js"
import { moment } from "./protocol.js"

const name = Config.string("NODE_NAME")
const maxConnections = Config.integer("MAX_CONNECTIONS").pipe(Config.withDefault(5))

const Database = Layer.unwrapEffect(
  Effect.map(
    Config.all({
      url: Config.redacted("DATABASE_URL"),
      applicationName: name,
      maxConnections,
      pooler: Config.literal("transaction")("POOLER").pipe(Config.withDefault(undefined))
    }),
    (config) => PostgresClient.layer({ ...config, connectTimeout: "2 seconds" })
  )
)

const timeout = Config.duration("CACHE_TIMEOUT").pipe(Config.withDefault("2 seconds"))

const Caching = Layer.unwrapEffect(
  Effect.map(
    Config.literal("tiered", "plain")("CACHE").pipe(Config.withDefault("tiered")),
    (kind) =>
      kind === "plain" ? PostgresCache.layerConfig({ timeout }) : PostgresCache.layerTieredConfig({
        timeout,
        notifications: Config.boolean("NOTIFICATIONS").pipe(Config.withDefault(true)),
        maxBytes: Config.integer("MAX_BYTES").pipe(Config.withDefault(67_108_864)),
        maxTableBytes: Config.integer("MAX_TABLE_BYTES").pipe(Config.withDefault(1_073_741_824))
      })
  )
)

const Registering = PostgresRegistry.layerConfig({
  timeout,
  admission: Config.literal("open", "approve")("ADMISSION").pipe(Config.withDefault("open"))
})

/** So that the origin can tell which node asks. */
const accept = Effect.map(name, (name) => `application/json;node=${name}`)

const Unlimited = Layer.unwrapEffect(
  Effect.map(
    Effect.all({
      port: Config.integer("ORIGIN_PORT"),
      ca: Config.string("ORIGIN_CA"),
      timeout: Config.duration("FETCH_TIMEOUT").pipe(Config.withDefault("5 seconds")),
      accept
    }),
    ({ accept, ca, port, timeout }) =>
      Fetcher.layerWithoutDependencies({
        ca,
        timeout,
        accept,
        rateLimit: { limit: 100_000, window: 1 },
        backoff: { initial: 0, maximum: 0 }
      }).pipe(
        Layer.provide(NameLookupTest.layer(() => Effect.succeed(Origin.publicAddresses))),
        Layer.provide(DialerTest.layerWith(() => port))
      )
  )
)

/** A node with the limits by default, whose network has hosts of an attacker, too. */
const UnderAttack = Layer.unwrapEffect(
  Effect.map(
    Effect.all({
      origins: Config.all({ port: Config.integer("ORIGIN_PORT"), ca: Config.string("ORIGIN_CA") }),
      attackers: Config.all({ port: Config.integer("ATTACKERS_PORT"), ca: Config.string("ATTACKERS_CA") }),
      accept
    }),
    ({ accept, ...places }) =>
      Fetcher.layerWithoutDependencies({ ca: [places.origins.ca, places.attackers.ca], accept }).pipe(
        Layer.provide(Network.layer(places))
      )
  )
)

const Fetching = Layer.unwrapEffect(
  Effect.map(
    Config.option(Config.integer("ATTACKERS_PORT")),
    (attackers) => Option.isSome(attackers) ? UnderAttack : Unlimited
  )
)

const Validating = Layer.unwrapEffect(
  Effect.map(
    Config.option(Config.literal("mcp")("PROFILE")),
    (profile) => Validator.layer(Option.isSome(profile) ? Validator.mcp : undefined)
  )
)

const Node = Layer.unwrapEffect(
  Effect.map(
    Config.duration("MINIMUM_LIFETIME").pipe(Config.withDefault("60 seconds")),
    (minimum) => Resolver.layer({ freshness: { minimum } })
  )
).pipe(
  Layer.provideMerge(Layer.mergeAll(Fetching, Validating, Caching, Registering)),
  Layer.provideMerge(Database),
  Layer.provide(HostPolicy.layerPublic)
)

type Services =
  | Resolver.Resolver
  | ClientRegistry.ClientRegistry
  | Cache.Cache
  | Validator.Validator
  | PgClient.PgClient

const tallied = (
  calls: Effect.Effect<
    ReadonlyArray<{ outcome: Either.Either<Resolver.Resolution, Resolver.ResolveError>; millis: number }>,
    never,
    Services
  >
) =>
  Effect.map(calls, (calls): Tally => {
    const [sources, versions, errors, throttled]: [Counts, Counts, Counts, Counts] = [{}, {}, {}, {}]
    let slowestMillis = 0
    let cause: string | undefined
    for (const { millis, outcome } of calls) {
      slowestMillis = Math.max(slowestMillis, millis)
      if (Either.isLeft(outcome)) {
        count(errors, outcome.left._tag)
        if (outcome.left instanceof FetchError.Throttled) count(throttled, outcome.left.reason)
        if (outcome.left instanceof Cache.CacheError) cause ??= `${outcome.left.operation}: ${told(outcome.left.cause)}`
      } else {
        count(sources, outcome.right.stale ? "stale" : outcome.right.source)
        count(versions, versionOf(outcome.right) ?? "none")
      }
    }
    return { sources, versions, errors, throttled, slowestMillis, ...(cause === undefined ? {} : { cause }) }
  })

/** An error and what it came from. */
const told = (error: unknown): string =>
  error instanceof Error ? `${error.message} <- ${told(error.cause)}` : String(error)

type Counts = Record<string, number>

const count = (counts: Counts, key: string): void => {
  counts[key] = (counts[key] ?? 0) + 1
}

const versionOf = (
  entry: { readonly document: { readonly metadata: { readonly client_name?: string } } } | undefined
) => entry?.document.metadata.client_name ?? null

const call = (resolving: Effect.Effect<Resolver.Resolution, Resolver.ResolveError>) =>
  Effect.suspend(() => {
    const from = moment()
    return Effect.map(Effect.either(resolving), (outcome) => ({ outcome, millis: moment() - from }))
  })

const until = (at: number | undefined) => at === undefined ? Effect.void : Effect.sleep(Math.max(at - moment(), 0))

const written = <A, R>(write: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.map(Effect.either(write), (result) => ({
    error: Either.isLeft(result) ? result.left._tag : null,
    value: Either.getOrUndefined(result),
    doneAt: moment()
  }))

const documentOf = (clientId: string, version: string) =>
  Effect.gen(function*() {
    const { validate } = yield* Validator.Validator
    const json = { client_id: clientId, client_name: version, redirect_uris: ["https://app.example/cb"] }
    return yield* Effect.orDie(validate(yield* parse(clientId), new TextEncoder().encode(JSON.stringify(json))))
  })

/** How this node answers for a client now. */
const answersFor = (clientId: string) =>
  Effect.gen(function*() {
    const { recall, resolve } = yield* Resolver.Resolver
    const [recalled, resolved] = yield* Effect.all([Effect.either(recall(clientId)), Effect.either(resolve(clientId))])
    return {
      recall: Either.match(recalled, {
        onLeft: (error) => error._tag === "NotRecalled" ? error.reason : error._tag,
        onRight: (recalled) => versionOf(recalled) ?? ""
      }),
      resolve: Either.match(resolved, { onLeft: ({ _tag }) => _tag, onRight: (resolved) => versionOf(resolved) ?? "" })
    }
  })

const decided = (clientId: ClientId.ClientId, decision: Decision, version: string) =>
  Effect.gen(function*() {
    const registry = yield* ClientRegistry.ClientRegistry
    const options = { reason: "a test" }
    switch (decision) {
      case "pin":
        return yield* registry.pin(yield* documentOf(clientId, version), options)
      case "confirm":
        return yield* registry.confirm(yield* Effect.flatMap(Resolver.Resolver, ({ resolve }) => resolve(clientId)))
      case "forget":
        return yield* registry.forget(clientId)
      case "evict":
        yield* registry.evict(clientId, options)
        return yield* (yield* Cache.Cache).evict(clientId)
      default:
        return yield* registry[decision](clientId, options)
    }
  })

const parse = (clientId: string) => Effect.orDie(ClientId.parse(clientId))

const commands: { readonly [C in Command]: (input: Input<C>) => Effect.Effect<Output<C>, never, Services> } = {
  resolve: ({ at, callers, clientId }) =>
    Effect.gen(function*() {
      const { resolve } = yield* Resolver.Resolver
      yield* until(at)
      return yield* tallied(Effect.forEach(Array.from({ length: callers }), () => call(resolve(clientId)), {
        concurrency: "unbounded"
      }))
    }),

  load: ({ callers, clientIds, forMillis }) =>
    Effect.gen(function*() {
      const { resolve } = yield* Resolver.Resolver
      const end = moment() + forMillis
      let next = 0
      const caller = Effect.gen(function*() {
        const calls = []
        while (moment() < end) {
          calls.push(yield* call(resolve(clientIds[next++ % clientIds.length]!)))
          // A memory hit never leaves the event loop; the rest of the process must have its turn.
          yield* Effect.sleep(1)
        }
        return calls
      })
      return yield* tallied(
        Effect.map(
          Effect.all(Array.from({ length: callers }, () => caller), { concurrency: "unbounded" }),
          (calls) => calls.flat()
        )
      )
    }),

  refresh: ({ clientId }) =>
    Effect.gen(function*() {
      const { refresh } = yield* Resolver.Resolver
      const tally = yield* tallied(Effect.map(call(refresh(clientId)), (one) => [one]))
      return { ...tally, doneAt: moment() }
    }),

  peek: ({ clientId }) =>
    Effect.gen(function*() {
      const { ruleset } = yield* Validator.Validator
      return { version: versionOf((yield* Cache.Cache).peek(clientId, ruleset)) }
    }),

  get: ({ clientId }) =>
    Effect.gen(function*() {
      const reader = yield* Validator.Validator
      const cache = yield* Cache.Cache
      const found = yield* Effect.either(cache.get(yield* parse(clientId), reader))
      return Either.match(found, {
        onLeft: ({ _tag }) => ({ version: null, error: _tag }),
        onRight: (entry) => ({ version: versionOf(Option.getOrUndefined(entry)), error: null })
      })
    }),

  put: ({ at, clientId, fetchedAt, lifetimeMillis, version }) =>
    Effect.gen(function*() {
      const cache = yield* Cache.Cache
      const document = yield* documentOf(clientId, version)
      yield* until(at)
      const { doneAt, error, value } = yield* written(
        Effect.flatMap(fetchedAt === undefined ? cache.now : Effect.succeed(BigInt(fetchedAt)), (fetchedAt) =>
          cache.put(document, { fetchedAt, timeToLive: lifetimeMillis ?? 3_600_000 }))
      )
      return { stored: value ?? false, error, doneAt }
    }),

  evict: ({ clientId }) =>
    Effect.flatMap(
      Cache.Cache,
      (cache) =>
        Effect.map(written(Effect.flatMap(parse(clientId), cache.evict)), ({ doneAt, error }) => ({ error, doneAt }))
    ),

  evictAll: () =>
    Effect.flatMap(
      Cache.Cache,
      (cache) => Effect.map(written(cache.evictAll), ({ doneAt, error }) => ({ error, doneAt }))
    ),

  decide: ({ clientId, decision, version = "" }) =>
    Effect.flatMap(
      parse(clientId),
      (clientId) =>
        Effect.map(written(decided(clientId, decision, version)), ({ doneAt, error }) => ({ error, doneAt }))
    ),

  answers: ({ clientId }) => answersFor(clientId),

  watchAnswers: ({ clientId, old, withinMillis }) =>
    Effect.gen(function*() {
      const end = moment() + withinMillis
      let lastOldAt: number | null = null
      while (moment() < end) {
        const from = moment()
        const answers = yield* answersFor(clientId)
        if (answers.resolve !== old.resolve && answers.recall !== old.recall) return { lastOldAt, answers }
        lastOldAt = from
        yield* Effect.sleep(1)
      }
      return { lastOldAt, answers: null }
    }),

  now: () =>
    Effect.flatMap(
      Cache.Cache,
      (cache) => Effect.map(Effect.orDie(cache.now), (instant) => ({ instant: String(instant) }))
    ),

  hold: ({ clientId, version, withinMillis }) =>
    Effect.gen(function*() {
      const { resolve } = yield* Resolver.Resolver
      const end = moment() + withinMillis
      while (moment() < end) {
        const answer = yield* Effect.option(resolve(clientId))
        if (Option.exists(answer, (answer) => answer.source === "memory" && versionOf(answer) === version)) {
          return { held: true }
        }
        yield* Effect.sleep(1)
      }
      return { held: false }
    }),

  watch: ({ clientId, old, withinMillis }) =>
    Effect.gen(function*() {
      const { resolve } = yield* Resolver.Resolver
      const end = moment() + withinMillis
      let lastOldAt: number | null = null
      while (moment() < end) {
        const from = moment()
        const answer = yield* Effect.option(resolve(clientId))
        const version = Option.match(answer, { onNone: () => null, onSome: versionOf })
        if (version === old) lastOldAt = from
        else if (version !== null) return { lastOldAt, newAt: moment(), version }
        yield* Effect.sleep(1)
      }
      return { lastOldAt, newAt: null, version: null }
    }),

  exhaust: ({ forMillis }) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const connections = yield* Effect.orDie(maxConnections)
      yield* Effect.orDie(
        Effect.scoped(Effect.zipRight(
          Effect.replicateEffect(sql.reserve, connections),
          Effect.sleep(forMillis)
        ))
      )
      return { taken: connections }
    }),

  sweep: () =>
    Effect.gen(function*() {
      const swept = yield* Effect.either((yield* Cache.Cache).sweep())
      return Either.match(swept, {
        onLeft: ({ _tag }) => ({ documents: 0, leases: 0, error: _tag }),
        onRight: (counts) => ({ ...counts, error: null })
      })
    }),

  status: () =>
    Effect.gen(function*() {
      globalThis.gc?.()
      return {
        heapUsed: process.memoryUsage().heapUsed,
        listening: (yield* Metric.value(metrics.listening)).value === 1,
        wallClock: yield* Clock.currentTimeMillis
      }
    })
}

const tell = (message: Message) => process.send?.(message)

const answer = <C extends Command>({ command, id, input }: Question<C>) =>
  Effect.map(commands[command](input), (output) => tell({ _tag: "Answer", id, output }))

const serve = Effect.gen(function*() {
  const context = yield* Effect.context<Services>()
  process.on("message", (question: Question) => {
    void Effect.runPromise(Effect.provide(answer(question), context))
  })
  tell({ _tag: "Ready" })
  // Until the parent leaves.
  yield* Effect.async<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
  })
}).pipe(
  Effect.provide(Node),
  Effect.catchAll((error) =>
    Effect.sync(() => {
      process.exitCode = 1
      tell({ _tag: "NotStarted", error: error._tag, message: error.message })
      process.disconnect()
    })
  )
)

await Effect.runPromise(serve)
