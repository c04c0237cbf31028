/**
 * The freshness lifetime of a response: RFC 9111 for a shared cache that stores only 200 responses and uses no heuristic
 * freshness (FRS-01 to FRS-09). Pure.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as CacheControl from "./internal/fetch/cacheControl.js"
import * as HttpDate from "./internal/fetch/httpDate.js"
import * as OptionReader from "./internal/optionReader.js"
import type { InvalidOptions } from "./InvalidOptions.js"

/**
 * The freshness of a response, as its headers declare it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Freshness {
  /** `false` if a shared cache must not store the response: `no-store`, `private`, `Vary: *` (FRS-03, FRS-05). */
  readonly storable: boolean
  /** `true` for `no-cache`: the response must not be served without a new request to the origin (FRS-04). */
  readonly noCache: boolean
  /**
   * `true` if the response must not be served after its lifetime, even if the origin fails: `must-revalidate`,
   * `proxy-revalidate`, `s-maxage`, `no-cache` (RFC 9111, section 4.2.4; FRS-09).
   */
  readonly mustRevalidate: boolean
  /**
   * Seconds of freshness left when the response arrived. Negative if stale; `undefined` if the origin gives no lifetime.
   */
  readonly remaining: number | undefined
}

/**
 * The server's bounds on the lifetimes that origins give.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  /** Minimum lifetime, also of a response that arrives stale (FRS-07). Defaults to `"60 seconds"`. */
  readonly minimum: Duration.DurationInput
  /** Maximum lifetime. Wins over a greater `minimum` (FRS-07). Defaults to `"24 hours"`. */
  readonly maximum: Duration.DurationInput
  /** Lifetime if the origin gives none, within the bounds (FRS-06). Defaults to `"5 minutes"`. */
  readonly fallback: Duration.DurationInput
  /**
   * Lifetime of `no-cache` responses, up to `maximum` (FRS-04). Defaults to `undefined`: they are not stored.
   */
  readonly noCache?: Duration.DurationInput | undefined
}

/**
 * The default policy: lifetimes from 60 seconds to 24 hours, 5 minutes if the origin gives none, and `no-cache`
 * responses are not stored.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultPolicy: Policy = {
  minimum: "60 seconds",
  maximum: "24 hours",
  fallback: "5 minutes"
}

/**
 * Makes a policy from the default policy and some changes. Fails with `InvalidOptions` unless every bound is a finite
 * duration, and `minimum` is not greater than `maximum`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makePolicy = (changes: Partial<Policy> = {}): Effect.Effect<Policy, InvalidOptions> => {
  const { fallback, maximum, minimum, noCache } = changes
  const policy: Policy = {
    minimum: minimum ?? defaultPolicy.minimum,
    maximum: maximum ?? defaultPolicy.maximum,
    fallback: fallback ?? defaultPolicy.fallback,
    ...(noCache === undefined ? {} : { noCache })
  }
  return OptionReader.read("Freshness", ({ report }) => {
    for (const name of ["minimum", "maximum", "fallback", "noCache"] as const) {
      const bound = policy[name]
      if (bound !== undefined && !Number.isFinite(OptionReader.millisOf(bound))) {
        report(`\`${name}\` must be a finite duration, but is ${String(bound)}`)
      }
    }
    if (OptionReader.millisOf(policy.minimum) > OptionReader.millisOf(policy.maximum)) {
      report(
        `\`minimum\` (${Duration.format(policy.minimum)}) must not be greater than \`maximum\` (${
          Duration.format(policy.maximum)
        })`
      )
    }
    return policy
  })
}

/** A cache uses this number of seconds for every greater one (RFC 9111, section 1.2.2). */
const greatestDelta = 2 ** 31

const deltaSeconds = (text: string | undefined): number | undefined =>
  text !== undefined && /^[0-9]+$/.test(text) ? Math.min(Number(text), greatestDelta) : undefined

const alreadyStale = 0

/**
 * Returns the lifetime in seconds, counted from the response's `Date`; `undefined` if the origin gives none (RFC 9111,
 * section 4.2.1).
 */
const lifetimeOf = (
  directives: ReadonlyArray<CacheControl.Directive>,
  expires: ReadonlyArray<string>,
  date: number,
  now: number
): number | undefined => {
  for (const name of ["s-maxage", "max-age"]) {
    const matching = directives.filter((directive) => directive.name === name)
    if (matching.length > 0) {
      return matching.length === 1 ? deltaSeconds(matching[0]?.argument) ?? alreadyStale : alreadyStale
    }
  }
  const [first, ...others] = expires
  if (first === undefined) {
    return undefined
  }
  const until = others.length === 0 ? HttpDate.parse(first, now) : undefined
  return until === undefined ? alreadyStale : (until - date) / 1000
}

/**
 * Returns the freshness of a 200 response from its headers. `requestTime` is when the request was sent, `responseTime`
 * when the response headers arrived (RFC 9111, section 4.2.3). Both are milliseconds since the Unix epoch, by the same
 * clock.
 *
 * Never throws, whatever the headers are. Where RFC 9111 leaves a choice, the shorter lifetime wins:
 *
 * - A malformed member of `Cache-Control`, such as `public; max-age=30`, makes the response stale. Each word in it that
 *   names a restrictive directive counts as that directive, as in `no-store; max-age=0`.
 * - A repeated or malformed lifetime makes the response stale (section 4.2.1). The first of `s-maxage`, `max-age` and
 *   `Expires` that is present decides, even if it is malformed.
 * - `no-store` applies even beside `must-understand`. `private` and `no-cache` with field names mean the same as without.
 * - An `Age` that is not a number is ignored. Of several, the first counts (section 5.1).
 * - `responseTime` replaces a `Date` that is absent, malformed or repeated (RFC 9110, section 6.6.1).
 * - `Pragma` is ignored, because it is a request header. There is no heuristic freshness.
 *
 * @since 0.1.0
 * @category parsing
 */
export const read = (
  headers: ReadonlyArray<readonly [name: string, value: string]>,
  times: { readonly requestTime: number; readonly responseTime: number }
): Freshness => {
  const values = (field: string): ReadonlyArray<string> =>
    headers.filter(([name]) => name.toLowerCase() === field).map(([, value]) => CacheControl.trimmed(value))
  const { directives, malformed } = CacheControl.parse(values("cache-control"))
  const has = (name: string): boolean =>
    directives.some((directive) => directive.name === name) || malformed.includes(name)

  const dates = values("date")
  const date = dates.length === 1 ? HttpDate.parse(dates[0] ?? "", times.responseTime) : undefined
  const lifetime = malformed.length > 0
    ? alreadyStale
    : lifetimeOf(directives, values("expires"), date ?? times.responseTime, times.responseTime)

  const apparentAge = date === undefined ? 0 : Math.max(0, times.responseTime - date) / 1000
  const age = deltaSeconds(CacheControl.trimmed(values("age").join(",").split(",", 1)[0] ?? "")) ?? 0
  const delay = Math.max(0, times.responseTime - times.requestTime) / 1000

  return {
    storable: !has("no-store") && !has("private") && !values("vary").some(namesEverything),
    noCache: has("no-cache"),
    mustRevalidate: ["must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"].some(has),
    remaining: lifetime === undefined ? undefined : lifetime - Math.max(apparentAge, age + delay)
  }
}

const namesEverything = (vary: string): boolean =>
  vary.split(",").some((member) => CacheControl.trimmed(member) === "*")

/**
 * Returns how long to store the response, within the policy's bounds; `None` if it must not be stored.
 *
 * A response that arrives stale is stored for `minimum`, which is the purpose of a lower bound (CIMD 5.2). A response
 * with a lifetime of zero is not stored. The policy may be unchecked: `maximum` wins over a greater `minimum`.
 *
 * `residentTime` is the time since the response headers arrived (RFC 9111, section 4.2.3), because reading and
 * validating the body takes time. Defaults to `0`.
 *
 * @since 0.1.0
 * @category deciding
 */
export const timeToLive = (
  freshness: Freshness,
  policy: Policy = defaultPolicy,
  residentTime: Duration.DurationInput = 0
): Option.Option<Duration.Duration> => {
  if (!freshness.storable || (freshness.noCache && policy.noCache === undefined)) {
    return Option.none()
  }
  const maximum = Duration.toMillis(policy.maximum)
  const minimum = Duration.toMillis(policy.minimum)
  const wanted = freshness.noCache
    ? Duration.toMillis(policy.noCache ?? 0)
    : Math.max(minimum, remainingMillis(freshness, residentTime) ?? Duration.toMillis(policy.fallback))
  const kept = Math.min(wanted, maximum)
  return kept > 0 ? Option.some(Duration.millis(kept)) : Option.none()
}

const remainingMillis = ({ remaining }: Freshness, residentTime: Duration.DurationInput): number | undefined =>
  remaining === undefined ? undefined : remaining * 1000 - Duration.toMillis(residentTime)
