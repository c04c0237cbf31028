/**
 * One guarded GET of a client's metadata document (rules FET-01 to FET-13 and ADR-01 to ADR-06).
 *
 * The name is looked up once and every address of it judged; one of the judged addresses is dialed, TLS is spoken with
 * the name, and one request sent. One deadline covers all of it, and the connection is closed at its end. Neither a
 * proxy variable nor a global agent or dispatcher changes where it goes.
 *
 * A `traceparent` or any other header that tracing packages add to outgoing requests is not sent: the request is written
 * by hand, and a stranger is not told about this server's traces.
 *
 * Of the `HostPolicy` only the switches are read here, for loopback and for address literals. Its lists of hosts are
 * checked by the `Resolver`, before cache and network: whoever uses a fetcher alone has to `check` them first.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { SecureContext, TLSSocket } from "node:tls"
import type * as ClientId from "./ClientId.js"
import * as Dialer from "./Dialer.js"
import * as Errors from "./FetchError.js"
import * as Freshness from "./Freshness.js"
import { HostPolicy } from "./HostPolicy.js"
import * as CheckedAddresses from "./internal/fetch/checkedAddresses.js"
import * as Deadline from "./internal/fetch/deadline.js"
import type { Refusal } from "./internal/fetch/exchange.js"
import { exchange } from "./internal/fetch/exchange.js"
import { connect } from "./internal/fetch/happyEyeballs.js"
import * as HttpResponse from "./internal/fetch/httpResponse.js"
import * as Limiter from "./internal/fetch/limiter.js"
import type { FetchOptions, Settings } from "./internal/fetch/options.js"
import { settle } from "./internal/fetch/options.js"
import * as Target from "./internal/fetch/requestTarget.js"
import type { HeadRefused } from "./internal/fetch/responseRules.js"
import * as ResponseRules from "./internal/fetch/responseRules.js"
import { codeOf } from "./internal/fetch/sockets.js"
import * as Secure from "./internal/fetch/tls.js"
import * as metrics from "./internal/metrics.js"
import * as Spans from "./internal/spans.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import * as NameLookup from "./NameLookup.js"

/**
 * A 200 response that passed every guard. Its body has not been judged.
 *
 * @since 0.1.0
 * @category models
 */
export interface Response {
  readonly body: Uint8Array
  readonly freshness: Freshness.Freshness
  /** When the head had arrived, in milliseconds since the Unix epoch: `freshness` counts from then. */
  readonly receivedAt: number
  /** The address that answered. For operators only. */
  readonly address: string
}

/**
 * Why no document was fetched; the module `FetchError` has each of them.
 *
 * @since 0.1.0
 * @category errors
 */
export type FetchError = Errors.FetchError

/**
 * What the fetcher may be told; every limit has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends FetchOptions {}

/**
 * Fetches the document behind a client identifier, guarded against whoever chose it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Fetcher extends Context.Tag("effect-cimd/Fetcher")<Fetcher, {
  /**
   * Fetches the document behind a client identifier, from a public address only. The lists of the `HostPolicy` are not
   * asked; the `Resolver` does that.
   */
  readonly fetch: (clientId: ClientId.ClientId) => Effect.Effect<Response, FetchError>
}>() {}

const requestOf = (target: Target.Target, accept: string): string =>
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
  target: Target.Target,
  address: string,
  refusal: Refusal<HeadRefused>,
  part: "headers" | "body"
): FetchError => {
  const { clientId } = target
  switch (refusal._tag) {
    case "Malformed":
      return new Errors.ResponseMalformed({ clientId, reason: refusal.reason })
    case "TooLarge":
      return new Errors.ResponseTooLarge({ clientId, part: refusal.part, limit: refusal.limit })
    case "Truncated":
      return new Errors.ResponseTruncated({ clientId, part: refusal.part })
    case "Broken":
      // With TLS 1.3 a server may refuse the handshake after it is over for the client.
      return codeOf(refusal.error).startsWith("ERR_SSL_")
        ? Secure.failure(target, address, refusal.error)
        : new Errors.ResponseTruncated({ clientId, part })
    default:
      return refusal
  }
}

const make = Effect.fnUntraced(function*(options: Options = {}) {
  const settings = yield* settle(options)
  const secureContext = Secure.context(settings.ca)
  const budget = Limiter.make(settings.limits)
  return Fetcher.of(fetcherOf({
    settings,
    secureContext,
    budget,
    policy: yield* HostPolicy,
    lookup: (yield* NameLookup.NameLookup).lookup,
    dial: (yield* Dialer.Dialer).dial
  }))
})

const fetcherOf = ({ budget, dial, lookup, policy, secureContext, settings }: {
  readonly settings: Settings
  readonly secureContext: SecureContext
  readonly budget: Limiter.Limiter
  readonly policy: HostPolicy["Type"]
  readonly lookup: NameLookup.NameLookup["Type"]["lookup"]
  readonly dial: Dialer.Dialer["Type"]["dial"]
}): Fetcher["Type"] => {
  /** The request and its response, over a connection that is ready for it. */
  const ask = (target: Target.Target, address: string, enter: (phase: Errors.Phase) => void) => (socket: TLSSocket) =>
    Effect.clockWith((clock) => {
      enter("headers")
      const requestTime = clock.unsafeCurrentTimeMillis()
      const refuse = ResponseRules.refuse(target.clientId)
      let received: Pick<Response, "freshness" | "receivedAt"> | undefined
      const reader = HttpResponse.make(settings, (head) => {
        enter("body")
        const receivedAt = clock.unsafeCurrentTimeMillis()
        received = { freshness: Freshness.read(head.headers, { requestTime, responseTime: receivedAt }), receivedAt }
        return refuse(head)
      })
      return Effect.matchEffect(exchange(socket, requestOf(target, settings.accept), reader), {
        onFailure: (refusal) => Effect.fail(toFetchError(target, address, refusal, reader.part())),
        onSuccess: (body) => received === undefined ? noHead : Effect.succeed<Response>({ body, address, ...received })
      })
    })

  const attempt = (target: Target.Target, enter: (phase: Errors.Phase) => void) =>
    Effect.gen(function*() {
      enter("lookup")
      const addresses = yield* CheckedAddresses.find(target, lookup, policy)
      enter("connect")
      const connection = yield* connect(target, addresses, dial)
      enter("tls")
      return yield* Secure.use(target, connection, secureContext, ask(target, connection.address, enter))
    }).pipe(Effect.scoped)

  const fetch = (clientId: ClientId.ClientId) =>
    Effect.suspend(() => {
      const target = Target.parse(clientId)
      let phase: Errors.Phase = "budget"
      const enter = (next: Errors.Phase) => {
        phase = next
      }
      return budget.spend(clientId, (turn) =>
        Deadline.within(
          Effect.zipRight(turn, attempt(target, enter)),
          settings.timeoutMillis,
          () => new Errors.FetchTimeout({ clientId, phase, millis: settings.timeoutMillis })
        ))
    })

  return { fetch: (clientId) => observed(clientId, fetch(clientId)) }
}

const noHead = Effect.dieMessage("A body came without a head")

const observed = (clientId: ClientId.ClientId, fetch: Effect.Effect<Response, FetchError>) =>
  fetch.pipe(
    Effect.onExit((exit) => {
      const outcome = outcomeOf(exit)
      metrics.fetchesOf(outcome["cimd.outcome"]).unsafeUpdate(1, [])
      return Effect.annotateCurrentSpan(outcome)
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
 * The fetcher over a name lookup and a dialer of your own: doubles in tests, a proxy in production.
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
 * The fetcher over DNS and straight TCP.
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
