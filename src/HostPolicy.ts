/**
 * Which hosts may have clients, and which addresses may be dialed for them (URL-10, ADR-06 to ADR-11).
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
import * as AddressRanges from "./internal/addressRanges.js"
import * as Address from "./internal/addressRules.js"
import { meaningOf } from "./internal/errorMeaning.js"
import * as OptionReader from "./internal/optionReader.js"
import { reasonAgainstPort } from "./internal/rules/badPorts.js"
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
 * Decides which hosts may have clients, and which addresses may be dialed for them.
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
  /**
   * Returns why the server must not fetch from a host and port, also if only a document names them, as in its `jwks_uri`
   * (DOC-13); `undefined` if it may. The host is in lower case and without brackets. The lists of hosts that may have
   * clients do not count here.
   */
  readonly reasonAgainstFetch: (host: string, port: number) => string | undefined
  /**
   * Returns why the policy blocks an address that a host has; `undefined` if it does not (ADR-09). The fetcher also
   * refuses every special-use address, whatever this function returns.
   */
  readonly reasonAgainstAddress: (address: string) => string | undefined
  /**
   * Whether the policy opens a private address for a host (ADR-10). The fetcher asks for private addresses only, so no
   * policy can open any other.
   */
  readonly permitsPrivateAddress: (host: string, address: string) => boolean
  /**
   * A text that changes with everything by which `reasonAgainstFetch` could judge a document. It is part of the rule set
   * of the `Validator`, so a document that was accepted under another policy is validated again (CAC-11).
   */
  readonly ruleset: string
}>() {}

/**
 * Options of a host policy. The lists `allow` and `block` apply to every host of a client: names, addresses and, in
 * development mode, loopback hosts.
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
   * The only ports that clients may have, and fetched URLs in their documents. A port of another protocol, such as 25, is
   * never permitted (ADR-08). Defaults to all other ports.
   */
  readonly ports?: ReadonlyArray<number> | undefined
  /**
   * Addresses that are never dialed, in addition to those that are not public: `203.0.113.7`, `203.0.113.0/24` or
   * `2001:db8::/32`. An IPv4 range also blocks its NAT64 addresses. Wins over `permitAddresses`. Defaults to `[]` (ADR-09).
   */
  readonly blockAddresses?: ReadonlyArray<string> | undefined
  /**
   * Private addresses that may be dialed for the hosts named here, such as `{ "clients.corp.example": ["10.1.0.0/16"] }`.
   * A key is a host name in lower case. Each range is within `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`,
   * `100.64.0.0/10` or `fc00::/7`. Metadata services of clouds in these ranges stay closed. The layer logs a warning that
   * lists the hosts and ranges. Defaults to `{}` (ADR-10).
   */
  readonly permitAddresses?: Readonly<Record<string, ReadonlyArray<string>>> | undefined
  /**
   * The issuer identifiers of this authorization server, https URLs. Their hosts cannot have clients, because the server
   * would send requests to itself. In development mode only the origins of `issuer` and of `development.issuer` are
   * refused. Defaults to none (ADR-11).
   */
  readonly issuer?: string | ReadonlyArray<string> | undefined
  /**
   * Development mode: permits `localhost` and loopback addresses, but no other host that is not public. `issuer` is the
   * issuer identifier of this authorization server. It must be on a loopback host too, otherwise the layer fails with
   * `InvalidOptions` (CIMD 8.6). Defaults to `undefined`: off.
   */
  readonly development?: { readonly issuer: string } | undefined
}

/** Returns the issuer's URL; `undefined` if the issuer is not an http or https URL. */
const readIssuer = (issuer: string): URL | undefined => {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined
  return url?.protocol === "https:" || url?.protocol === "http:" ? url : undefined
}

const issueOfDevelopment = ({ issuer }: NonNullable<Options["development"]>): string | undefined => {
  const host = readIssuer(issuer)?.hostname
  if (host === undefined) {
    return `\`development.issuer\` must be the http or https URL of this authorization server, but is "${issuer}"`
  }
  return isLoopbackHost(host)
    ? undefined
    : `\`development.issuer\` must be on localhost, 127.0.0.1 or [::1], but "${issuer}" is on ${host}. `
      + "In production, omit `development`"
}

const issuersOf = ({ issuer = [] }: Options): ReadonlyArray<string> => typeof issuer === "string" ? [issuer] : issuer

/** An issuer is an https URL without query and fragment (RFC 8414, section 2). */
const issueOfIssuer = (issuer: string, { development }: Options): string | undefined => {
  const url = readIssuer(issuer)
  const isIssuer = url !== undefined && (url.protocol === "https:" || development !== undefined) &&
    [url.username, url.password, url.search, url.hash].every((part) => part === "")
  return isIssuer ?
    undefined :
    "`issuer` must be the https URL of this authorization server, without user name, query " +
    `and fragment, but is ${JSON.stringify(issuer)}`
}

/** Returns the host as client identifiers spell it: in lower case, without brackets and without a trailing dot. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "")

const portOf = ({ port, protocol }: URL): number => port === "" ? protocol === "https:" ? 443 : 80 : Number(port)

/** Returns the hosts of the issuers, or their hosts with the ports in development mode. */
const ownHosts = (options: Options): ReadonlySet<string> => {
  const issuers = [...issuersOf(options), ...(options.development === undefined ? [] : [options.development.issuer])]
  const urls = issuers.map(readIssuer).filter((url) => url !== undefined)
  return new Set(urls.map((url) => options.development === undefined ? hostOf(url) : `${hostOf(url)}:${portOf(url)}`))
}

/** The ranges of a list, and what is wrong with the others. `name` is the option that has the list. */
const readRanges = (name: string, entries: ReadonlyArray<string> = []) => {
  if (!Array.isArray(entries)) {
    return { ranges: [], issues: [`\`${name}\` must be an array of addresses and networks`] }
  }
  const issues: Array<string> = []
  const ranges = entries.flatMap((entry) => {
    const range = AddressRanges.parse(entry)
    if (typeof range !== "string") return [range]
    issues.push(`\`${name}\` contains ${JSON.stringify(entry)}: ${range}`)
    return []
  })
  return { ranges, issues }
}

const issueOfPermittedHost = (host: string): string | undefined =>
  host.startsWith("*.")
    ? "write each host, because the owner of any name below it could choose among these addresses"
    : HostPattern.isAddress(host)
    ? "write the name of a host, because a client identifier cannot have a private address as its host"
    : host === "localhost" || host.endsWith(".localhost")
    ? "only `development` permits it"
    : HostPattern.issueOf(host) ??
      (host.includes(".") ? undefined : "client identifiers have hosts of two labels or more")

const issuesOfPermitted = ({ permitAddresses = {} }: Options): ReadonlyArray<string> =>
  Object.entries(permitAddresses).flatMap(([host, entries]) => {
    const issue = issueOfPermittedHost(host)
    const { issues, ranges } = readRanges(`permitAddresses[${JSON.stringify(host)}]`, entries)
    return [
      ...(issue === undefined ? [] : [`\`permitAddresses\` contains the host ${JSON.stringify(host)}: ${issue}`]),
      ...(entries.length === 0 ? [`\`permitAddresses\` has no range for the host ${JSON.stringify(host)}`] : []),
      ...issues,
      ...ranges.flatMap((range) => {
        const reason = AddressRanges.reasonAgainstPermit(range)
        return reason === undefined
          ? []
          : [`\`permitAddresses[${JSON.stringify(host)}]\` contains ${AddressRanges.format(range)}: ${reason}`]
      })
    ]
  })

/** Returns why the other options never permit an allowed host, so that its pattern has no effect. */
const issueOfAllowed = (pattern: string, options: Options): string | undefined => {
  if (options.development === undefined && ownHosts(options).has(pattern)) {
    return `\`allow\` contains ${pattern}, which is the host of \`issuer\`. Remove it`
  }
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
    case "private":
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
  const issuers = issuersOf(options).map((issuer) => issueOfIssuer(issuer, options))
  const development = options.development && issueOfDevelopment(options.development)
  return [
    ...malformed,
    ...ports,
    ...readRanges("blockAddresses", options.blockAddresses).issues,
    ...issuesOfPermitted(options),
    ...[...ineffective, ...issuers, development].filter((issue) => issue !== undefined)
  ]
}

const policyOf = (options: Options): Context.Tag.Service<HostPolicy> => {
  const blocked = HostPattern.matcher(options.block ?? [])
  const allowed = options.allow && HostPattern.matcher(options.allow)
  const ports = options.ports && new Set(options.ports)
  const loopback = options.development !== undefined
  const addressLiterals = options.addressLiterals ?? false
  const own = ownHosts(options)
  const blockedRanges = readRanges("blockAddresses", options.blockAddresses).ranges
  const blockedRange = AddressRanges.matcher(blockedRanges)
  const permitted = new Map(
    Object.entries(options.permitAddresses ?? {}).map(([host, entries]) => [
      host,
      AddressRanges.matcher(readRanges("permitAddresses", entries).ranges)
    ])
  )

  const reasonAgainstOwn = (host: string, port: number): string | undefined =>
    own.size === 0
      ? undefined
      : loopback
      ? own.has(`${host}:${port}`) ? "it is the origin of this authorization server" : undefined
      : own.has(host)
      ? "it is the host of this authorization server"
      : undefined

  const reasonAgainstTarget = (port: number): string | undefined =>
    reasonAgainstPort(port) ??
      (ports === undefined || ports.has(port) ? undefined : `port ${port} is not one of the permitted ports`)

  const reasonAgainstAddress = (address: string): string | undefined => {
    const range = blockedRange(address)
    return range === undefined ? undefined : `in ${range}, which the host policy blocks`
  }

  const reasonAgainstLiteral = (host: string): string | undefined => {
    const { kind, reason } = Address.classify(host)
    switch (kind) {
      case "loopback":
        return loopback ? reasonAgainstAddress(host) : "loopback addresses are permitted in development mode only"
      case "public":
        return addressLiterals ? reasonAgainstAddress(host) : "it is an IP address, not a host name"
      default:
        return reason
    }
  }

  const reasonAgainstHost = (host: string): string | undefined => {
    if (blocked(host)) {
      return "it is on the block list"
    }
    if (allowed !== undefined && !allowed(host)) {
      return "it is not on the allow list"
    }
    if (host === "localhost") {
      return loopback ? undefined : "localhost is permitted in development mode only"
    }
    return HostPattern.isAddress(host) ? reasonAgainstLiteral(host) : undefined
  }

  return {
    loopback,
    addressLiterals,
    reasonAgainstAddress,
    permitsPrivateAddress: (host, address) => permitted.get(host)?.(address) !== undefined,
    reasonAgainstFetch: (host, port) =>
      reasonAgainstOwn(host, port) ?? reasonAgainstTarget(port) ??
        (HostPattern.isAddress(host) ? reasonAgainstAddress(host) : undefined),
    ruleset: rulesetOf(options),
    check: (clientId) => {
      const { host, port } = parts(clientId)
      const reason = reasonAgainstOwn(host, port) ?? reasonAgainstHost(host) ?? reasonAgainstTarget(port)
      return reason === undefined ? Effect.void : new HostRefused({ clientId, host, reason })
    }
  }
}

const rulesetOf = (options: Options): string => {
  // The URL of a document has an address only if the policy permits literals, so the ranges do not count otherwise.
  const literals = options.addressLiterals === true || options.development !== undefined
  const own = [...ownHosts(options)].sort()
  const ports = options.ports && [...new Set(options.ports)].sort()
  const ranges = literals ? readRanges("blockAddresses", options.blockAddresses).ranges : []
  return own.length === 0 && ports === undefined && ranges.length === 0
    ? ""
    : JSON.stringify([own, ports ?? null, [...new Set(ranges.map(AddressRanges.format))].sort()])
}

const make = Effect.fnUntraced(function*(options: Options) {
  yield* OptionReader.read("HostPolicy", ({ report }) => {
    for (const issue of issuesOf(options)) report(issue)
  })
  const permitted = Object.entries(options.permitAddresses ?? {})
  if (permitted.length > 0) {
    const list = permitted.map(([host, ranges]) => `${host} (${ranges.join(", ")})`).join(", ")
    yield* Effect.logWarning(
      `Private addresses are dialed for these hosts, if their names resolve to them: ${list}. Whoever publishes their DNS ` +
        "records chooses among these addresses."
    ).pipe(Effect.annotateLogs("hosts", permitted.map(([host]) => host).join(", ")))
  }
  if (options.development !== undefined) {
    yield* Effect.logWarning(
      "Development mode: clients on localhost and loopback addresses are permitted. Do not use it in production."
    ).pipe(Effect.annotateLogs("issuer", options.development.issuer))
  }
  return policyOf(options)
})

/**
 * A layer with a policy from options. Fails with `InvalidOptions`, which names every invalid option. When it builds, it
 * logs one warning in development mode, and one if `permitAddresses` opens addresses.
 *
 * @example
 * ```ts
 * import { HostPolicy } from "effect-cimd"
 *
 * const Policy = HostPolicy.layer({
 *   issuer: "https://as.example",
 *   block: ["tracker.example", "*.tracker.example"],
 *   blockAddresses: ["203.0.113.0/24"]
 * })
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
 *   issuer: Config.string("ISSUER"),
 *   block: Config.array(Config.string(), "CIMD_BLOCKED_HOSTS").pipe(Config.withDefault([])),
 *   permitAddresses: { "clients.corp.example": Config.array(Config.string(), "CIMD_CORP_NETWORKS") }
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
