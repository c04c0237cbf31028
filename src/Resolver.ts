/**
 * The way through: from a client identifier to its accepted document.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { CacheError, Entry, Instant } from "./Cache.js"
import { Cache } from "./Cache.js"
import type { InvalidClientId } from "./ClientId.js"
import * as ClientId from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import type { FetchError } from "./Fetcher.js"
import { Fetcher } from "./Fetcher.js"
import * as Freshness from "./Freshness.js"
import type { HostRefused } from "./HostPolicy.js"
import { HostPolicy } from "./HostPolicy.js"
import * as Flights from "./internal/flights.js"
import * as metrics from "./internal/metrics.js"
import type { InvalidDocument, UnauthorizedClient } from "./Validator.js"
import { Validator } from "./Validator.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Resolution {
  readonly document: AcceptedDocument
  /** Where the answer came from: a tier of the cache, or the client's origin. */
  readonly source: "memory" | "postgres" | "origin"
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
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Resolver extends Context.Tag("effect-cimd/Resolver")<Resolver, {
  /**
   * The accepted document of a client: from the cache while it is fresh, else from the client's origin. Callers that ask
   * for one client at the same time share one look-up and one fetch, and its failure too (FET-14).
   */
  readonly resolve: (clientId: string) => Effect.Effect<Resolution, ResolveError>
  /** Fetches the document again, whatever the cache holds, and remembers the result. */
  readonly refresh: (clientId: string) => Effect.Effect<Resolution, ResolveError>
}>() {}

const make = (
  options: Options = {}
): Effect.Effect<Resolver["Type"], never, Cache | Fetcher | Validator | HostPolicy | Scope.Scope> =>
  Effect.gen(function*() {
    const cache = yield* Cache
    const fetcher = yield* Fetcher
    const validator = yield* Validator
    const hostPolicy = yield* HostPolicy

    const freshness: Freshness.Policy = { ...Freshness.defaultPolicy, ...options.freshness }
    const grammar: ClientId.Options = {
      maxLength: options.maxClientIdLength,
      loopback: hostPolicy.loopback,
      addressLiterals: hostPolicy.addressLiterals
    }

    const withoutCache = <A>(fallback: A) => <R>(effect: Effect.Effect<A, CacheError, R>) =>
      options.onCacheError === "fetch"
        ? Effect.catchAll(
          effect,
          (error) => Effect.as(Effect.logWarning("Resolving without the client metadata cache", error), fallback)
        )
        : effect

    const lookup = (clientId: ClientId.ClientId) =>
      cache.get(clientId, validator.ruleset).pipe(withoutCache<Option.Option<Entry>>(Option.none()))

    const fetch = (clientId: ClientId.ClientId) =>
      Effect.gen(function*() {
        const fetchedAt = yield* cache.now.pipe(Effect.asSome, withoutCache<Option.Option<Instant>>(Option.none()))
        const response = yield* fetcher.fetch(clientId)
        const document = yield* validator.validate(clientId, response.body)
        const timeToLive = Freshness.timeToLive(response.freshness, freshness)
        if (Option.isSome(fetchedAt) && Option.isSome(timeToLive)) {
          yield* cache.put(document, { fetchedAt: fetchedAt.value, timeToLive: timeToLive.value }).pipe(
            withoutCache(false)
          )
        }
        metrics.origins.unsafeUpdate(1, [])
        return { document, source: "origin" } satisfies Resolution
      })

    const fromEntry = ({ document, tier }: Entry): Resolution => {
      const hits = tier === "memory" ? metrics.memoryHits : metrics.postgresHits
      hits.unsafeUpdate(1, [])
      return { document, source: tier }
    }

    const resolving = yield* Flights.make<Resolution, ResolveError>()
    const refreshing = yield* Flights.make<Resolution, ResolveError>()

    const traced = (name: string, clientId: ClientId.ClientId) =>
      Effect.withSpan(name, { attributes: { "cimd.host": ClientId.host(clientId) }, captureStackTrace: false })

    // The cache is asked inside the shared work: who comes when a fetch has just ended finds what it stored.
    const resolveShared = (clientId: ClientId.ClientId) =>
      resolving(
        clientId,
        Effect.flatMap(
          lookup(clientId),
          Option.match({
            onNone: () => fetch(clientId),
            onSome: (entry) => Effect.succeed(fromEntry(entry))
          })
        ).pipe(traced("cimd.resolve", clientId))
      )

    const admitted = <A, E>(input: string, next: (clientId: ClientId.ClientId) => Effect.Effect<A, E>) =>
      Effect.flatMap(
        ClientId.parse(input, grammar),
        (clientId) => Effect.zipRight(hostPolicy.check(clientId), next(clientId))
      )

    return Resolver.of({
      resolve: (input) =>
        Effect.suspend(() => {
          const entry = cache.peek(input, validator.ruleset)
          // What the memory tier holds under this string has passed the grammar; the host policy may have changed.
          return entry === undefined
            ? admitted(input, resolveShared)
            : Effect.map(hostPolicy.check(entry.document.clientId), () => fromEntry(entry))
        }),
      refresh: (input) =>
        admitted(input, (clientId) => refreshing(clientId, fetch(clientId).pipe(traced("cimd.refresh", clientId))))
    })
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Resolver, never, Cache | Fetcher | Validator | HostPolicy> =>
  Layer.scoped(Resolver, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Resolver, ConfigError.ConfigError, Cache | Fetcher | Validator | HostPolicy> =>
  Layer.scoped(Resolver, Effect.flatMap(Config.unwrap(options), make))
