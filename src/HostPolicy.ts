/**
 * Which hosts may be clients (URL-10, ADR-06, ADR-07).
 *
 * The policy is asked before cache and network: a refused host costs nothing, and a changed policy counts at once.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as ClientId from "./ClientId.js"
import * as Address from "./internal/fetch/addressRules.js"
import * as OptionReader from "./internal/optionReader.js"
import * as HostPattern from "./internal/rules/hostPattern.js"
import { isLoopbackHost } from "./internal/rules/uri.js"
import type { InvalidOptions } from "./InvalidOptions.js"
import type { OAuthError } from "./OAuthError.js"
import { invalidClient } from "./OAuthError.js"

/**
 * The host policy refuses the client's host.
 *
 * @since 0.1.0
 * @category errors
 */
export class HostRefused extends Schema.TaggedError<HostRefused>("effect-cimd/HostPolicy/HostRefused")(
  "HostRefused",
  { clientId: Schema.String, host: Schema.String, reason: Schema.String }
) {
  override get message(): string {
    return `The host ${this.host} may not be a client of this server: ${this.reason}.`
  }
  /** @since 0.1.0 */
  get oauthError(): OAuthError {
    return invalidClient
  }
}

/**
 * What a server says about the hosts that its clients may be on.
 *
 * @since 0.1.0
 * @category tags
 */
export class HostPolicy extends Context.Tag("effect-cimd/HostPolicy")<HostPolicy, {
  /** Succeeds if the client's host may be a client. Asked on every resolve, before the cache. */
  readonly check: (clientId: ClientId.ClientId) => Effect.Effect<void, HostRefused>
  /** Whether `localhost` and loopback addresses are permitted: development only. */
  readonly loopback: boolean
  /** Whether a client identifier may name a public address instead of a host name. */
  readonly addressLiterals: boolean
}>() {}

/**
 * What a host policy is made of. Both lists hold for every host: names, addresses and, in development mode, loopback.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The only hosts that may be clients, in lower case: `app.example`, or `*.app.example` for every name below it (and
   * not itself). All hosts, if absent.
   */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Hosts that may not be clients, written as in `allow`. A host in both is refused. */
  readonly block?: ReadonlyArray<string> | undefined
  /** Permit client identifiers that name a public address. Off unless told. */
  readonly addressLiterals?: boolean | undefined
  /**
   * Development mode: permit `localhost` and loopback addresses, and nothing else that is not public. It needs the
   * issuer of this authorization server, and the layer does not build unless that is on a loopback host too (CIMD 8.6).
   */
  readonly development?: { readonly issuer: string } | undefined
}

/** The issuer's host; nothing if the issuer is no http or https URL. */
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
    return `The issuer "${issuer}" is no http or https URL: give the issuer identifier of this authorization server.`
  }
  return isLoopbackHost(host)
    ? undefined
    : `Development mode is for an authorization server on a loopback host, and the issuer "${issuer}" is on ${host}: `
      + "leave `development` out, or serve the issuer from localhost, 127.0.0.1 or [::1]."
}

/** Why an allowed host could never be a client under the other options: the pattern would do nothing. */
const issueOfAllowed = (pattern: string, options: Options): string | undefined => {
  if (pattern === "localhost") {
    return options.development ? undefined : "`allow` holds localhost, which only `development` permits: remove it."
  }
  const { kind, reason } = Address.classify(pattern)
  switch (kind) {
    case "not-an-address":
      return undefined
    case "loopback":
      return options.development
        ? undefined
        : `\`allow\` holds ${pattern}, which only \`development\` permits: remove it.`
    case "public":
      return options.addressLiterals
        ? undefined
        : `\`allow\` holds the address ${pattern}: remove it, or turn \`addressLiterals\` on.`
    case "special-use":
      return `\`allow\` holds ${pattern}, which is never fetched from (${reason}): remove it.`
  }
}

const issuesOf = (options: Options): ReadonlyArray<string> => {
  const malformed = (["allow", "block"] as const).flatMap((list) =>
    (options[list] ?? []).flatMap((pattern) => {
      const issue = HostPattern.fault(pattern)
      return issue === undefined ? [] : [`\`${list}\` contains ${JSON.stringify(pattern)}: ${issue}`]
    })
  )
  const useless = malformed.length > 0 ? [] : (options.allow ?? []).map((pattern) => issueOfAllowed(pattern, options))
  const development = options.development && issueOfDevelopment(options.development)
  return [...malformed, ...[...useless, development].filter((issue) => issue !== undefined)]
}

const policyOf = (options: Options): Context.Tag.Service<HostPolicy> => {
  const blocked = HostPattern.matcher(options.block ?? [])
  const allowed = options.allow && HostPattern.matcher(options.allow)
  const loopback = options.development !== undefined
  const addressLiterals = options.addressLiterals ?? false

  const refusalOfLiteral = (host: string): string | undefined => {
    const { kind, reason } = Address.classify(host)
    switch (kind) {
      case "loopback":
        return loopback ? undefined : "loopback addresses are permitted in development mode only"
      case "public":
        return addressLiterals ? undefined : "it is an address and not a host name"
      default:
        return reason
    }
  }

  const refusal = (host: string): string | undefined => {
    if (blocked(host)) {
      return "it is on the block list"
    }
    if (allowed !== undefined && !allowed(host)) {
      return "it is not on the allow list"
    }
    if (host === "localhost") {
      return loopback ? undefined : "localhost is permitted in development mode only"
    }
    return HostPattern.isLiteral(host) ? refusalOfLiteral(host) : undefined
  }

  return {
    loopback,
    addressLiterals,
    check: (clientId) => {
      const host = ClientId.host(clientId)
      const reason = refusal(host)
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
      "Development mode: clients on localhost and loopback addresses are accepted. Never run it in production."
    ).pipe(Effect.annotateLogs("issuer", options.development.issuer))
  }
  return policyOf(options)
})

/**
 * A policy from options. Does not build when an option cannot be kept, and says which and what to do about it. Logs
 * one warning when it builds in development mode.
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
 * Every host may be a client that is not an address: the policy without options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPublic: Layer.Layer<HostPolicy> = Layer.sync(HostPolicy, () => policyOf({}))
