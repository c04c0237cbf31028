/**
 * Resolves a client identifier to its accepted document: from the cache while it is fresh, otherwise from the client's
 * origin.
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
import * as metrics from "./internal/metrics.js"
import * as OptionReader from "./internal/optionReader.js"
import { maxLengthAllowed } from "./internal/rules/clientIdGrammar.js"
import * as SharedFailure from "./internal/sharedFailure.js"
import * as SingleFlight from "./internal/singleFlight.js"
import * as Spans from "./internal/spans.js"
import * as StaleIfError from "./internal/staleIfError.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { InvalidDocument, UnauthorizedClient } from "./Validator.js"
import { Validator } from "./Validator.js"

/**
 * A client's document and its source.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resolution {
  readonly document: AcceptedDocument
  /** A tier of the cache, or the client's origin. */
  readonly source: "memory" | "postgres" | "origin"
  /**
   * Whether the document has expired and is returned only because its origin failed. `false` unless the cache keeps
   * expired documents (its option `staleIfError`).
   */
  readonly stale: boolean
}

/**
 * Every error of `resolve` and `refresh`. Each has a `message` for the operator and an `oauthError` for the OAuth client.
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
 * The options of the resolver. Each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The bounds of a document's time to live. Each defaults to its value in `Freshness.defaultPolicy`. */
  readonly freshness?: Partial<Freshness.Policy> | undefined
  /** Maximum length of a client identifier in characters, 2048 at most (URL-09). Defaults to `2048`. */
  readonly maxClientIdLength?: number | undefined
  /**
   * What to do while the cache fails: `"fail"` fails with `CacheError`, `"fetch"` fetches without caching (CAC-09).
   * Defaults to `"fail"`.
   */
  readonly onCacheError?: "fail" | "fetch" | undefined
  /**
   * The last part of a document's lifetime, as a fraction from 0 to 0.5, in which a hit also starts a fetch in the
   * background. Callers of a popular client then never wait for its origin. A document is never returned past its
   * expiry. Defaults to `0`, which is off.
   */
  readonly refreshAhead?: number | undefined
}

/**
 * Resolves client identifiers to accepted documents.
 *
 * @since 0.1.0
 * @category tags
 */
export class Resolver extends Context.Tag("effect-cimd/Resolver")<Resolver, {
  /**
   * Returns the accepted document of a client: from the cache while it is fresh, otherwise from the client's origin.
   * Concurrent callers of one client share one lookup and one fetch, and its failure (FET-14).
   */
  readonly resolve: (clientId: string) => Effect.Effect<Resolution, ResolveError>
  /**
   * Fetches the document again, whatever the cache holds, and stores the result. The fetch starts after the call: a
   * fetch in progress is waited for, and concurrent callers share the next one.
   */
  readonly refresh: (clientId: string) => Effect.Effect<Resolution, ResolveError>
}>() {}

/** The result of a fetch, and whether the cache would still return it. */
interface Fetched {
  readonly resolution: Resolution
  readonly current: boolean
}

/** Maximum number of fetches for one call, if an eviction invalidates each of them. */
const maxAttempts = 3

// A lifetime starts when its fetch starts. With a greater part, each fetch would start as soon as the last one has ended.
const maxAhead = 0.5

/** Maximum number of clients whose attempt to fetch ahead of expiry is remembered. */
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

/** Returns whether an entry's fetch ahead of expiry is the first one, so that a failing origin is not tried at each hit. */
const makeFirstTry = () => {
  const tried = new Map<string, Instant>()
  return ({ document: { clientId }, fetchedAt }: Entry): boolean => {
    if (tried.get(clientId) === fetchedAt) return false
    tried.set(clientId, fetchedAt)
    for (const oldest of tried.keys()) {
      if (tried.size <= maxTriedAhead) break
      tried.delete(oldest)
    }
    return true
  }
}

const fromEntry = (entry: Entry): Resolution => {
  const stale = entry.remainingMillis <= 0
  const hits = entry.tier === "memory" ? metrics.memoryHits : metrics.postgresHits
  ;(stale ? metrics.staleHits : hits).unsafeUpdate(1, [])
  return { document: entry.document, source: entry.tier, stale }
}

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
            Effect.as(
              Effect.logWarning("The client metadata cache failed; resolving without it", Cause.fail(error)),
              fallback
            )
        )
        : effect

    /** Fetches, validates and stores the document. Without an instant, nothing is stored. */
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
        return { resolution: { document, source: "origin", stale: false }, current } satisfies Fetched
      })

    /**
     * Fetches. A verdict on the client withdraws the stored document; any other failure does not (FET-16). A document
     * that these rules refuse may be accepted by those of other nodes, so it withdraws nothing for them (CAC-11).
     */
    const fetchOrWithdraw = (clientId: ClientId.ClientId, fetchedAt: Instant | undefined) =>
      Effect.tapError(fetch(clientId, fetchedAt), (error) =>
        fetchedAt !== undefined && SharedFailure.isFailure(error) && StaleIfError.withdraws(error)
          ? Effect.catchAll(
            cache.withdraw(clientId, {
              fetchedAt,
              ruleset: SharedFailure.isRefusedDocument(error) ? validator.ruleset : undefined
            }),
            (error) =>
              Effect.logWarning("Could not mark a stored document as withdrawn", Cause.fail(error))
          )
          : Effect.void)

    /**
     * Fetches, unless another node does: then waits for its document or failure. Returns `undefined` for a failure that
     * this node cannot read, since another version or another rule set wrote it.
     */
    const fetchOnce = (
      clientId: ClientId.ClientId,
      minRemaining: number
    ): Effect.Effect<Fetched | undefined, ResolveError, Scope.Scope> =>
      Effect.gen(function*() {
        const election = yield* withoutCache<Election | undefined>(undefined)(
          cache.elect(clientId, validator, { minRemaining })
        )
        switch (election?._tag) {
          case undefined:
            return yield* fetch(clientId, undefined)
          case "Found":
            return { resolution: fromEntry(election.entry), current: true }
          case "Failed": {
            const failure = SharedFailure.decode(election.failure, validator.ruleset)
            return failure === undefined ? undefined : yield* failure
          }
          case "Elected":
            return yield* Effect.tapError(fetchOrWithdraw(clientId, election.fetchedAt), (error) =>
              SharedFailure.isFailure(error) && StaleIfError.isShared(error)
                ? election.fail(SharedFailure.encode(error, validator.ruleset))
                : Effect.void)
        }
      })

    /**
     * Fetches until the cache would return the result. A caller may have come long after the eviction that invalidated a
     * fetch, so it receives a newer document. A client that is evicted all the time gets the result of the last attempt.
     */
    const untilCurrent = <E>(
      attempt: Effect.Effect<Fetched | undefined, E, Scope.Scope>
    ): Effect.Effect<Resolution, E> =>
      Effect.gen(function*() {
        let attempts = 0
        while (true) {
          const fetched = yield* Effect.scoped(attempt)
          if (fetched === undefined) {
            continue
          }
          attempts++
          if (fetched.current || attempts === maxAttempts) {
            return fetched.resolution
          }
        }
      })

    const fetchShared = (clientId: ClientId.ClientId, minRemaining: number) =>
      untilCurrent(fetchOnce(clientId, minRemaining))

    const orStale = (clientId: ClientId.ClientId) => (error: ResolveError): Effect.Effect<Resolution, ResolveError> =>
      SharedFailure.isFailure(error) && StaleIfError.permitsStale(error)
        ? Effect.flatMap(
          withoutCache<Option.Option<Entry>>(Option.none())(cache.stale(clientId, validator)),
          Option.match({
            onNone: () =>
              Effect.fail(error),
            onSome: (entry) => Effect.succeed(fromEntry(entry))
          })
        )
        : Effect.fail(error)

    const resolving = yield* SingleFlight.make<Resolution, ResolveError>()
    const refreshing = yield* SingleFlight.make<Resolution, ResolveError>()
    const refreshingAhead = yield* SingleFlight.make<Resolution, ResolveError>()

    const isFirstTry = makeFirstTry()
    const hit = (entry: Entry): Effect.Effect<Resolution> => {
      const threshold = entry.lifetimeMillis * refreshAhead
      const { clientId } = entry.document
      if (entry.remainingMillis >= threshold || !isFirstTry(entry)) return Effect.succeed(fromEntry(entry))
      return refreshingAhead.join(
        clientId,
        fetchShared(clientId, threshold).pipe(Spans.ofClient("cimd.refreshAhead", clientId))
      ).pipe(
        Effect.catchAllCause((cause) => Effect.logDebug("Could not refresh a document ahead of its expiry", cause)),
        Effect.forkIn(scope),
        Effect.as(fromEntry(entry))
      )
    }

    // The shared run reads the cache, so a caller that comes just after a fetch finds what it stored.
    const resolveShared = (clientId: ClientId.ClientId) =>
      resolving.join(
        clientId,
        withoutCache<Option.Option<Entry>>(Option.none())(cache.get(clientId, validator)).pipe(
          Effect.flatMap(Option.match({
            onNone: () => {
              metrics.misses.unsafeUpdate(1, [])
              return Effect.catchAll(fetchShared(clientId, 0), orStale(clientId))
            },
            onSome: hit
          })),
          Spans.ofClient("cimd.resolve", clientId)
        )
      )

    // A fetch in progress may return an older document than the caller knows of, so it is not joined.
    const refreshShared = (clientId: ClientId.ClientId) =>
      refreshing.joinNext(
        clientId,
        untilCurrent(Effect.flatMap(
          withoutCache<Instant | undefined>(undefined)(cache.now),
          (fetchedAt) => fetchOrWithdraw(clientId, fetchedAt)
        )).pipe(Spans.ofClient("cimd.refresh", clientId))
      )

    const countFailure = (error: ResolveError) => Effect.sync(() => metrics.refusalsOf(error._tag).unsafeUpdate(1, []))

    const admitted = <A>(input: string, next: (clientId: ClientId.ClientId) => Effect.Effect<A, ResolveError>) =>
      ClientId.parse(input, grammar).pipe(
        Effect.flatMap((clientId) => Effect.zipRight(hostPolicy.check(clientId), next(clientId))),
        Effect.tapError(countFailure)
      )

    return Resolver.of({
      resolve: (input) =>
        Effect.suspend(() => {
          const entry = cache.peek(input, validator.ruleset)
          if (entry === undefined) return admitted(input, resolveShared)
          // A string in the memory tier has passed the grammar. The host policy may have changed since.
          const checked = hostPolicy.check(entry.document.clientId)
          // A check that succeeds at once saves a memory hit one step of its fiber.
          return checked === Effect.void
            ? hit(entry)
            : Effect.zipRight(Effect.tapError(checked, countFailure), Effect.suspend(() => hit(entry)))
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
