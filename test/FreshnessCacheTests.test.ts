/**
 * The tests of the http-cache-tests package (cache-tests.fyi), replayed against `Freshness`.
 *
 * The tests describe a complete HTTP cache. Here a minimal cache runs them: it stores a response for the lifetime that
 * `Freshness` returns, with no lower bound and no default lifetime.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Freshness from "effect-cimd/Freshness"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Header, Request, Test } from "http-cache-tests/tests/index.mjs"
import groups from "http-cache-tests/tests/index.mjs"

/** The groups about freshness, each with its rule. */
const applies: Record<string, string> = {
  "cc-freshness": "FRS-01",
  "cc-parse": "FRS-02",
  "age-parse": "FRS-01",
  "expires": "FRS-01",
  "expires-parse": "FRS-08",
  "cc-response": "FRS-03",
  "pragma": "FRS-02",
  "vary-parse": "FRS-05",
  "status": "FRS-01",
  "stale": "FRS-09",
  "other": "FRS-01"
}

/** The groups that do not apply, each with the reason. */
const inapplicableGroups: Record<string, string> = {
  "heuristic": "there is no heuristic freshness",
  "method": "the fetcher sends only GET",
  "cc-request": "this cache receives no request with Cache-Control",
  "vary": "every request has the same headers, so Vary has no effect; `*` is in vary-parse",
  "conditional-lm": "no request is conditional",
  "conditional-inm": "no request is conditional",
  "headers": "only the document is stored, without headers",
  "update304": "no request is conditional, so there is no 304",
  "updateHEAD": "the fetcher sends no HEAD",
  "invalidation": "the fetcher sends no unsafe method",
  "partial": "the fetcher requests no range",
  "auth": "the fetcher sends no Authorization"
}

/** The tests in other groups that do not apply, each with the reason. */
const inapplicable: ReadonlyArray<{ readonly why: string; readonly holds: (test: Test) => boolean }> = [
  { why: "it is about a private cache", holds: (test) => test.browser_only === true },
  {
    why: "only 200 responses are read",
    holds: ({ requests }) => requests.some(({ response_status }) => response_status && response_status[0] !== 200)
  },
  {
    why: "this cache receives no request with Pragma",
    holds: ({ id }) => id.startsWith("pragma-request-")
  },
  { why: "it is about the cache key, not about freshness", holds: ({ id }) => id === "query-args-different" },
  { why: "there is no heuristic freshness", holds: ({ id }) => id.includes("-heuristic") },
  {
    why: "it is about a cache that serves stale responses, which is an option here",
    holds: ({ id, kind }) => id.startsWith("stale-") && kind === "check"
  }
]

const invalidValue = "FRS-02: an invalid value makes the response stale"
const repeatedValue = "FRS-02: a repeated value makes the response stale"
const invalidAge = "RFC 9111, section 5.1: an invalid Age is ignored"
const severalAges = "RFC 9111, section 5.1: the first of several Ages counts"
const notAnHttpDate = "FRS-08: the date has none of the three forms"
const qualifiedNoCache = "no-cache with field names means the same as without"

/** The tests with another result here, each with the reason. */
const departures: Record<string, string> = {
  "freshness-max-age-decimal-zero": invalidValue,
  "freshness-max-age-decimal-five": invalidValue,
  "freshness-max-age-a100": invalidValue,
  "freshness-max-age-100a": invalidValue,
  "freshness-max-age-multiple-line": repeatedValue,
  "freshness-max-age-multiple-directive": repeatedValue,
  "freshness-max-age-two-stale-fresh-sameline": repeatedValue,
  "freshness-max-age-two-fresh-stale-sameline": repeatedValue,
  "freshness-max-age-two-stale-fresh-sepline": repeatedValue,
  "freshness-max-age-two-fresh-stale-sepline": repeatedValue,
  "age-parse-nonnumeric": invalidAge,
  "age-parse-negative": invalidAge,
  "age-parse-float": invalidAge,
  "age-parse-parameter": invalidAge,
  "age-parse-numeric-parameter": invalidAge,
  "age-parse-prefix-twoline": severalAges,
  "age-parse-dup-0": severalAges,
  "age-parse-dup-0-twoline": severalAges,
  "age-parse-dup-old": severalAges,
  "freshness-expires-32bit": notAnHttpDate,
  "freshness-expires-far-future": notAnHttpDate,
  "freshness-expires-wrong-case-weekday": notAnHttpDate,
  "freshness-expires-wrong-case-month": notAnHttpDate,
  "freshness-expires-wrong-case-tz": notAnHttpDate,
  "freshness-expires-invalid-utc": notAnHttpDate,
  "freshness-expires-invalid-aest": notAnHttpDate,
  "freshness-expires-invalid-2-digit-year": notAnHttpDate,
  "freshness-expires-invalid-no-comma": notAnHttpDate,
  "freshness-expires-invalid-multiple-spaces": notAnHttpDate,
  "freshness-expires-invalid-date-dashes": notAnHttpDate,
  "freshness-expires-invalid-time-periods": notAnHttpDate,
  "freshness-expires-invalid-1-digit-hour": notAnHttpDate,
  "freshness-expires-invalid-multiple-lines": notAnHttpDate,
  "headers-omit-headers-listed-in-Cache-Control-no-cache-single": qualifiedNoCache,
  "headers-omit-headers-listed-in-Cache-Control-no-cache": qualifiedNoCache
}

const now = Date.UTC(2026, 9, 1, 12, 0, 0, 400)
const pause = 3000

const rfc850 = (date: Date): string => {
  const [, day = "", month = "", year = "", time = ""] = /, (..) (...) ..(..) (\S+)/.exec(date.toUTCString()) ?? []
  const weekday = new Intl.DateTimeFormat("en", { weekday: "long", timeZone: "UTC" }).format(date)
  return `${weekday}, ${day}-${month}-${year} ${time} GMT`
}

/** Returns a header's value. A number in a date field means seconds after the time of the response. */
const valueOf = ([name, value]: Header, request: Request, time: number): string => {
  if (typeof value === "string") {
    return value
  }
  const date = new Date(time + value * 1000)
  return request.rfc850date?.includes(name.toLowerCase()) ? rfc850(date) : date.toUTCString()
}

const policy: Freshness.Policy = { minimum: 0, maximum: Duration.weeks(52_000), fallback: 0 }

const freshnessOf = (request: Request, time: number): Freshness.Freshness => {
  const headers = (request.response_headers ?? []).map((header) => [header[0], valueOf(header, request, time)] as const)
  return Freshness.read(headers, { requestTime: time, responseTime: time })
}

const lifetimeOf = (freshness: Freshness.Freshness): number =>
  Option.match(Freshness.timeToLive(freshness, policy), { onNone: () => 0, onSome: Duration.toMillis })

/** Returns whether each request was served from the cache. Serves a stale response if the origin is unreachable. */
const replay = ({ requests }: Test): ReadonlyArray<boolean> => {
  let time = now
  let freshUntil = -Infinity
  let mustRevalidate = true
  return requests.map((request) => {
    const served = time < freshUntil || (request.disconnect === true && !mustRevalidate)
    if (!served) {
      const freshness = freshnessOf(request, time)
      freshUntil = time + lifetimeOf(freshness)
      mustRevalidate = freshness.mustRevalidate
    }
    time += request.pause_after ? pause : 0
    return served
  })
}

/** Returns the requests with an unexpected result. Revalidating a response with the origin is not serving it. */
const surprises = (test: Test): ReadonlyArray<string> => {
  const served = replay(test)
  return test.requests.flatMap(({ expected_type }, index) =>
    expected_type === undefined || (expected_type === "cached") === served[index]
      ? []
      : [`request ${index + 1} is ${served[index] ? "served" : "not served"} from the cache`]
  )
}

const tests = groups.filter(({ id }) => id in applies).flatMap((group) =>
  group.tests
    .filter((test) => !inapplicable.some(({ holds }) => holds(test)))
    .map((test) => ({ rule: applies[group.id], test }))
)

describe("the http-cache-tests package", () => {
  it("has exactly the groups that are listed here", () => {
    assert.sameMembers(groups.map(({ id }) => id), [...Object.keys(applies), ...Object.keys(inapplicableGroups)])
  })

  for (const { holds, why } of inapplicable) {
    it(`has tests that do not apply: ${why}`, () => {
      assert.isTrue(groups.filter(({ id }) => id in applies).some((group) => group.tests.some(holds)))
    })
  }

  it("FRS-09: has four tests of responses that must not be served stale, and other responses are served stale", () => {
    const stale = tests.filter(({ rule }) => rule === "FRS-09").map(({ test }) => test)
    assert.sameMembers(stale.map(({ id }) => id), [
      "stale-close-must-revalidate",
      "stale-close-proxy-revalidate",
      "stale-close-no-cache",
      "stale-close-s-maxage=2"
    ])
    for (const { requests: [first, second] } of stale) {
      assert.exists(first)
      assert.exists(second)
      const free = { ...first, response_headers: [["Cache-Control", "max-age=2"]] as const }
      assert.deepStrictEqual(replay({ id: "", name: "", requests: [free, second] }), [false, true])
    }
  })

  it("has every test that is listed as a departure", () => {
    assert.includeMembers(tests.map(({ test }) => test.id), Object.keys(departures))
  })

  for (const { rule, test } of tests) {
    const departure = departures[test.id]
    if (departure === undefined) {
      it(`${rule}: ${test.id}: ${test.name}`, () => {
        assert.deepStrictEqual(surprises(test), [])
      })
    } else {
      it(`${rule}: ${test.id} departs: ${departure}`, () => {
        assert.notDeepEqual(surprises(test), [])
      })
    }
  }
})
