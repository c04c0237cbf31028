/**
 * Dialing: from a checked address to a connected socket.
 *
 * The fetcher decides which address may be dialed; the dialer connects to that address and to nothing else. TLS and
 * HTTP are spoken over the socket by the fetcher, so a dialer sees no plain text.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import { connect, isIP, isIPv6 } from "node:net"
import type { Duplex } from "node:stream"
import * as Tunnel from "./internal/fetch/proxyTunnel.js"
import { destroy, ignore, whenConnected } from "./internal/fetch/sockets.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

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
 * Connects to addresses that the fetcher has checked (ADR-02).
 *
 * @since 0.1.0
 * @category tags
 */
export class Dialer extends Context.Tag("effect-cimd/Dialer")<Dialer, {
  /**
   * A connected stream to exactly this address and port. It is destroyed when the scope closes. An interruption should
   * give the attempt up at once; the fetcher does not wait for it.
   */
  readonly dial: (address: string, port: number) => Effect.Effect<Duplex, DialError, Scope.Scope>
}>() {}

const connected = (host: string, port: number): Effect.Effect<Socket, Error, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => ignore(connect({ host, port, noDelay: true }))), destroy).pipe(
    Effect.tap((socket) => whenConnected(socket, "connect"))
  )

/** Refuses what is no address, since whoever is given a name looks it up. */
const dialerOf = (
  dial: (address: string, port: number) => Effect.Effect<Duplex, Error, Scope.Scope>
): Context.Tag.Service<Dialer> => ({
  dial: (address, port) => {
    const failed = (cause: Error) => new DialError({ address, port, cause })
    return isIP(address) === 0
      ? Effect.fail(failed(new Error("It is not an IP address")))
      : Effect.mapError(dial(address, port), failed)
  }
})

/**
 * Straight TCP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Dialer> = Layer.succeed(Dialer, dialerOf(connected))

/**
 * An HTTP proxy that opens tunnels (`CONNECT`).
 *
 * @since 0.1.0
 * @category models
 */
export interface ProxyOptions {
  /** The proxy's host, which is trusted: it may be any name or address that this machine can reach. */
  readonly host: string
  readonly port: number
  /** The value of `Proxy-Authorization`, as `Basic dXNlcjpwYXNz`; none unless told. */
  readonly authorization?: Redacted.Redacted | undefined
}

/**
 * Through an HTTP proxy, for networks that let nothing else out. It is used because a program says so; a variable of the
 * environment never turns it on. The proxy is asked for the checked address and not for the name, so it cannot be led to
 * another one, and TLS ends at the origin.
 *
 * What is given up:
 * - The proxy routes the address. If its network has other hosts at public addresses than the internet has, they are
 *   what is reached: the proxy has to hold its own rules against that.
 * - Rules of the proxy that go by host name see addresses only.
 * - Names are looked up here and not by the proxy, so this machine needs a resolver that knows the internet.
 * - The proxy sees which addresses are fetched from, and when. The way to the proxy is not encrypted, and the
 *   authorization goes over it.
 * - That no connection was made is all there is to know: `PROXY_REFUSED` stands for every reason of the proxy.
 *
 * @example
 * ```ts
 * import { Dialer, Fetcher, NameLookup } from "effect-cimd"
 * import * as Layer from "effect/Layer"
 *
 * const ThroughProxy = Fetcher.layerWithoutDependencies().pipe(
 *   Layer.provide([NameLookup.layer, Dialer.layerHttpProxy({ host: "proxy.internal", port: 3128 })])
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpProxy = (options: ProxyOptions): Layer.Layer<Dialer, InvalidOptions> =>
  Layer.effect(Dialer, throughProxy(options))

/**
 * {@link layerHttpProxy} with its options read from `Config`, which has to be told their names.
 *
 * @example
 * ```ts
 * import { Dialer } from "effect-cimd"
 * import * as Config from "effect/Config"
 *
 * const Proxy = Dialer.layerHttpProxyConfig({
 *   host: Config.string("CIMD_PROXY_HOST"),
 *   port: Config.integer("CIMD_PROXY_PORT"),
 *   authorization: Config.redacted("CIMD_PROXY_AUTHORIZATION").pipe(Config.withDefault(undefined))
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpProxyConfig = (
  options: Config.Config.Wrap<ProxyOptions>
): Layer.Layer<Dialer, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(Dialer, Effect.flatMap(Config.unwrap(options), throughProxy))

const throughProxy = (options: ProxyOptions): Effect.Effect<Context.Tag.Service<Dialer>, InvalidOptions> => {
  const { authorization, host, port } = options
  return OptionReader.read("Dialer", ({ report, whole }) => {
    if (typeof host !== "string" || !/^[\x21-\x7e]+$/.test(host)) {
      report("`host` must be the name or the address of the proxy")
    }
    whole("port", port, Number.NaN, 65_535)
    if (authorization !== undefined && !isFieldValue(authorization)) {
      report("`authorization` must be redacted, and one line of printable ASCII, such as `Basic dXNlcjpwYXNz`")
    }
    return dialerOf((address, dialedPort) =>
      Effect.tap(
        connected(host, port),
        (socket) => Tunnel.open(socket, tunnelRequest(address, dialedPort, authorization))
      )
    )
  })
}

const isFieldValue = (authorization: Redacted.Redacted): boolean =>
  Redacted.isRedacted(authorization) && /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(Redacted.value(authorization))

const tunnelRequest = (address: string, port: number, authorization: Redacted.Redacted | undefined): string => {
  const authority = isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
  return [
    `CONNECT ${authority} HTTP/1.1`,
    `Host: ${authority}`,
    ...(authorization === undefined ? [] : [`Proxy-Authorization: ${Redacted.value(authorization)}`]),
    "",
    ""
  ].join("\r\n")
}
