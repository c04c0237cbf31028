/**
 * One guarded GET of a client's metadata document (rules FET-01 to FET-14 and ADR-01 to ADR-07).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { ClientId } from "./ClientId.js"
import type { Dialer } from "./Dialer.js"
import type * as Freshness from "./Freshness.js"
import type { HostPolicy } from "./HostPolicy.js"
import type { NameLookup } from "./NameLookup.js"

/**
 * A 200 response that passed every guard. Its body has not been judged.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response {
  readonly body: Uint8Array
  readonly freshness: Freshness.Freshness
  /** The address that answered. For operators only. */
  readonly address: string
}

/**
 * Why no document was fetched. PLACEHOLDER: a union of one tagged error per class.
 *
 * @since 0.1.0
 * @category errors
 */
export type FetchError = never

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Time for everything: lookup, connect, TLS, headers and the last byte; 5 seconds unless told (FET-08). */
  readonly timeout?: Duration.DurationInput | undefined
  /** Bytes of body at most; 5120 unless told (FET-07). */
  readonly maxBodyBytes?: number | undefined
  /** `Accept` header; `application/json` unless told (FET-02). */
  readonly accept?: string | undefined
  /** Certificate authorities (PEM) to trust instead of the system's. */
  readonly ca?: string | ReadonlyArray<string> | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Fetcher extends Context.Tag("effect-cimd/Fetcher")<Fetcher, {
  /** Fetches the document behind a client identifier, from a public address only. */
  readonly fetch: (clientId: ClientId) => Effect.Effect<Response, FetchError>
}>() {}

/**
 * The fetcher over the system's name lookup and straight TCP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: (options?: Options) => Layer.Layer<Fetcher, never, HostPolicy> = () => null as never

/**
 * The fetcher over a name lookup and a dialer of your own: doubles in tests, a proxy in production.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithoutDependencies: (
  options?: Options
) => Layer.Layer<Fetcher, never, HostPolicy | NameLookup | Dialer> = () => null as never
