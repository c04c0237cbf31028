/**
 * The way through: from a client identifier to its accepted document.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Cache, CacheError } from "./Cache.js"
import type { ClientId, InvalidClientId } from "./ClientId.js"
import type { AcceptedDocument } from "./ClientMetadata.js"
import type { Fetcher, FetchError } from "./Fetcher.js"
import type * as Freshness from "./Freshness.js"
import type { HostPolicy, HostRefused } from "./HostPolicy.js"
import type { InvalidDocument, UnauthorizedClient, Validator } from "./Validator.js"

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
  /** The bounds on how long documents are kept. */
  readonly freshness?: Partial<Freshness.Policy> | undefined
  /** Characters a client identifier may have at most; 2048 unless told (URL-09). */
  readonly maxClientIdLength?: number | undefined
  /** What to do while the cache cannot be asked: refuse (the default), or fetch without caching (CAC-09). */
  readonly onCacheError?: "fail" | "fetch" | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Resolver extends Context.Tag("effect-cimd/Resolver")<Resolver, {
  /** The accepted document of a client: from the cache while it is fresh, else from the client's origin. */
  readonly resolve: (clientId: string) => Effect.Effect<Resolution, ResolveError>
  /** Fetches the document again, whatever the cache holds, and remembers the result. */
  readonly refresh: (clientId: string) => Effect.Effect<Resolution, ResolveError>
  /** Forgets a client on every node. */
  readonly evict: (clientId: ClientId) => Effect.Effect<void, CacheError>
}>() {}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: (
  options?: Options
) => Layer.Layer<Resolver, never, Cache | Fetcher | Validator | HostPolicy> = () => null as never
