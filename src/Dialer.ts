/**
 * Dialing: from a checked address to a connected socket.
 *
 * The fetcher decides which address may be dialed, and the dialer connects to exactly that address. The fetcher runs
 * TLS and HTTP over the socket, so a dialer sees no plain text.
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
import * as ProxyTunnel from "./internal/fetch/proxyTunnel.js"
import { destroy, ignore, maxReadBytes, whenConnected } from "./internal/fetch/sockets.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The connection to an address failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class DialError extends Schema.TaggedError<DialError>("effect-cimd/Dialer/DialError")(
  "DialError",
  { address: Schema.String, port: Schema.Int, cause: Schema.Defect }
) {
  override get message(): string {
    return `The connection to ${this.address}, port ${this.port}, failed: ${
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
   * Returns a connected stream to exactly this address and port, which is destroyed when the scope closes. An
   * interruption should cancel the attempt at once; the fetcher does not wait for it.
   */
  readonly dial: (address: string, port: number) => Effect.Effect<Duplex, DialError, Scope.Scope>
}>() {}

/**
 * Opens a socket that reads at most `maxReadBytes` at a time. By default, Node.js reads up to 64 KiB before anything can
 * count them.
 */
const open = (host: string, port: number): Socket => {
  const options = {
    host,
    port,
    noDelay: true,
    // While the socket is paused, it keeps one read and no more.
    readableHighWaterMark: 1,
    onread: {
      buffer: Buffer.allocUnsafeSlow(maxReadBytes),
      // The buffer is used again. `push` returns `false` to read no more, and a later `_read` resumes.
      callback: (length: number, buffer: Uint8Array) => socket.push(Buffer.from(buffer.subarray(0, length)))
    }
  }
  const socket: Socket = connect(options)
  return ignore(socket)
}

const connected = (host: string, port: number): Effect.Effect<Socket, Error, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => open(host, port)), destroy).pipe(
    Effect.tap((socket) => whenConnected(socket, "connect"))
  )

/** Fails for anything but an IP address, because `net.connect` would look up a name. */
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
 * Direct TCP connections.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Dialer> = Layer.succeed(Dialer, dialerOf(connected))

/**
 * The options of an HTTP proxy that opens tunnels (`CONNECT`).
 *
 * @since 0.1.0
 * @category models
 */
export interface ProxyOptions {
  /** The name or address of the proxy. It is trusted, so it may be any that this machine can reach. */
  readonly host: string
  /** The port of the proxy, from 1 to 65535. */
  readonly port: number
  /** The value of `Proxy-Authorization`, such as `Basic dXNlcjpwYXNz`. Defaults to no such header. */
  readonly authorization?: Redacted.Redacted | undefined
}

/**
 * Connections through an HTTP proxy, for networks without direct access to the internet. Only the program turns it on;
 * no environment variable does. The proxy receives the checked address and not the name, so it cannot be led to another
 * address, and TLS ends at the origin.
 *
 * Limitations:
 * - The proxy routes the address. If its network has other hosts at public addresses than the internet has, the
 *   connection reaches those hosts. The proxy needs rules of its own against that.
 * - Rules of the proxy for host names do not match, because it sees addresses only.
 * - Names are looked up by this machine and not by the proxy, so it needs a resolver for the names of the internet. A
 *   proxy that has to look up the names itself cannot be used, because no address of theirs could be checked.
 * - The proxy sees which addresses are fetched from, and when. The connection to the proxy is not encrypted, and it
 *   carries the authorization.
 * - Errors have no detail: `PROXY_REFUSED` stands for every reason of the proxy.
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
 * {@link layerHttpProxy} with its options read from `Config`.
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
    whole("port", port, Number.NaN, { most: 65_535 })
    if (authorization !== undefined && !isFieldValue(authorization)) {
      report("`authorization` must be redacted, and one line of printable ASCII, such as `Basic dXNlcjpwYXNz`")
    }
    return dialerOf((address, dialedPort) =>
      Effect.tap(
        connected(host, port),
        (socket) => ProxyTunnel.open(socket, tunnelRequest(address, dialedPort, authorization))
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
