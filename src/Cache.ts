/**
 * Where accepted documents are remembered (rules CAC-01 to CAC-13).
 *
 * `Cache` is the service; `layerMemory` keeps one process's documents, `PostgresCache` those of a cluster. There is no
 * default: a program that provides neither does not compile (CAC-08).
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import * as Lifetime from "./internal/lifetime.js"
import type { Remembered } from "./internal/memoryStore.js"
import { MemoryStore } from "./internal/memoryStore.js"
import * as metrics from "./internal/metrics.js"
import * as CacheSettings from "./internal/postgres/options.js"
import { assertAccepted } from "./internal/rules/acceptedDocument.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { OAuthError } from "./OAuthError.js"
import { temporarilyUnavailable } from "./OAuthError.js"

/**
 * An instant by the cache's own clock, in microseconds since the Unix epoch. The clock of a Postgres cache is the
 * database's, so instants of different nodes can be compared (CAC-07).
 *
 * @since 0.1.0
 * @category models
 */
export type Instant = bigint

/**
 * A document that was in the cache and had not expired.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly document: AcceptedDocument
  /** The tier that answered. */
  readonly tier: "memory" | "postgres"
  /** Milliseconds until it expires, counted from the answer; negative for a stale one. */
  readonly remainingMillis: number
  /** Milliseconds from the beginning of its fetch to its expiry. */
  readonly lifetimeMillis: number
  /** When its fetch began. */
  readonly fetchedAt: Instant
}

/**
 * The outcome of an election: who fetches a client for the cluster.
 *
 * - `Elected`: the caller does. The election ends with its scope; `put` and the scope's end release those who wait, and
 *   `fail` gives them the failure, in whatever text the caller can read back.
 * - `Found`: another node did, and this is what it stored.
 * - `Failed`: another node did, and failed.
 *
 * @since 0.1.0
 * @category models
 */
export type Election =
  | {
    readonly _tag: "Elected"
    readonly fetchedAt: Instant
    readonly fail: (failure: string) => Effect.Effect<void>
  }
  | { readonly _tag: "Found"; readonly entry: Entry }
  | { readonly _tag: "Failed"; readonly failure: string }

const attempts = {
  get: "look up a document",
  stale: "look up an expired document",
  put: "store a document",
  elect: "elect who fetches a document",
  supersede: "displace a document",
  withdraw: "mark a document as withdrawn",
  evict: "evict a client",
  evictAll: "evict all clients",
  sweep: "sweep",
  now: "tell the time"
}

/**
 * The cache could not be asked, at run time. Nothing was lost; a later attempt may succeed.
 *
 * @since 0.1.0
 * @category errors
 */
export class CacheError extends Schema.TaggedError<CacheError>("effect-cimd/Cache/CacheError")(
  "CacheError",
  {
    operation: Schema.Literal(
      "get",
      "stale",
      "put",
      "elect",
      "supersede",
      "withdraw",
      "evict",
      "evictAll",
      "sweep",
      "now"
    ),
    cause: Schema.Defect
  }
) {
  override get message(): string {
    return `The client metadata cache could not ${
      attempts[this.operation]
    }; see the cause, and whether the database is up.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return temporarilyUnavailable
  }
}

/**
 * How many rows a sweep removed from each table (SWP-07).
 *
 * @since 0.1.0
 * @category models
 */
export interface Swept {
  readonly documents: number
  /** Leases of nodes that ended before they had fetched; none in memory. */
  readonly leases: number
}

/**
 * Remembers accepted documents until they expire, for one process or for a cluster.
 *
 * @since 0.1.0
 * @category tags
 */
export class Cache extends Context.Tag("effect-cimd/Cache")<Cache, {
  /** The instant by the cache's clock. Take it before a fetch begins, and give it to `put`. */
  readonly now: Effect.Effect<Instant, CacheError>
  /**
   * What this process itself remembers, without asking anyone: the answer of `get` if that would not have to wait.
   * `undefined` says nothing about whether `get` finds a document.
   */
  readonly peek: (clientId: string, ruleset: string) => Entry | undefined
  /**
   * The document of a client that was accepted under this rule set and has not expired. Reading does not consume it, and
   * an expired row is a miss whether or not it was swept (CAC-03, CAC-04, CAC-11).
   */
  readonly get: (clientId: ClientId, ruleset: string) => Effect.Effect<Option.Option<Entry>, CacheError>
  /**
   * Remembers a document. `false` if a document fetched later is already there, or if the client was evicted since the
   * fetch began: the freshest fetch wins (CAC-05).
   */
  readonly put: (
    document: AcceptedDocument,
    options: {
      readonly fetchedAt: Instant
      readonly timeToLive: Duration.DurationInput
      /** Whether `stale` must not return it once it has expired; defaults to `false` (FRS-09). */
      readonly mustRevalidate?: boolean | undefined
    }
  ) => Effect.Effect<boolean, CacheError>
  /**
   * A document was fetched that must not be stored, which makes what was fetched before it out of date: neither `get`
   * nor `stale` answers with that any more. `false` in the same cases as `put` (CAC-05, FRS-03).
   */
  readonly supersede: (clientId: ClientId, fetchedAt: Instant) => Effect.Effect<boolean, CacheError>
  /**
   * Elects who fetches a client that `get` did not find. While another node fetches it, this waits for its result, and
   * for no longer than that node shows signs of life. A document that has no more than `minRemaining` of its
   * lifetime left does not count as found; defaults to `0`.
   */
  readonly elect: (
    clientId: ClientId,
    ruleset: string,
    options?: { readonly minRemaining?: Duration.DurationInput | undefined }
  ) => Effect.Effect<Election, CacheError, Scope.Scope>
  /**
   * The last document of a client that has expired, for as long as the cache was told to keep such documents; for
   * answering while the client's origin has a fault. None if it was withdrawn.
   */
  readonly stale: (clientId: ClientId, ruleset: string) => Effect.Effect<Option.Option<Entry>, CacheError>
  /**
   * A fetch found that the document is gone, or is no longer valid: `stale` must not answer with what was fetched before.
   * A verdict of one rule set concerns only what that rule set had accepted.
   */
  readonly withdraw: (
    clientId: ClientId,
    options: { readonly fetchedAt: Instant; readonly ruleset?: string | undefined }
  ) => Effect.Effect<void, CacheError>
  /** Forgets a client, and the result of every fetch of it that has begun (CAC-10). */
  readonly evict: (clientId: ClientId) => Effect.Effect<void, CacheError>
  /** Forgets every client, and the result of every fetch that has begun (CAC-10). */
  readonly evictAll: Effect.Effect<void, CacheError>
  /**
   * Removes what expired before this moment and is kept for nothing else, in batches of `batchSize` rows: 10,000 unless
   * told, 1 at least and 1,000,000 at most. Interrupting it stops it between two batches (SWP-01, SWP-04).
   */
  readonly sweep: (options?: { readonly batchSize?: number | undefined }) => Effect.Effect<Swept, CacheError>
}>() {}

/**
 * What the cache in memory may be told.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions extends CacheSettings.MemoryOptions {}

const makeMemory = (options: MemoryOptions = {}): Effect.Effect<Cache["Type"], InvalidOptions> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const settings = yield* CacheSettings.settleMemory(options)
    const store = new MemoryStore(settings.maxEntries)
    const staleIfError = Lifetime.toNanos(settings.staleMillis)
    const nanos = () => clock.unsafeCurrentTimeNanos()
    let evictedAllAt = -1n

    const entryOf = (remembered: Remembered | undefined, ruleset: string, now: bigint): Entry | undefined =>
      remembered?.document?.ruleset === ruleset
        ? {
          document: remembered.document,
          tier: "memory",
          remainingMillis: Number((remembered.expiresAt - now) / 1_000_000n),
          lifetimeMillis: remembered.lifetimeMillis,
          fetchedAt: remembered.fetchedAt
        }
        : undefined

    const peek = (clientId: string, ruleset: string): Entry | undefined => {
      const remembered = store.get(clientId)
      const now = nanos()
      return remembered === undefined || remembered.expiresAt <= now ? undefined : entryOf(remembered, ruleset, now)
    }

    /** Leaves a mark in place of a document, which stops the fetches begun before. */
    const forget = (clientId: string, fetchedAt: Instant): void => {
      const expiresAt = nanos() + Lifetime.toNanos(Lifetime.evictionMillis)
      store.set(clientId, {
        document: undefined,
        fetchedAt,
        expiresAt,
        heldUntil: expiresAt,
        lifetimeMillis: Lifetime.evictionMillis,
        withdrawn: true
      })
    }

    return Cache.of({
      now: Effect.sync(() => nanos() / 1000n),
      peek,
      get: (clientId, ruleset) => Effect.sync(() => Option.fromNullable(peek(clientId, ruleset))),
      // One process has one fetch at a time already: the resolver sees to it.
      elect: () =>
        Effect.sync(() => ({ _tag: "Elected" as const, fetchedAt: nanos() / 1000n, fail: () => Effect.void })),
      stale: (clientId, ruleset) =>
        Effect.sync(() => {
          const remembered = store.get(clientId)
          const now = nanos()
          return remembered === undefined || remembered.withdrawn || remembered.expiresAt > now ||
              remembered.expiresAt + staleIfError <= now
            ? Option.none()
            : Option.fromNullable(entryOf(remembered, ruleset, now))
        }),
      withdraw: (clientId, { fetchedAt, ruleset }) =>
        Effect.sync(() => {
          const remembered = store.get(clientId)
          if (remembered?.document === undefined || remembered.fetchedAt > fetchedAt) return
          if (ruleset === undefined || remembered.document.ruleset === ruleset) {
            store.set(clientId, { ...remembered, withdrawn: true })
          }
        }),
      supersede: (clientId, fetchedAt) =>
        Effect.sync(() => {
          const remembered = store.get(clientId)
          if (fetchedAt <= evictedAllAt || (remembered !== undefined && remembered.fetchedAt > fetchedAt)) return false
          if (remembered?.document !== undefined) forget(clientId, fetchedAt)
          return true
        }),
      put: (document, { fetchedAt, mustRevalidate = false, timeToLive }) =>
        Effect.sync(() => {
          assertAccepted(document)
          if (fetchedAt <= evictedAllAt) return false
          const lifetimeMillis = Lifetime.toMillis(timeToLive)
          const expiresAt = nanos() + Lifetime.toNanos(timeToLive)
          return store.set(document.clientId, {
            document,
            fetchedAt,
            expiresAt,
            heldUntil: expiresAt,
            lifetimeMillis,
            withdrawn: mustRevalidate
          })
        }),
      evict: (clientId) =>
        Effect.sync(() => {
          forget(clientId, nanos() / 1000n)
          metrics.evictedByCall.unsafeUpdate(1, [])
        }),
      evictAll: Effect.sync(() => {
        evictedAllAt = nanos() / 1000n
        metrics.evictedByCall.unsafeUpdate(1, [])
        store.clear()
      }),
      sweep: () =>
        Effect.sync(() => {
          const documents = store.deleteExpired(nanos() - staleIfError)
          metrics.sweptRows.unsafeUpdate(documents, [])
          return { documents, leases: 0 }
        })
    })
  })

/**
 * The cache of one process, in memory: for tests, and for a server that has one node and may fetch again after a
 * restart. It keeps the same promises as the Postgres cache, but for being shared and being durable.
 *
 * @example
 * ```ts
 * import { Cache } from "effect-cimd"
 *
 * const Live = Cache.layerMemory({ maxEntries: 1000 })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<Cache, InvalidOptions> =>
  Layer.effect(Cache, makeMemory(options))

/**
 * {@link layerMemory} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryConfig = (
  options: Config.Config.Wrap<MemoryOptions>
): Layer.Layer<Cache, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(Cache, Effect.flatMap(Config.unwrap(options), makeMemory))
