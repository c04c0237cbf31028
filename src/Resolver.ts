/**
 * The way through: from a client identifier to its accepted document.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Election, Entry, Instant } from "./Cache.js"
import { Cache, CacheError } from "./Cache.js"
import type { InvalidClientId } from "./ClientId.js"
import * as ClientId from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import type { FetchError } from "./Fetcher.js"
import { Fetcher } from "./Fetcher.js"
import * as Freshness from "./Freshness.js"
import type { HostRefused } from "./HostPolicy.js"
import { HostPolicy } from "./HostPolicy.js"
import * as Failures from "./internal/failures.js"
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import { maxLengthAllowed } from "./internal/rules/clientIdGrammar.js"
import * as Flights from "./internal/singleFlight.js"
import * as Spans from "./internal/spans.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { InvalidDocument, UnauthorizedClient } from "./Validator.js"
import { Validator } from "./Validator.js"

/**
 * The answer about a client: its document, and where that came from.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resolution {
  readonly document: AcceptedDocument
  /** Where the answer came from: a tier of the cache, or the client's origin. */
  readonly source: "memory" | "postgres" | "origin"
  /**
   * Whether the document has expired and is answered with only because its origin has a fault. It happens only if the
   * cache was told, by `staleIfError`, to keep expired documents.
   */
  readonly stale: boolean
}

/**
 * Everything that can stand between a client identifier and its document. Each has a `message` for the operator and an
 * `oauthError` for the client.
 *
 * @since 0.1.0
 * @category errors
 */
export type ResolveError =
  | InvalidClientId
  | HostRefused
  | CacheError
  | FetchError
  | InvalidDocument
  | UnauthorizedClient

/**
 * What the resolver may be told; every option has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The bounds on how long documents are kept; `Freshness.defaultPolicy` where they are silent. */
  readonly freshness?: Partial<Freshness.Policy> | undefined
  /** Characters a client identifier may have at most; 2048 unless told, and no more (URL-09). */
  readonly maxClientIdLength?: number | undefined
  /** What to do while the cache cannot be asked: refuse (the default), or fetch without caching (CAC-09). */
  readonly onCacheError?: "fail" | "fetch" | undefined
  /**
   * The last part of its lifetime, from 0 to 0.5, in which a document that is asked for is fetched again in the
   * background, so that nobody waits for a popular client. Off (0) unless told. It never serves past the expiry.
   */
  readonly refreshAhead?: number | undefined
}

/**
 * Answers with the accepted document of a client identifier, be it cached or fetched.
 *
 * @since 0.1.0
 * @category tags
 */
export class Resolver extends Context.Tag("effect-cimd/Resolver")<Resolver, {
  /**
   * The accepted document of a client: from the cache while it is fresh, else from the client's origin. Callers that ask
   * for one client at the same time share one look-up and one fetch, and its failure too (FET-14).
   */
  readonly resolve: (clientId: string) => Effect.Effect<Resolution, ResolveError>
  /**
   * Fetches the document again, whatever the cache holds, and remembers the result. The fetch begins after the call:
   * one that is already under way is waited for, and those who wait for it share the next one.
   */
  readonly refresh: (clientId: string) => Effect.Effect<Resolution, ResolveError>
}>() {}

/** What a fetch brought, and whether it is still what the cache would answer with. */
interface Outcome {
  readonly resolution: Resolution
  readonly current: boolean
}

/** Fetches that one call may make when each is overtaken by an eviction. */
const maxAttempts = 3

// A lifetime counts from when its fetch began, so of a greater part the next fetch would begin as soon as one has ended.
const maxAhead = 0.5

/** Clients of which is remembered that their fetch ahead of expiry was tried. */
const maxTriedAhead = 10_000

type Services = Cache | Fetcher | Validator | HostPolicy

const settle = (options: Options) =>
  OptionReader.read("Resolver", ({ report }) => {
    const { maxClientIdLength = maxLengthAllowed, refreshAhead = 0 } = options
    if (!(refreshAhead >= 0 && refreshAhead <= maxAhead)) {
      report(`\`refreshAhead\` must be a fraction of the lifetime between 0 and ${maxAhead}, but is ${refreshAhead}`)
    }
    if (!(Number.isInteger(maxClientIdLength) && maxClientIdLength >= 1 && maxClientIdLength <= maxLengthAllowed)) {
      report(`\`maxClientIdLength\` must be an integer between 1 and ${maxLengthAllowed}, but is ${maxClientIdLength}`)
    }
    return { maxClientIdLength, refreshAhead }
  })

const make = (
  options: Options = {}
): Effect.Effect<Resolver["Type"], InvalidOptions, Services | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const fetcher = yield* Fetcher
    const validator = yield* Validator
    const hostPolicy = yield* HostPolicy
    const scope = yield* Effect.scope

    const { maxClientIdLength, refreshAhead } = yield* settle(options)
    const freshness = yield* Freshness.makePolicy(options.freshness)
    const grammar: ClientId.Options = {
      maxLength: maxClientIdLength,
      loopback: hostPolicy.loopback,
      addressLiterals: hostPolicy.addressLiterals
    }

    const withoutCache = <A>(fallback: A) => <E, R>(effect: Effect.Effect<A, E | CacheError, R>) =>
      options.onCacheError === "fetch"
        ? Effect.catchIf(
          effect,
          (error) => error instanceof CacheError,
          (error) =>
            Effect.as(Effect.logWarning("Resolving without the client metadata cache", Cause.fail(error)), fallback)
        )
        : effect

    const fromEntry = (entry: Entry): Resolution => {
      const stale = entry.remainingMillis <= 0
      const hits = entry.tier === "memory" ? metrics.memoryHits : metrics.postgresHits
      ;(stale ? metrics.staleHits : hits).unsafeUpdate(1, [])
      return { document: entry.document, source: entry.tier, stale }
    }

    const fetch = (clientId: ClientId.ClientId, fetchedAt: Instant | undefined) =>
      Effect.gen(function*() {
        const response = yield* fetcher.fetch(clientId)
        const document = yield* validator.validate(clientId, response.body)
        const residentTime = (yield* Clock.currentTimeMillis) - response.receivedAt
        const timeToLive = Freshness.timeToLive(response.freshness, freshness, residentTime)
        const current = fetchedAt === undefined || (yield* withoutCache(true)(Option.match(timeToLive, {
          onNone: () => cache.supersede(clientId, fetchedAt),
          onSome: (timeToLive) =>
            cache.put(document, { fetchedAt, timeToLive, mustRevalidate: response.freshness.mustRevalidate })
        })))
        metrics.origins.unsafeUpdate(1, [])
        return { resolution: { document, source: "origin", stale: false }, current } satisfies Outcome
      })

    // Those who wait may have come long after the eviction that has overtaken a fetch, so they get a newer document. But
    // not for ever: a client that is evicted all the time is answered with what was fetched.
    const unlessOvertaken = (clientId: ClientId.ClientId, minRemainingMillis: number, attempts: number) =>
    <E, R>(
      outcome: Effect.Effect<Outcome, E, R>
    ): Effect.Effect<Resolution, E | ResolveError, R> =>
      Effect.flatMap(
        outcome,
        ({ current, resolution }) =>
          current || attempts <= 1
            ? Effect.succeed(resolution)
            : fetchOnce(clientId, minRemainingMillis, attempts - 1)
      )

    /** Fetches; a failure that is no fault of the way means that the document of before is no longer to be answered with. */
    const fetchOrWithdraw = (clientId: ClientId.ClientId, fetchedAt: Instant | undefined) =>
      Effect.tapError(
        fetch(clientId, fetchedAt),
        (error) =>
          fetchedAt !== undefined && Failures.isFailure(error) && Failures.withdraws(error)
            ? Effect.catchAll(
              cache.withdraw(clientId, {
                fetchedAt,
                ruleset: Failures.isVerdict(error) ? validator.ruleset : undefined
              }),
              (error) => Effect.logWarning("A withdrawn document was not marked", Cause.fail(error))
            )
            : Effect.void
      )

    /** Fetches, unless another node does: then its result is waited for, be it a document or a failure. */
    const fetchOnce = (
      clientId: ClientId.ClientId,
      minRemainingMillis = 0,
      attempts = maxAttempts
    ): Effect.Effect<Resolution, ResolveError> =>
      Effect.flatMap(
        withoutCache<Election | undefined>(undefined)(
          cache.elect(clientId, validator.ruleset, { minRemaining: minRemainingMillis })
        ),
        (election): Effect.Effect<Outcome, ResolveError> => {
          switch (election?._tag) {
            case undefined:
              return fetch(clientId, undefined)
            case "Found":
              return Effect.succeed({ resolution: fromEntry(election.entry), current: true })
            case "Failed":
              return Effect.flatMap(
                Effect.sync(() => Failures.decode(election.failure, validator.ruleset)),
                (failure) =>
                  failure ?? Effect.map(
                    fetchOnce(clientId, minRemainingMillis, attempts),
                    (resolution) => ({ resolution, current: true })
                  )
              )
            case "Elected":
              return Effect.tapError(
                fetchOrWithdraw(clientId, election.fetchedAt),
                (error) =>
                  Failures.isFailure(error) && Failures.concernsAll(error)
                    ? election.fail(Failures.encode(error, validator.ruleset))
                    : Effect.void
              )
          }
        }
      ).pipe(Effect.scoped, unlessOvertaken(clientId, minRemainingMillis, attempts))

    const orStale = (clientId: ClientId.ClientId) => (error: ResolveError): Effect.Effect<Resolution, ResolveError> =>
      Failures.isFailure(error) && Failures.isFault(error)
        ? Effect.flatMap(
          withoutCache<Option.Option<Entry>>(Option.none())(cache.stale(clientId, validator.ruleset)),
          Option.match({ onNone: () => Effect.fail(error), onSome: (entry) => Effect.succeed(fromEntry(entry)) })
        )
        : Effect.fail(error)

    const resolving = yield* Flights.make<Resolution, ResolveError>()
    const refreshing = yield* Flights.make<Resolution, ResolveError>()
    const refreshingAhead = yield* Flights.make<Resolution, ResolveError>()

    // One try for each fetch: a client that cannot be fetched is not asked for again with every hit.
    const triedAhead = new Map<string, Instant>()
    const firstTry = ({ document: { clientId }, fetchedAt }: Entry): boolean => {
      if (triedAhead.get(clientId) === fetchedAt) return false
      triedAhead.set(clientId, fetchedAt)
      for (const oldest of triedAhead.keys()) {
        if (triedAhead.size <= maxTriedAhead) break
        triedAhead.delete(oldest)
      }
      return true
    }
    const hit = (entry: Entry): Effect.Effect<Resolution> => {
      const threshold = entry.lifetimeMillis * refreshAhead
      const { clientId } = entry.document
      if (entry.remainingMillis >= threshold || !firstTry(entry)) return Effect.succeed(fromEntry(entry))
      return refreshingAhead.join(
        clientId,
        fetchOnce(clientId, threshold).pipe(Spans.ofClient("cimd.refreshAhead", clientId))
      ).pipe(
        Effect.catchAllCause((cause) =>
          Effect.logDebug("Fetching a client's document ahead of its expiry failed", cause)
        ),
        Effect.forkIn(scope),
        Effect.as(fromEntry(entry))
      )
    }

    // The cache is asked inside the shared work: who comes when a fetch has just ended finds what it stored.
    const resolveShared = (clientId: ClientId.ClientId) =>
      resolving.join(
        clientId,
        withoutCache<Option.Option<Entry>>(Option.none())(cache.get(clientId, validator.ruleset)).pipe(
          Effect.flatMap(Option.match({
            onNone: () => {
              metrics.misses.unsafeUpdate(1, [])
              return Effect.catchAll(fetchOnce(clientId), orStale(clientId))
            },
            onSome: hit
          })),
          Spans.ofClient("cimd.resolve", clientId)
        )
      )

    // What a fetch that is under way brings may be older than what its caller knows of, so it is not shared.
    const refreshShared = (clientId: ClientId.ClientId) =>
      refreshing.next(
        clientId,
        Effect.flatMap(
          withoutCache<Instant | undefined>(undefined)(cache.now),
          (fetchedAt) => fetchOrWithdraw(clientId, fetchedAt)
        ).pipe(unlessOvertaken(clientId, 0, maxAttempts), Spans.ofClient("cimd.refresh", clientId))
      )

    const refused = (error: ResolveError) => Effect.sync(() => metrics.refusalsOf(error._tag).unsafeUpdate(1, []))

    const admitted = <A>(input: string, next: (clientId: ClientId.ClientId) => Effect.Effect<A, ResolveError>) =>
      ClientId.parse(input, grammar).pipe(
        Effect.flatMap((clientId) => Effect.zipRight(hostPolicy.check(clientId), next(clientId))),
        Effect.tapError(refused)
      )

    return Resolver.of({
      resolve: (input) =>
        Effect.suspend(() => {
          const entry = cache.peek(input, validator.ruleset)
          if (entry === undefined) return admitted(input, resolveShared)
          // What the memory tier holds under this string has passed the grammar; the host policy may have changed.
          const checked = hostPolicy.check(entry.document.clientId)
          // A policy that has nothing to wait for need not cost a hit another step of its fiber.
          return checked === Effect.void
            ? hit(entry)
            : Effect.zipRight(Effect.tapError(checked, refused), Effect.suspend(() => hit(entry)))
        }),
      refresh: (input) => admitted(input, refreshShared)
    })
  })

/**
 * The resolver over the services that do the work.
 *
 * @example
 * ```ts
 * import { Cache, Fetcher, HostPolicy, Resolver, Validator } from "effect-cimd"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const Live = Resolver.layer({ refreshAhead: 0.1 }).pipe(
 *   Layer.provide([Fetcher.layer(), Validator.layer(), Cache.layerMemory()]),
 *   Layer.provide(HostPolicy.layerPublic)
 * )
 *
 * const clientName = Effect.gen(function*() {
 *   const resolver = yield* Resolver.Resolver
 *   const { document } = yield* resolver.resolve("https://app.example/client.json")
 *   return document.metadata.client_name
 * }).pipe(Effect.provide(Live))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Resolver, InvalidOptions, Services> =>
  Layer.scoped(Resolver, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Resolver, InvalidOptions | ConfigError.ConfigError, Services> =>
  Layer.scoped(Resolver, Effect.flatMap(Config.unwrap(options), make))
