/**
 * Dialing: from a checked address to a connected socket.
 *
 * The fetcher decides which address may be dialed; the dialer connects to that address and to nothing else. TLS and
 * HTTP are spoken over the socket by the fetcher, so a dialer sees no plain text.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import { connect, isIP } from "node:net"
import type { Duplex } from "node:stream"
import { destroy, ignore, whenConnected } from "./internal/sockets.js"

/**
 * No connection could be made to an address.
 *
 * @since 0.1.0
 * @category errors
 */
export class DialError extends Schema.TaggedError<DialError>("effect-cimd/Dialer/DialError")(
  "DialError",
  { address: Schema.String, port: Schema.Int, cause: Schema.Defect }
) {
  override get message(): string {
    return `No connection to ${this.address}, port ${this.port}: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }.`
  }
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Dialer extends Context.Tag("effect-cimd/Dialer")<Dialer, {
  /** A connected stream to exactly this address and port. It is destroyed when the scope closes. */
  readonly dial: (address: string, port: number) => Effect.Effect<Duplex, DialError, Scope.Scope>
}>() {}

const dial = (address: string, port: number): Effect.Effect<Socket, DialError, Scope.Scope> =>
  // `net.connect` looks up whatever is no address.
  isIP(address) === 0
    ? new DialError({ address, port, cause: new Error("It is not an IP address") })
    : Effect.acquireRelease(Effect.sync(() => ignore(connect({ host: address, port, noDelay: true }))), destroy).pipe(
      Effect.tap((socket) => whenConnected(socket, "connect")),
      Effect.mapError((cause) => new DialError({ address, port, cause }))
    )

/**
 * Straight TCP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Dialer> = Layer.succeed(Dialer, { dial })
