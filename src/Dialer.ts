/**
 * Dialing: from a checked address to a connected socket.
 *
 * The fetcher decides which address may be dialed; the dialer connects to that address and to nothing else. TLS and
 * HTTP are spoken over the socket by the fetcher, so a dialer sees no plain text.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"

/**
 * No connection could be made to an address.
 *
 * @since 0.1.0
 * @category errors
 */
export class DialError extends Schema.TaggedError<DialError>("effect-cimd/Dialer/DialError")(
  "DialError",
  { address: Schema.String, port: Schema.Int, cause: Schema.Defect }
) {}

/**
 * @since 0.1.0
 * @category tags
 */
export class Dialer extends Context.Tag("effect-cimd/Dialer")<Dialer, {
  /** A connected stream to exactly this address and port. It is destroyed when the scope closes. */
  readonly dial: (address: string, port: number) => Effect.Effect<Duplex, DialError, Scope.Scope>
}>() {}

/**
 * Straight TCP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Dialer> = null as never
