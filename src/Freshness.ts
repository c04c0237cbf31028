/**
 * How long a response may be kept: RFC 9111 for a shared cache that keeps only 200 responses and computes no
 * heuristics (rules FRS-01 to FRS-09). Pure.
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
 * What the response headers say about its freshness.
 *
 * @since 0.1.0
 * @category models
 */
export interface Freshness {
  /** `false` when a shared cache must not store it: `no-store`, `private`, `Vary: *` (FRS-03, FRS-05). */
  readonly storable: boolean
  /** `no-cache`: never to be served without asking the origin again (FRS-04). */
  readonly noCache: boolean
  /**
   * `true` when it must not be served past its lifetime, whatever its origin answers by then: `must-revalidate`,
   * `proxy-revalidate`, `s-maxage`, `no-cache` (RFC 9111, section 4.2.4; FRS-09).
   */
  readonly mustRevalidate: boolean
  /** Seconds of freshness left when the response arrived; negative if stale; absent if the origin said nothing. */
  readonly remaining: number | undefined
}

/**
 * The bounds that a server sets on what origins ask for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  /** Kept at least this long; 60 seconds unless told (FRS-07). */
  readonly minimum: Duration.DurationInput
  /** Kept at most this long; 24 hours unless told (FRS-07). */
  readonly maximum: Duration.DurationInput
  /** Kept this long when the origin says nothing; 5 minutes unless told (FRS-06). */
  readonly fallback: Duration.DurationInput
  /** How long `no-cache` responses are kept; not stored unless told (FRS-04). */
  readonly noCache?: Duration.DurationInput | undefined
}

/**
 * From 60 seconds to 24 hours, 5 minutes where the origin says nothing, and nothing that is marked `no-cache`.
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
 * The policy with some of its bounds changed, checked: every bound is finite, and the minimum is not above the
 * maximum. {@link timeToLive} takes an unchecked policy as well; there the maximum wins over a minimum above it.
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

/** RFC 9111, section 1.2.2: what a cache takes for every number that is too large. */
const greatestDelta = 2 ** 31

const deltaSeconds = (text: string | undefined): number | undefined =>
  text !== undefined && /^[0-9]+$/.test(text) ? Math.min(Number(text), greatestDelta) : undefined

const staleAtOnce = 0

/** Seconds that the origin gives the response from its `Date` on; absent if it says nothing (RFC 9111, 4.2.1). */
const lifetimeOf = (
  directives: ReadonlyArray<CacheControl.Directive>,
  expires: ReadonlyArray<string>,
  date: number,
  now: number
): number | undefined => {
  for (const name of ["s-maxage", "max-age"]) {
    const given = directives.filter((directive) => directive.name === name)
    if (given.length > 0) {
      return given.length === 1 ? deltaSeconds(given[0]?.argument) ?? staleAtOnce : staleAtOnce
    }
  }
  const [first, ...others] = expires
  if (first === undefined) {
    return undefined
  }
  const until = others.length === 0 ? HttpDate.parse(first, now) : undefined
  return until === undefined ? staleAtOnce : (until - date) / 1000
}

/**
 * Reads the headers of a 200 response. `requestTime` and `responseTime` are milliseconds since the Unix epoch by the
 * same clock: when the request was sent, and when its headers had arrived (RFC 9111, section 4.2.3).
 *
 * Never throws, whatever the headers hold. Where RFC 9111 leaves a choice, the shorter life is taken:
 *
 * - A lifetime that is repeated or malformed is none at all: the response is stale at once (section 4.2.1). The first
 *   of `s-maxage`, `max-age` and `Expires` that is present decides, also when it is broken.
 * - `no-store` counts beside `must-understand` too, and the forms of `private` and `no-cache` that name fields count
 *   as those without.
 * - An `Age` that is no number is ignored, and of several the first counts (section 5.1). A `Date` that is absent,
 *   malformed or repeated is replaced by `responseTime` (RFC 9110, section 6.6.1).
 * - `Pragma` is a field of requests and is ignored. There are no heuristics.
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
  const directives = CacheControl.parse(values("cache-control"))
  const has = (name: string): boolean => directives.some((directive) => directive.name === name)

  const dates = values("date")
  const date = dates.length === 1 ? HttpDate.parse(dates[0] ?? "", times.responseTime) : undefined
  const lifetime = lifetimeOf(directives, values("expires"), date ?? times.responseTime, times.responseTime)

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
 * How long to keep the response, within the policy's bounds; none if it is not to be stored.
 *
 * A response that arrives stale is kept for the minimum: that is what a lower bound is for (CIMD 5.2). What comes out
 * as no time at all is not stored. Where the policy's minimum is above its maximum, the maximum wins.
 *
 * `residentTime` is how long ago the response arrived (RFC 9111, section 4.2.3): its body came later than its head, and
 * has been judged since.
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
