/**
 * Where accepted documents are remembered (rules CAC-01 to CAC-12).
 *
 * `Cache` is the service; `layerMemory` keeps one process's documents, `PostgresCache` those of a cluster. There is no
 * default: a program that provides neither does not compile (CAC-08).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ClientId } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
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
