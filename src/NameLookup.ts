/**
 * Name lookup: from a host name to its addresses.
 *
 * It is a service of its own, so that a test can return the addresses that an attacker would.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { lookup, promises, TIMEOUT } from "node:dns"
import { codeOf } from "./internal/fetch/sockets.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The lookup of a name failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class NameLookupError extends Schema.TaggedError<NameLookupError>("effect-cimd/NameLookup/NameLookupError")(
  "NameLookupError",
  {
    host: Schema.String,
    /**
     * Its `code` is part of the error for the operator. `EBUSY` means that too many other lookups kept this one from
     * starting.
     */
    cause: Schema.Defect
  }
) {
  override get message(): string {
    return `The lookup of the name ${this.host} failed: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }.`
  }
}

/**
 * The options of the lookup in DNS.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** DNS servers, such as `192.0.2.53`, `127.0.0.1:5353` or `[2001:db8::53]:53`. Defaults to those of the system. */
  readonly servers?: ReadonlyArray<string> | undefined
  /**
   * Time for the response of a server to one query. Each server is queried twice, but the whole lookup ends after three
   * times this duration, with the addresses received until then. After the addresses of one family, those of the other
   * are waited for no longer than 250 ms. Defaults to `1 second`.
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
   * Returns every address of a host name, A and AAAA, in the order in which to try them. The array is empty for a host
   * without addresses. The fetcher checks the addresses, so an implementation need not filter them. The host is a fully
   * qualified name: an implementation must not apply a search list to it.
   */
  readonly lookup: (host: string) => Effect.Effect<ReadonlyArray<string>, NameLookupError>
}>() {}

type Service = Context.Tag.Service<NameLookup>

/** Whether a name means this machine. Such a name is not looked up in DNS (RFC 6761, section 6.3). */
const isLocalhost = (host: string): boolean => host === "localhost" || host.endsWith(".localhost")

/**
 * How long the response of one family is waited for after the other one has returned addresses. RFC 8305, section 3,
 * recommends 50 ms to prefer IPv6; here a slow server of the other family also has to arrive, to be checked and dialed.
 */
const resolutionDelay = "250 millis"

const serviceOf = (makeResolver: () => promises.Resolver, timeoutMillis: number): Service => {
  const query = (host: string) => (resolver: promises.Resolver) =>
    Effect.flatMap(Deferred.make<void>(), (addressesFound) => {
      const failed = (cause: unknown) => new NameLookupError({ host, cause })
      const late = Effect.suspend(() =>
        failed(Object.assign(new Error("No DNS server responded in time"), { code: TIMEOUT }))
      )
      const queryFamily = (family: () => Promise<ReadonlyArray<string>>) =>
        Effect.tryPromise({ try: family, catch: failed }).pipe(
          Effect.tap(({ length }) => length > 0 ? Deferred.succeed(addressesFound, undefined) : Effect.void),
          Effect.raceFirst(Effect.zipRight(
            Effect.raceFirst(
              Effect.sleep(timeoutMillis),
              Effect.zipRight(Deferred.await(addressesFound), Effect.sleep(resolutionDelay))
            ),
            late
          ))
        )
      return Effect.flatMap(
        // IPv4 first: without a route for IPv6, as in most containers, IPv6 would cost each fetch a failed attempt.
        Effect.partition([() => resolver.resolve4(host), () => resolver.resolve6(host)], queryFamily, {
          concurrency: "unbounded"
        }),
        ([failures, responses]) => {
          const addresses = responses.flat()
          // Servers that do not support AAAA fail in many ways, which does not invalidate the A records that they have.
          const failure = addresses.length > 0 ? undefined : failures.find(({ cause }) => codeOf(cause) !== "ENODATA")
          return failure ?? Effect.succeed(addresses)
        }
      )
    })
  return {
    lookup: (host) =>
      isLocalhost(host)
        ? Effect.succeed(["127.0.0.1", "::1"])
        // One resolver for each lookup, because `cancel` ends all queries of a resolver.
        : Effect.acquireUseRelease(
          Effect.sync(makeResolver),
          query(host),
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
 * Queries DNS for A and AAAA at the same time and for exactly the name. It uses neither a hosts file, nor a search
 * list, nor a cache. An interrupted lookup is cancelled at once, so names whose servers do not respond delay no others.
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
 * {@link layerWith} with the DNS servers of the system.
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
          const message = `${pending} earlier lookups are pending in the resolver of the system`
          return failed(Object.assign(new Error(message), { code: "EBUSY" }))
        }
        pending++
        // The dot makes the name fully qualified, so that no search list is applied to it.
        const name = isLocalhost(host) ? host : `${host}.`
        // An interruption has no effect: the call cannot be cancelled, so it counts until it returns.
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
 * The resolver of the operating system (`getaddrinfo`), for machines whose names are not all in DNS. It uses the order
 * of addresses, the caches and the hosts file of the system; of the hosts file, only names that end with a dot.
 *
 * Such a lookup cannot be cancelled, and it occupies a thread of libuv's pool until it ends. At most half of the
 * threads serve lookups. So two names of a stranger whose DNS servers do not respond delay every other lookup of the
 * process for seconds, including that of its database: raise `UV_THREADPOOL_SIZE`. While 32 lookups are pending,
 * further ones fail at once, and their fetches with `Throttled`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSystem: Layer.Layer<NameLookup> = Layer.sync(NameLookup, makeSystem)
