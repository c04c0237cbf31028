/**
 * Where accepted documents are stored (rules CAC-01 to CAC-28).
 *
 * `Cache` is the service. `layerMemory` keeps the documents of one process, `PostgresCache` those of a cluster. There is no
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
import { meaningOf } from "./internal/errorMeaning.js"
import * as MemoryCacheOptions from "./internal/memoryOptions.js"
import type { Remembered } from "./internal/memoryStore.js"
import { MemoryStore } from "./internal/memoryStore.js"
import * as metrics from "./internal/metrics.js"
import { assertAccepted } from "./internal/rules/acceptedDocument.js"
import { siteOf } from "./internal/rules/site.js"
import * as StoredDocument from "./internal/storedDocument.js"
import * as Lifetime from "./internal/storedLifetime.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { OAuthError } from "./OAuthError.js"

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
  /** The tier that the document comes from. */
  readonly tier: "memory" | "postgres"
  /** Milliseconds until it expires, counted from the read. Negative for a stale document. */
  readonly remainingMillis: number
  /** Milliseconds from the start of its fetch to its expiry. */
  readonly lifetimeMillis: number
  /** When its fetch started. */
  readonly fetchedAt: Instant
}

/**
 * The rules under which a caller reads documents. A `Validator` is one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reader extends StoredDocument.Reader {}

/**
 * The result of an election, which decides what node fetches a client for the cluster.
 *
 * - `Elected`: the caller fetches, with the permit that it acquired. The election ends with its scope. `put` and the end of
 *   the scope release the nodes that wait, and `fail` passes them the failure, in any text that the caller can decode.
 * - `Found`: another node fetched, and stored this document.
 * - `Failed`: another node fetched, and its fetch failed.
 *
 * @since 0.1.0
 * @category models
 */
export type Election<Permit> =
  | {
    readonly _tag: "Elected"
    readonly permit: Permit
    readonly fetchedAt: Instant
    readonly fail: (failure: string) => Effect.Effect<void>
  }
  | { readonly _tag: "Found"; readonly entry: Entry }
  | { readonly _tag: "Failed"; readonly failure: string }

const descriptions = {
  get: "look up a document",
  stale: "look up an expired document",
  put: "store a document",
  elect: "elect the node that fetches a document",
  knows: "look up a client and its site",
  supersede: "supersede a document",
  withdraw: "withdraw a document",
  evict: "evict a client",
  evictAll: "evict all clients",
  sweep: "sweep",
  now: "read its clock"
}

/**
 * A call of the cache failed at run time, such as by a timeout. Nothing is lost, and a later call may succeed.
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
      "knows",
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
    return `The client metadata cache could not ${descriptions[this.operation]}; see the cause, and check the database.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * The number of rows that a sweep deleted from each table (SWP-07).
 *
 * @since 0.1.0
 * @category models
 */
export interface Swept {
  readonly documents: number
  /** Leases of nodes that ended before their fetch did. `0` for the cache in memory. */
  readonly leases: number
}

/**
 * Stores accepted documents until they expire, for one process or for a cluster.
 *
 * @since 0.1.0
 * @category tags
 */
export class Cache extends Context.Tag("effect-cimd/Cache")<Cache, {
  /** The current instant of the cache's clock. Read it before a fetch starts, and pass it to `put`. */
  readonly now: Effect.Effect<Instant, CacheError>
  /**
   * Returns what this process has in memory: the result of `get`, if `get` would not have to wait. `undefined` says
   * nothing about whether `get` finds a document.
   */
  readonly peek: (clientId: string, ruleset: string) => Entry | undefined
  /**
   * Returns the document of a client that has not expired, if the reader accepts it. Reading does not consume it, and an
   * expired row is a miss whether or not it was swept (CAC-03, CAC-04). A document that the reader refuses is a miss to
   * this reader, and stays for the others (CAC-11).
   */
  readonly get: (clientId: ClientId, reader: Reader) => Effect.Effect<Option.Option<Entry>, CacheError>
  /**
   * Stores a document. Returns `false` if a document that was fetched later is already there, or if the client was
   * evicted since the fetch started: the latest fetch wins (CAC-05).
   */
  readonly put: (
    document: AcceptedDocument,
    options: {
      readonly fetchedAt: Instant
      readonly timeToLive: Duration.DurationInput
      /** Whether `stale` must not return it after it has expired (FRS-09). Defaults to `false`. */
      readonly mustRevalidate?: boolean | undefined
    }
  ) => Effect.Effect<boolean, CacheError>
  /**
   * Records a fetch whose document must not be stored. It makes what was fetched before it out of date, so neither `get`
   * nor `stale` returns that any more. Returns `false` in the same cases as `put` (CAC-05, FRS-03).
   */
  readonly supersede: (clientId: ClientId, fetchedAt: Instant) => Effect.Effect<boolean, CacheError>
  /**
   * Elects the node that fetches a client which `get` did not find. While another node fetches it, this waits for the
   * result, for as long as that node renews its lease. A document with no more than `minRemaining` of its lifetime left
   * does not count as found. `minRemaining` defaults to `0`.
   *
   * `permit` is acquired before anything is written, and closed at once if another node fetches. If it fails, this only
   * reads: it waits for the node that fetches, and fails with the error of the permit if no node does (CAC-18).
   */
  readonly elect: <Permit, E>(
    clientId: ClientId,
    reader: Reader,
    options: {
      readonly permit: Effect.Effect<Permit, E, Scope.Scope>
      readonly minRemaining?: Duration.DurationInput | undefined
    }
  ) => Effect.Effect<Election<Permit>, CacheError | E, Scope.Scope>
  /**
   * Returns what the cache knows of a client: it holds an accepted document of the client, also an expired one
   * (`accepted`), or one of another client of its site (`site`), or neither (`nothing`).
   */
  readonly knows: (clientId: ClientId) => Effect.Effect<"accepted" | "site" | "nothing", CacheError>
  /**
   * Returns the expired document of a client, which may be served while the client's origin has a fault. It is kept for
   * `staleIfError` after its expiry, and not returned if it was withdrawn, or if the reader refuses it.
   */
  readonly stale: (clientId: ClientId, reader: Reader) => Effect.Effect<Option.Option<Entry>, CacheError>
  /**
   * Records a fetch that found the document gone or invalid: `stale` must not return what was fetched before. With a
   * `ruleset`, only readers of that rule set found it invalid, and `stale` goes on returning it to the others.
   */
  readonly withdraw: (
    clientId: ClientId,
    options: { readonly fetchedAt: Instant; readonly ruleset?: string | undefined }
  ) => Effect.Effect<void, CacheError>
  /** Forgets a client, and the result of every fetch of it that has started (CAC-10). */
  readonly evict: (clientId: ClientId) => Effect.Effect<void, CacheError>
  /** Forgets every client, and the result of every fetch that has started (CAC-10). */
  readonly evictAll: Effect.Effect<void, CacheError>
  /**
   * Deletes what expired before this moment and is not kept for `stale`, by whatever cache stored it, in batches of
   * `batchSize` rows. An interruption stops it between two batches (SWP-01, SWP-04, SWP-08). `batchSize` is limited to 1 to
   * 1,000,000, and defaults to `10_000`.
   */
  readonly sweep: (options?: { readonly batchSize?: number | undefined }) => Effect.Effect<Swept, CacheError>
}>() {}

/**
 * Options of the cache in memory.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryOptions extends MemoryCacheOptions.MemoryOptions {}

const makeMemory = (options: MemoryOptions = {}): Effect.Effect<Cache["Type"], InvalidOptions> =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    const settings = yield* MemoryCacheOptions.settle(options)
    const store = new MemoryStore(settings.maxBytes)
    const staleIfError = Lifetime.toNanos(settings.staleMillis)
    const nanos = () => clock.unsafeCurrentTimeNanos()
    let evictedAllAt = -1n

    const entryOf = (remembered: Remembered, document: AcceptedDocument, now: bigint): Entry => ({
      document,
      tier: "memory",
      remainingMillis: Number((remembered.expiresAt - now) / 1_000_000n),
      lifetimeMillis: remembered.lifetimeMillis,
      fetchedAt: remembered.fetchedAt
    })

    const peek = (clientId: string, ruleset: string): Entry | undefined => {
      const remembered = store.get(clientId)
      const document = remembered?.stored?.under(ruleset)
      if (remembered === undefined || document === undefined) return undefined
      const now = nanos()
      return remembered.expiresAt <= now ? undefined : entryOf(remembered, document, now)
    }

    /** The entry of a client for a reader, if it is one that may be served at this instant. */
    const read = (
      clientId: ClientId,
      reader: Reader,
      mayServe: (remembered: Remembered, now: bigint) => boolean
    ): Effect.Effect<Option.Option<Entry>> =>
      Effect.suspend(() => {
        const remembered = store.get(clientId)
        const now = nanos()
        if (remembered?.stored === undefined || !mayServe(remembered, now)) return Effect.succeedNone
        const isFirst = remembered.stored.under(reader.ruleset) === undefined
        return Effect.map(remembered.stored.readBy(reader), (document) => {
          if (isFirst) store.weigh(clientId)
          if (document !== undefined) return Option.some(entryOf(remembered, document, now))
          metrics.refusedRows.unsafeUpdate(1, [])
          return Option.none()
        })
      })

    /** Leaves a tombstone in place of a document, which stops the fetches that started before. */
    const forget = (clientId: string, fetchedAt: Instant): void => {
      const expiresAt = nanos() + Lifetime.toNanos(Lifetime.tombstoneMillis)
      store.set(clientId, {
        stored: undefined,
        fetchedAt,
        expiresAt,
        keptUntil: expiresAt,
        trustedUntil: expiresAt,
        lifetimeMillis: Lifetime.tombstoneMillis,
        withdrawn: true,
        withdrawnFor: []
      })
    }

    return Cache.of({
      now: Effect.sync(() => nanos() / 1000n),
      peek,
      get: (clientId, reader) => read(clientId, reader, ({ expiresAt }, now) => expiresAt > now),
      // The resolver already limits a process to one fetch per client.
      elect: (_clientId, _reader, { permit }) =>
        Effect.map(permit, (permit) => ({
          _tag: "Elected" as const,
          permit,
          fetchedAt: nanos() / 1000n,
          fail: () => Effect.void
        })),
      knows: (clientId) =>
        Effect.sync(() => {
          if (store.get(clientId)?.stored !== undefined) return "accepted"
          return store.hasSite(siteOf(clientId)) ? "site" : "nothing"
        }),
      stale: (clientId, reader) =>
        read(
          clientId,
          reader,
          ({ expiresAt, keptUntil, withdrawn, withdrawnFor }, now) =>
            expiresAt <= now && keptUntil > now && !withdrawn && !withdrawnFor.includes(reader.ruleset)
        ),
      withdraw: (clientId, { fetchedAt, ruleset }) =>
        Effect.sync(() => {
          const remembered = store.get(clientId)
          if (remembered?.stored === undefined || remembered.fetchedAt > fetchedAt) return
          store.set(
            clientId,
            ruleset === undefined
              ? { ...remembered, withdrawn: true, keptUntil: remembered.expiresAt }
              : { ...remembered, withdrawnFor: [...new Set([...remembered.withdrawnFor, ruleset])] }
          )
        }),
      supersede: (clientId, fetchedAt) =>
        Effect.sync(() => {
          const remembered = store.get(clientId)
          if (fetchedAt <= evictedAllAt || (remembered !== undefined && remembered.fetchedAt > fetchedAt)) return false
          if (remembered?.stored !== undefined) forget(clientId, fetchedAt)
          return true
        }),
      put: (document, { fetchedAt, mustRevalidate = false, timeToLive }) =>
        Effect.sync(() => {
          assertAccepted(document)
          if (fetchedAt <= evictedAllAt) return false
          const lifetimeMillis = Lifetime.toMillis(timeToLive)
          const expiresAt = nanos() + Lifetime.toNanos(timeToLive)
          return store.set(document.clientId, {
            stored: StoredDocument.of(document),
            fetchedAt,
            expiresAt,
            keptUntil: mustRevalidate ? expiresAt : expiresAt + staleIfError,
            trustedUntil: expiresAt,
            lifetimeMillis,
            withdrawn: mustRevalidate,
            withdrawnFor: []
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
          const documents = store.deleteExpired(nanos())
          metrics.sweptRows.unsafeUpdate(documents, [])
          return { documents, leases: 0 }
        })
    })
  })

/**
 * The cache of one process, in memory: for tests, and for a server with one node that may fetch again after a restart. It
 * behaves like the cache in Postgres, except that it is neither shared nor durable.
 *
 * @example
 * ```ts
 * import { Cache } from "effect-cimd"
 *
 * const Live = Cache.layerMemory({ maxBytes: 16_777_216 })
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
