/**
 * How long a response may be kept: RFC 9111 for a shared cache that keeps only 200 responses and computes no
 * heuristics (rules FRS-01 to FRS-08). Pure.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/**
 * What the response headers say about its freshness.
 *
 * @since 0.1.0
 * @category models
 */
export interface Freshness {
  /** `false` when a shared cache must not store it: `no-store`, `private`, `Vary: *` (FRS-03, FRS-05). */
  readonly storable: boolean
  /** `no-cache`: never to be served without asking the origin again (FRS-04). */
  readonly noCache: boolean
  /** Seconds of freshness left when the response arrived; negative if stale; absent if the origin said nothing. */
  readonly remaining: number | undefined
}

/**
 * The bounds that a server sets on what origins ask for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  /** Kept at least this long; 60 seconds unless told (FRS-07). */
  readonly minimum: Duration.DurationInput
  /** Kept at most this long; 24 hours unless told (FRS-07). */
  readonly maximum: Duration.DurationInput
  /** Kept this long when the origin says nothing; 5 minutes unless told (FRS-06). */
  readonly unspecified: Duration.DurationInput
  /** How long `no-cache` responses are kept; not stored unless told (FRS-04). */
  readonly noCache?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaultPolicy: Policy = {
  minimum: "60 seconds",
  maximum: "24 hours",
  unspecified: "5 minutes"
}

/**
 * Reads the headers of a 200 response. `requestTime` and `responseTime` are milliseconds since the Unix epoch by the
 * same clock: when the request was sent, and when its headers had arrived (RFC 9111, section 4.2.3).
 *
 * @since 0.1.0
 * @category parsing
 */
export const read: (
  headers: ReadonlyArray<readonly [name: string, value: string]>,
  times: { readonly requestTime: number; readonly responseTime: number }
) => Freshness = () => {
  throw new Error("TODO")
}

/**
 * How long to keep the response, within the policy's bounds; none if it is not to be stored.
 *
 * @since 0.1.0
 * @category deciding
 */
export const timeToLive: (freshness: Freshness, policy?: Policy) => Option.Option<Duration.Duration> = () => {
  throw new Error("TODO")
}
