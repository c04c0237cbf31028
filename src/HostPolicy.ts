/**
 * Which hosts may have clients (URL-10, ADR-06 to ADR-08).
 *
 * The policy is checked before the cache and the network, so a refused host costs nothing, and a changed policy applies
 * immediately.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as ClientId from "./ClientId.js"
import * as Address from "./internal/addressRules.js"
import { meaningOf } from "./internal/errorMeaning.js"
import { reasonAgainstPort } from "./internal/fetch/badPorts.js"
import * as OptionReader from "./internal/optionReader.js"
import { parts } from "./internal/rules/clientIdParts.js"
import * as HostPattern from "./internal/rules/hostPattern.js"
import { isLoopbackHost } from "./internal/rules/uriSyntax.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { OAuthError } from "./OAuthError.js"

/**
 * The host policy does not permit the client's host.
 *
 * @since 0.1.0
 * @category errors
 */
export class HostRefused extends Schema.TaggedError<HostRefused>("effect-cimd/HostPolicy/HostRefused")(
  "HostRefused",
  { clientId: Schema.String, host: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `The host policy does not permit clients on ${this.host}: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return meaningOf(this).oauthError
  }
}

/**
 * Decides which hosts may have clients.
 *
 * @since 0.1.0
 * @category tags
 */
export class HostPolicy extends Context.Tag("effect-cimd/HostPolicy")<HostPolicy, {
  /** Succeeds if the policy permits the client's host. `Resolver` calls it on every resolve, before the cache. */
  readonly check: (clientId: ClientId.ClientId) => Effect.Effect<void, HostRefused>
  /** Whether `localhost` and loopback addresses are permitted. For development only. */
  readonly loopback: boolean
  /** Whether a client identifier may have a public IP address instead of a host name. */
  readonly addressLiterals: boolean
}>() {}

/**
 * Options of a host policy. Both lists apply to every host: names, addresses and, in development mode, loopback hosts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The only hosts that may have clients, in lower case: `app.example`, or `*.app.example` for every name below it, but
   * not `app.example` itself. Defaults to all hosts.
   */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Hosts that must not have clients, written as in `allow`. Wins over `allow`. Defaults to `[]`. */
  readonly block?: ReadonlyArray<string> | undefined
  /** Whether a client identifier may have a public IP address instead of a host name. Defaults to `false`. */
  readonly addressLiterals?: boolean | undefined
  /**
   * The only ports that clients may have. A port of another protocol, such as 25, is never permitted (ADR-08). Defaults
   * to all other ports.
   */
  readonly ports?: ReadonlyArray<number> | undefined
  /**
   * Development mode: permits `localhost` and loopback addresses, but no other host that is not public. `issuer` is the
   * issuer identifier of this authorization server. It must be on a loopback host too, otherwise the layer fails with
   * `InvalidOptions` (CIMD 8.6). Defaults to `undefined`: off.
   */
  readonly development?: { readonly issuer: string } | undefined
}

/** Returns the issuer's host; `undefined` if the issuer is not an http or https URL. */
const hostOfIssuer = (issuer: string): string | undefined => {
  if (!URL.canParse(issuer)) {
    return undefined
  }
  const { hostname, protocol } = new URL(issuer)
  return protocol === "https:" || protocol === "http:" ? hostname : undefined
}

const issueOfDevelopment = ({ issuer }: NonNullable<Options["development"]>): string | undefined => {
  const host = hostOfIssuer(issuer)
  if (host === undefined) {
    return `\`development.issuer\` must be the http or https URL of this authorization server, but is "${issuer}"`
  }
  return isLoopbackHost(host)
    ? undefined
    : `\`development.issuer\` must be on localhost, 127.0.0.1 or [::1], but "${issuer}" is on ${host}. `
      + "In production, omit `development`"
}

/** Returns why the other options never permit an allowed host, so that its pattern has no effect. */
const issueOfAllowed = (pattern: string, options: Options): string | undefined => {
  if (pattern === "localhost") {
    return options.development ? undefined : "`allow` contains localhost, which only `development` permits. Remove it"
  }
  const { kind, reason } = Address.classify(pattern)
  switch (kind) {
    case "not-an-address":
      return undefined
    case "loopback":
      return options.development
        ? undefined
        : `\`allow\` contains ${pattern}, which only \`development\` permits. Remove it`
    case "public":
      return options.addressLiterals
        ? undefined
        : `\`allow\` contains the address ${pattern}. Remove it, or set \`addressLiterals\` to true`
    case "special-use":
      return `\`allow\` contains ${pattern}, which is never permitted (${reason}). Remove it`
  }
}

const issuesOf = (options: Options): ReadonlyArray<string> => {
  const malformed = (["allow", "block"] as const).flatMap((list) =>
    (options[list] ?? []).flatMap((pattern) => {
      const issue = HostPattern.issueOf(pattern)
      return issue === undefined ? [] : [`\`${list}\` contains ${JSON.stringify(pattern)}: ${issue}`]
    })
  )
  const ineffective = malformed.length > 0
    ? []
    : (options.allow ?? []).map((pattern) => issueOfAllowed(pattern, options))
  const ports = (options.ports ?? []).flatMap((port) => {
    const reason = Number.isInteger(port) && port >= 1 && port <= 65_535
      ? reasonAgainstPort(port)
      : "it must be an integer between 1 and 65535"
    return reason === undefined ? [] : [`\`ports\` contains ${port}, which is never permitted: ${reason}`]
  })
  const development = options.development && issueOfDevelopment(options.development)
  return [...malformed, ...ports, ...[...ineffective, development].filter((issue) => issue !== undefined)]
}

const policyOf = (options: Options): Context.Tag.Service<HostPolicy> => {
  const blocked = HostPattern.matcher(options.block ?? [])
  const allowed = options.allow && HostPattern.matcher(options.allow)
  const ports = options.ports && new Set(options.ports)
  const loopback = options.development !== undefined
  const addressLiterals = options.addressLiterals ?? false

  const reasonAgainstAddress = (host: string): string | undefined => {
    const { kind, reason } = Address.classify(host)
    switch (kind) {
      case "loopback":
        return loopback ? undefined : "loopback addresses are permitted in development mode only"
      case "public":
        return addressLiterals ? undefined : "it is an IP address, not a host name"
      default:
        return reason
    }
  }

  const reasonAgainst = (host: string): string | undefined => {
    if (blocked(host)) {
      return "it is on the block list"
    }
    if (allowed !== undefined && !allowed(host)) {
      return "it is not on the allow list"
    }
    if (host === "localhost") {
      return loopback ? undefined : "localhost is permitted in development mode only"
    }
    return HostPattern.isAddress(host) ? reasonAgainstAddress(host) : undefined
  }

  return {
    loopback,
    addressLiterals,
    check: (clientId) => {
      const { host, port } = parts(clientId)
      const reason = reasonAgainst(host) ?? reasonAgainstPort(port)
        ?? (ports === undefined || ports.has(port) ? undefined : `port ${port} is not one of the permitted ports`)
      return reason === undefined ? Effect.void : new HostRefused({ clientId, host, reason })
    }
  }
}

const make = Effect.fnUntraced(function*(options: Options) {
  yield* OptionReader.read("HostPolicy", ({ report }) => {
    for (const issue of issuesOf(options)) report(issue)
  })
  if (options.development !== undefined) {
    yield* Effect.logWarning(
      "Development mode: clients on localhost and loopback addresses are permitted. Do not use it in production."
    ).pipe(Effect.annotateLogs("issuer", options.development.issuer))
  }
  return policyOf(options)
})

/**
 * A layer with a policy from options. Fails with `InvalidOptions`, which names every invalid option. In development mode
 * it logs one warning when it builds.
 *
 * @example
 * ```ts
 * import { HostPolicy } from "effect-cimd"
 *
 * const Policy = HostPolicy.layer({ block: ["tracker.example", "*.tracker.example"] })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<HostPolicy, InvalidOptions> =>
  Layer.effect(HostPolicy, make(options))

/**
 * {@link layer} with its options read from `Config`.
 *
 * @example
 * ```ts
 * import { HostPolicy } from "effect-cimd"
 * import * as Config from "effect/Config"
 *
 * const Policy = HostPolicy.layerConfig({
 *   block: Config.array(Config.string(), "CIMD_BLOCKED_HOSTS").pipe(Config.withDefault([]))
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<HostPolicy, InvalidOptions | ConfigError.ConfigError> =>
  Layer.effect(HostPolicy, Effect.flatMap(Config.unwrap(config), make))

/**
 * A layer with the policy without options: it permits every host name, and no IP address.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPublic: Layer.Layer<HostPolicy> = Layer.sync(HostPolicy, () => policyOf({}))
