/**
 * Name lookup: from a host name to its addresses.
 *
 * A service of its own, so that a test can answer what an attacker would.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { lookup, promises, TIMEOUT } from "node:dns"
import { codeOf } from "./internal/fetch/sockets.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * A name could not be looked up.
 *
 * @since 0.1.0
 * @category errors
 */
export class NameLookupError extends Schema.TaggedError<NameLookupError>("effect-cimd/NameLookup/NameLookupError")(
  "NameLookupError",
  {
    host: Schema.String,
    /** Its `code` is told to the operator. `EBUSY` says that the lookup was not begun, because of others before it. */
    cause: Schema.Defect
  }
) {
  override get message(): string {
    return `The name ${this.host} could not be looked up: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }.`
  }
}

/**
 * Which DNS servers are asked, and for how long.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The DNS servers to ask, as `192.0.2.53`, `127.0.0.1:5353` or `[2001:db8::53]:53`; the system's unless told. */
  readonly servers?: ReadonlyArray<string> | undefined
  /**
   * How long a server may take; 1 second unless told. Each is asked twice, and three times this long is all that the
   * lookup may take: what has been answered by then has to do.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Looks up the addresses of a host name (ADR-01).
 *
 * @since 0.1.0
 * @category tags
 */
export class NameLookup extends Context.Tag("effect-cimd/NameLookup")<NameLookup, {
  /**
   * Every address of a host name, A and AAAA, in the order they should be tried. An empty answer is a host without
   * addresses. The strings are judged by the fetcher, so an implementation need not filter them. The host is a whole
   * name: no search list may be applied to it.
   */
  readonly lookup: (host: string) => Effect.Effect<ReadonlyArray<string>, NameLookupError>
}>() {}

type Service = Context.Tag.Service<NameLookup>

/** These names are this machine, and DNS is not asked for them (RFC 6761, section 6.3). */
const isLocalhost = (host: string): boolean => host === "localhost" || host.endsWith(".localhost")

const serviceOf = (makeResolver: () => promises.Resolver, patienceMillis: number): Service => {
  const ask = (host: string) => (resolver: promises.Resolver) => {
    const failed = (cause: unknown) => new NameLookupError({ host, cause })
    return Effect.flatMap(
      Effect.partition(
        // IPv4 first: where IPv6 leads nowhere, as from most containers, it would cost each fetch a failed attempt.
        [() => resolver.resolve4(host), () => resolver.resolve6(host)],
        (family) =>
          Effect.timeoutFail(Effect.tryPromise({ try: family, catch: failed }), {
            duration: patienceMillis,
            onTimeout: () => failed(Object.assign(new Error("No DNS server has answered in time"), { code: TIMEOUT }))
          }),
        { concurrency: "unbounded" }
      ),
      ([failures, answers]) => {
        const addresses = answers.flat()
        // Servers that know of no AAAA fail in every way there is, which takes nothing from the A they have.
        const failure = addresses.length > 0 ? undefined : failures.find(({ cause }) => codeOf(cause) !== "ENODATA")
        return failure ?? Effect.succeed(addresses)
      }
    )
  }
  return {
    lookup: (host) =>
      isLocalhost(host)
        ? Effect.succeed(["127.0.0.1", "::1"])
        // A resolver of its own for each lookup: to cancel one is to end all that it was asked.
        : Effect.acquireUseRelease(
          Effect.sync(makeResolver),
          ask(host),
          (resolver) => Effect.sync(() => resolver.cancel())
        )
  }
}

const make = (options: Options): Effect.Effect<Service, InvalidOptions> => {
  const resolverWith = (timeout: number) => {
    const resolver = new promises.Resolver({ timeout, tries: 2 })
    if (options.servers !== undefined) resolver.setServers(options.servers)
    return resolver
  }
  return OptionReader.read("NameLookup", ({ millis, report }) => {
    const timeout = millis("timeout", options.timeout, "1 second")
    if (options.servers?.length === 0) {
      report("`servers` must not be empty; leave it out to use the DNS servers of the system")
    }
    try {
      resolverWith(1)
    } catch (error) {
      report(`\`servers\` must be addresses, with or without a port (${String(error)})`)
    }
    return serviceOf(() => resolverWith(timeout), timeout * 3)
  })
}

/**
 * Asks DNS, A and AAAA at the same time and for exactly the name: neither a hosts file nor a search list is looked at,
 * and no answer is remembered. A lookup that nobody waits for any more is given up at once, so that names whose servers
 * do not answer hold up no others.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<NameLookup, InvalidOptions> =>
  Layer.effect(NameLookup, make(options))

/**
 * {@link layerWith} with its options read from `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<NameLookup, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(NameLookup, Effect.flatMap(Config.unwrap(options), make))

/**
 * {@link layerWith} that asks the system's DNS servers.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<NameLookup> = Layer.orDie(layerWith({}))

const maxPending = 32

const makeSystem = (): Service => {
  let pending = 0
  return {
    lookup: (host) =>
      Effect.async((resume) => {
        const failed = (cause: Error) => resume(Effect.fail(new NameLookupError({ host, cause })))
        if (pending >= maxPending) {
          const message = `${pending} earlier lookups have not been answered by the system's resolver`
          return failed(Object.assign(new Error(message), { code: "EBUSY" }))
        }
        pending++
        // The dot says that the name is whole, so that no search list is applied to it.
        const name = isLocalhost(host) ? host : `${host}.`
        // No signal is taken: the call cannot be cancelled, and counts until it returns even if nobody waits for it.
        lookup(name, { all: true, verbatim: true }, (error, answers) => {
          pending--
          if (error === null) {
            resume(Effect.succeed(answers.map(({ address }) => address)))
          } else {
            failed(error)
          }
        })
      })
  }
}

/**
 * The operating system's resolver (`getaddrinfo`), for machines whose names are not all in DNS: with its order of
 * addresses, its caches, and its hosts file as far as that holds names with a dot at their end.
 *
 * What it costs: such a lookup cannot be cancelled, and takes a thread of libuv's pool until it ends, of which libuv
 * gives lookups half at most. So two names of a stranger whose DNS servers do not answer hold up every other lookup of
 * the process for seconds, its database's too: raise `UV_THREADPOOL_SIZE`. While 32 have not been answered further ones
 * fail at once, as a fetch that is throttled.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSystem: Layer.Layer<NameLookup> = Layer.sync(NameLookup, makeSystem)
