/**
 * One guarded GET of a client's metadata document (rules FET-01 to FET-24, ADR-01 to ADR-06 and
 * ADR-08 to ADR-10).
 *
 * The name is looked up once, and each of its addresses is checked. One of the checked addresses is dialed, the TLS
 * certificate must be for the name, and one request is sent. One deadline covers all of this, and the connection is
 * then closed. Neither a proxy variable nor a global agent or dispatcher changes where the request goes.
 *
 * A `traceparent`, or any other header that tracing packages add to outgoing requests, is not sent. The request is
 * written by hand, so that no stranger receives information about the traces of this server.
 *
 * Of the `HostPolicy`, the switches for loopback and for address literals and the ranges of addresses are read here. The
 * `Resolver` checks its hosts and ports, before cache and network. Callers that use a fetcher alone have to call `check`
 * first.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { SecureContext, TLSSocket } from "node:tls"
import type * as ClientId from "./ClientId.js"
import * as Dialer from "./Dialer.js"
import * as Errors from "./FetchError.js"
import * as Freshness from "./Freshness.js"
import { HostPolicy } from "./HostPolicy.js"
import * as CheckedAddresses from "./internal/fetch/checkedAddresses.js"
import * as Deadline from "./internal/fetch/deadline.js"
import type { ExchangeError } from "./internal/fetch/exchange.js"
import { exchange } from "./internal/fetch/exchange.js"
import type { FetchTarget } from "./internal/fetch/fetchTarget.js"
import { fetchTarget } from "./internal/fetch/fetchTarget.js"
import * as HappyEyeballs from "./internal/fetch/happyEyeballs.js"
import * as Limiter from "./internal/fetch/limiter.js"
import type { FetchOptions, Settings } from "./internal/fetch/options.js"
import { settingsOf } from "./internal/fetch/options.js"
import * as ResponseParser from "./internal/fetch/responseParser.js"
import type { HeadError } from "./internal/fetch/responseRules.js"
import { headError } from "./internal/fetch/responseRules.js"
import { codeOf } from "./internal/fetch/sockets.js"
import * as Tls from "./internal/fetch/tls.js"
import type { Usage } from "./internal/fetch/transport.js"
import { noUsage, TooManyBytes } from "./internal/fetch/transport.js"
import * as metrics from "./internal/metrics.js"
import { publicSuffixListDate } from "./internal/rules/site.js"
import * as Spans from "./internal/spans.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import * as NameLookup from "./NameLookup.js"

/**
 * A 200 response that passed every check of the fetcher. Its body has not been validated.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response {
  readonly body: Uint8Array
  readonly freshness: Freshness.Freshness
  /** When the head had arrived, in milliseconds since the Unix epoch. `freshness` counts from then. */
  readonly receivedAt: number
  /** The address that the response came from. For operators only. */
  readonly address: string
}

/**
 * The errors of a fetch. The module `FetchError` has each of them.
 *
 * @since 0.1.0
 * @category errors
 */
export type FetchError = Errors.FetchError

/**
 * The options of the fetcher. Each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends FetchOptions {}

/**
 * What is known of a client before it is fetched.
 *
 * - `confirmed`: a user consented to it, and the registry has not forgotten it.
 * - `accepted`: the cache holds an accepted document of it, which has expired.
 * - `site`: the cache holds an accepted document of another client of its site.
 * - `nothing`: none of these.
 *
 * @since 0.1.0
 * @category models
 */
export type Known = "confirmed" | "accepted" | "site" | "nothing"

/**
 * For whom a fetch is made. It decides about the share of the limits that the fetch may use.
 *
 * @since 0.1.0
 * @category models
 */
export interface PermitOptions {
  /** What is known of the client. Defaults to `nothing`. */
  readonly known?: Known | undefined
  /**
   * Who caused the fetch, such as the IP address of the HTTP request's peer. A requester has at most a quarter of the
   * permits, and the rate of a domain. It lowers a share and never adds one. An IPv6 address counts with its /64; any other
   * text has no meaning. Never take it from a header that the peer could have sent, such as `X-Forwarded-For`, unless a
   * proxy of yours overwrites it. Without it, no share of a requester applies.
   */
  readonly requester?: string | undefined
}

/**
 * The permit of one fetch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Permit {
  /** Fetches the document, once. The timeout of the fetch starts here. */
  readonly fetch: Effect.Effect<Response, FetchError>
}

/**
 * Fetches the document behind a client identifier, which a stranger chose.
 *
 * @since 0.1.0
 * @category tags
 */
export class Fetcher extends Context.Tag("effect-cimd/Fetcher")<Fetcher, {
  /**
   * Fetches the document behind a client identifier, from a public address only. It does not check the lists of the
   * `HostPolicy`; the `Resolver` does.
   */
  readonly fetch: (clientId: ClientId.ClientId, options?: PermitOptions) => Effect.Effect<Response, FetchError>
  /**
   * Waits until the limits permit a fetch of this client, or fails with `Throttled`. Nothing is sent before the permit's
   * `fetch`. The permit is returned when the scope closes, also if it was not used.
   */
  readonly permit: (
    clientId: ClientId.ClientId,
    options?: PermitOptions
  ) => Effect.Effect<Permit, Errors.Throttled, Scope.Scope>
}>() {}

const requestOf = (target: FetchTarget, accept: string): string =>
  [
    `GET ${target.requestTarget} HTTP/1.1`,
    `Host: ${target.hostField}`,
    `Accept: ${accept}`,
    "Accept-Encoding: identity",
    "User-Agent: effect-cimd",
    "Connection: close",
    "",
    ""
  ].join("\r\n")

const toFetchError = (
  target: FetchTarget,
  address: string,
  error: ExchangeError<HeadError>
): FetchError => {
  const { clientId } = target
  switch (error._tag) {
    case "Malformed":
      return new Errors.ResponseMalformed({ clientId, reason: error.reason })
    case "TooLarge":
      return new Errors.ResponseTooLarge({ clientId, part: error.part, limit: error.limit })
    case "Truncated":
      return new Errors.ResponseTruncated({ clientId, part: error.part })
    case "Broken":
      if (error.error instanceof TooManyBytes) {
        return new Errors.ResponseTooLarge({ clientId, part: "connection", limit: error.error.limit })
      }
      // With TLS 1.3, a server may reject the handshake after the client has finished it.
      return codeOf(error.error).startsWith("ERR_SSL_")
        ? Tls.failure(target, address, error.error)
        : new Errors.ResponseTruncated({ clientId, part: error.part })
    default:
      return error
  }
}

const make = Effect.fnUntraced(function*(options: Options = {}) {
  const settings = yield* settingsOf(options)
  const secureContext = Tls.context(settings.ca)
  const limiter = Limiter.make(settings.limits)
  metrics.publicSuffixListTimestamp.unsafeUpdate(Date.parse(publicSuffixListDate) / 1000, [])
  return Fetcher.of(fetcherOf({
    settings,
    secureContext,
    limiter,
    policy: yield* HostPolicy,
    lookup: (yield* NameLookup.NameLookup).lookup,
    dial: (yield* Dialer.Dialer).dial
  }))
})

const fetcherOf = ({ dial, limiter, lookup, policy, secureContext, settings }: {
  readonly settings: Settings
  readonly secureContext: SecureContext
  readonly limiter: Limiter.Limiter
  readonly policy: HostPolicy["Type"]
  readonly lookup: NameLookup.NameLookup["Type"]["lookup"]
  readonly dial: Dialer.Dialer["Type"]["dial"]
}): Fetcher["Type"] => {
  /** Sends the request over a connection that is ready for it, and reads the response. */
  const request = (target: FetchTarget, address: string, enter: (phase: Errors.Phase) => void) => (socket: TLSSocket) =>
    Effect.clockWith((clock) => {
      enter("headers")
      const requestTime = clock.unsafeCurrentTimeMillis()
      const parser = ResponseParser.make(settings, (head) => {
        enter("body")
        const receivedAt = clock.unsafeCurrentTimeMillis()
        const error = headError(target.clientId, head)
        return error === undefined
          ? Either.right({
            freshness: Freshness.read(head.headers, { requestTime, responseTime: receivedAt }),
            receivedAt
          })
          : Either.left(error)
      })
      return Effect.mapBoth(exchange(socket, requestOf(target, settings.accept), parser), {
        onFailure: (error) => toFetchError(target, address, error),
        onSuccess: ({ body, head }): Response => ({ body, address, ...head })
      })
    })

  const attempt = (
    target: FetchTarget,
    usage: Usage,
    dialer: Limiter.Permit["dialer"],
    enter: (phase: Errors.Phase) => void
  ) =>
    Effect.gen(function*() {
      enter("lookup")
      const addresses = yield* CheckedAddresses.find(target, lookup, policy)
      enter("connect")
      const connection = yield* HappyEyeballs.connect(target, addresses, yield* dialer(dial))
      enter("tls")
      const limits = { secureContext, maxReceivedBytes: settings.maxReceivedBytes, usage }
      return yield* Tls.withTls(target, connection, limits, request(target, connection.address, enter))
    }).pipe(Effect.scoped)

  const fetch = (clientId: ClientId.ClientId, { dialer, use }: Limiter.Permit) =>
    Effect.suspend(() => {
      const target = fetchTarget(clientId)
      const usage = noUsage()
      let phase: Errors.Phase = "lookup"
      const enter = (next: Errors.Phase) => {
        phase = next
      }
      const inTime = Deadline.within(
        attempt(target, usage, dialer, enter),
        settings.timeoutMillis,
        () => {
          metrics.timeoutsOf(phase).unsafeUpdate(1, [])
          return new Errors.FetchTimeout({ clientId, phase, millis: settings.timeoutMillis })
        }
      )
      return observed(clientId, usage, use(usage, inTime))
    })

  const permit: Fetcher["Type"]["permit"] = (clientId, { known = "nothing", requester } = {}) =>
    limiter.acquire({ clientId, known, requester }).pipe(
      Effect.tapError(({ _tag }) =>
        Effect.sync(() => {
          metrics.fetchesOf(_tag).unsafeUpdate(1, [])
        })
      ),
      Effect.map((permit) => ({ fetch: fetch(clientId, permit) }))
    )

  return {
    fetch: (clientId, options) => Effect.scoped(Effect.flatMap(permit(clientId, options), ({ fetch }) => fetch)),
    permit
  }
}

const observed = (clientId: ClientId.ClientId, usage: Usage, fetch: Effect.Effect<Response, FetchError>) =>
  fetch.pipe(
    Effect.onExit((exit) => {
      const outcome = outcomeOf(exit)
      metrics.fetchesOf(outcome["cimd.outcome"]).unsafeUpdate(1, [])
      return Effect.annotateCurrentSpan({
        ...outcome,
        "cimd.received_bytes": usage.receivedBytes,
        "cimd.handshake_millis": usage.handshakeMillis
      })
    }),
    Spans.ofClient("cimd.fetch", clientId)
  )

const outcomeOf = (exit: Exit.Exit<Response, FetchError>) =>
  Exit.match(exit, {
    onSuccess: ({ body }) => ({ "cimd.outcome": "success", "cimd.status": 200, "cimd.bytes": body.length }),
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => ({ "cimd.outcome": Cause.isInterruptedOnly(cause) ? "interrupted" : "defect" }),
        onSome: (error) => ({
          "cimd.outcome": error._tag,
          ...("status" in error ? { "cimd.status": error.status } : {})
        })
      })
  })

/**
 * The fetcher with a name lookup and a dialer of your own, such as doubles in tests or a proxy in production.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithoutDependencies = (
  options?: Options
): Layer.Layer<Fetcher, InvalidOptions, HostPolicy | NameLookup.NameLookup | Dialer.Dialer> =>
  Layer.effect(Fetcher, make(options))

/**
 * {@link layerWithoutDependencies} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithoutDependenciesConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<
  Fetcher,
  InvalidOptions | ConfigError.ConfigError,
  HostPolicy | NameLookup.NameLookup | Dialer.Dialer
> => Layer.effect(Fetcher, Effect.flatMap(Config.unwrap(config), make))

const dependencies = Layer.merge(NameLookup.layer, Dialer.layer)

/**
 * The fetcher with DNS and direct TCP connections.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Fetcher, InvalidOptions, HostPolicy> =>
  Layer.provide(layerWithoutDependencies(options), dependencies)

/**
 * {@link layer} with its options read from `Config`.
 *
 * @example
 * ```ts
 * import { Fetcher } from "effect-cimd"
 * import * as Config from "effect/Config"
 *
 * const Live = Fetcher.layerConfig({
 *   timeout: Config.duration("CIMD_FETCH_TIMEOUT").pipe(Config.withDefault("5 seconds"))
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Fetcher, InvalidOptions | ConfigError.ConfigError, HostPolicy> =>
  Layer.provide(layerWithoutDependenciesConfig(config), dependencies)
