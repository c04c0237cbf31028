/**
 * Where accepted documents are remembered (rules CAC-01 to CAC-12).
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
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import * as Lifetime from "./internal/lifetime.js"
import { MemoryStore } from "./internal/memoryStore.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient } from "./OAuthError.js"

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
  /** Milliseconds until it expires, counted from the answer. */
  readonly remainingMillis: number
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
    operation: Schema.Literal("get", "put", "evict", "evictAll", "sweep", "now"),
    cause: Schema.Defect
  }
) {
  override get message(): string {
    return `The client metadata cache failed to ${this.operation}; see the cause, and whether the database is up.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
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
}

/**
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
    options: { readonly fetchedAt: Instant; readonly timeToLive: Duration.DurationInput }
  ) => Effect.Effect<boolean, CacheError>
  /** Forgets a client, and the result of every fetch of it that has begun (CAC-10). */
  readonly evict: (clientId: ClientId) => Effect.Effect<void, CacheError>
  /** Forgets every client, and the result of every fetch that has begun (CAC-10). */
  readonly evictAll: Effect.Effect<void, CacheError>
  /**
   * Removes what expired before this moment, in batches. Interrupting it stops it between two batches (SWP-01, SWP-04).
   */
  readonly sweep: (options?: { readonly batchSize?: number | undefined }) => Effect.Effect<Swept, CacheError>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions {
  /** Clients remembered at most; 10,000 unless told. Those not read lately go first. */
  readonly maxEntries?: number | undefined
}

const nanosOf = (millis: number): bigint => BigInt(millis) * 1_000_000n

const makeMemory = (options?: MemoryOptions): Effect.Effect<Cache["Type"]> =>
  Effect.map(Effect.clock, (clock) => {
    const store = new MemoryStore(options?.maxEntries ?? 10_000)
    const nanos = () => clock.unsafeCurrentTimeNanos()
    let evictedAllAt = -1n

    const peek = (clientId: string, ruleset: string): Entry | undefined => {
      const remembered = store.get(clientId)
      if (remembered?.document === undefined) return undefined
      const remaining = remembered.expiresAt - nanos()
      if (remaining <= 0n || remembered.document.ruleset !== ruleset) return undefined
      return { document: remembered.document, tier: "memory", remainingMillis: Number(remaining / 1_000_000n) }
    }

    return Cache.of({
      now: Effect.sync(() => nanos() / 1000n),
      peek,
      get: (clientId, ruleset) => Effect.sync(() => Option.fromNullable(peek(clientId, ruleset))),
      put: (document, { fetchedAt, timeToLive }) =>
        Effect.sync(() => {
          if (fetchedAt <= evictedAllAt) return false
          const expiresAt = nanos() + nanosOf(Lifetime.toMillis(timeToLive))
          return store.set(document.clientId, { document, fetchedAt, expiresAt })
        }),
      evict: (clientId) =>
        Effect.sync(() => {
          const now = nanos()
          store.set(clientId, { document: undefined, fetchedAt: now / 1000n, expiresAt: now + nanosOf(Lifetime.evictionMillis) })
        }),
      evictAll: Effect.sync(() => {
        evictedAllAt = nanos() / 1000n
        store.clear()
      }),
      sweep: () => Effect.sync(() => ({ documents: store.deleteExpired(nanos()) }))
    })
  })

/**
 * The cache of one process, in memory: for tests, and for a server that has one node and may fetch again after a
 * restart. It keeps the same promises as the Postgres cache, but for being shared and being durable.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<Cache> => Layer.effect(Cache, makeMemory(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemoryConfig = (
  options: Config.Config.Wrap<MemoryOptions>
): Layer.Layer<Cache, ConfigError.ConfigError> =>
  Layer.effect(Cache, Effect.flatMap(Config.unwrap(options), makeMemory))
