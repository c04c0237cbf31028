import { assert, describe, it } from "@effect/vitest"
import { Cache, ClientRegistry, Fetcher, HostPolicy, Resolver, Validator } from "effect-cimd"
import * as Freshness from "effect-cimd/Freshness"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { clientId } from "./support/clientId.js"

type Header = readonly [name: string, value: string]

const now = Date.UTC(2026, 9, 1, 12, 0, 0)
const at = { requestTime: now, responseTime: now }

const httpDate = (offset: number) => new Date(now + offset * 1000).toUTCString()
const date = (offset: number): Header => ["Date", httpDate(offset)]
const expires = (offset: number): Header => ["Expires", httpDate(offset)]
const control = (...lines: ReadonlyArray<string>): ReadonlyArray<Header> => lines.map((line) => ["Cache-Control", line])

const read = (...headers: ReadonlyArray<Header>) => Freshness.read(headers, at)
const remaining = (...headers: ReadonlyArray<Header>) => read(...headers).remaining
const seconds = (freshness: Freshness.Freshness, policy?: Freshness.Policy) =>
  Option.getOrUndefined(Option.map(Freshness.timeToLive(freshness, policy), Duration.toSeconds))

describe("FRS-01: the lifetime", () => {
  it("FRS-01: is s-maxage, otherwise max-age, otherwise Expires minus Date", () => {
    assert.strictEqual(remaining(...control("max-age=100, s-maxage=200")), 200)
    assert.strictEqual(remaining(...control("s-maxage=200, max-age=100"), expires(30)), 200)
    assert.strictEqual(remaining(...control("max-age=100"), expires(30)), 100)
    assert.strictEqual(remaining(expires(30)), 30)
    assert.strictEqual(remaining(expires(30), date(0)), 30)
    assert.strictEqual(remaining(expires(30), date(20)), 10, "the origin's clock is ahead")
  })

  it("FRS-01: is s-maxage even if it is shorter than max-age, or zero", () => {
    assert.strictEqual(remaining(...control("max-age=100, s-maxage=2")), 2)
    assert.strictEqual(remaining(...control("max-age=100, s-maxage=0")), 0)
    assert.strictEqual(remaining(...control("max-age=0"), expires(3600)), 0)
  })

  it("FRS-01: is reduced by the Age", () => {
    assert.strictEqual(remaining(...control("max-age=100"), ["Age", "30"]), 70)
    assert.strictEqual(remaining(...control("max-age=100"), ["age", " 130\t"]), -30)
    assert.strictEqual(remaining(expires(100), ["Age", "30"]), 70)
  })

  it("FRS-01: is reduced by the apparent age if that is greater than the Age", () => {
    assert.strictEqual(remaining(...control("max-age=100"), date(-40)), 60)
    assert.strictEqual(remaining(...control("max-age=100"), date(-40), ["Age", "30"]), 60)
    assert.strictEqual(remaining(...control("max-age=100"), date(-40), ["Age", "50"]), 50)
    assert.strictEqual(remaining(expires(60), date(-40)), 60, "one hundred seconds, of which forty are gone")
    assert.strictEqual(remaining(...control("max-age=100"), date(40)), 100, "a Date in the future gives no age")
  })

  it("FRS-01: is reduced by the response delay, which is added to Age and not to the apparent age", () => {
    const took = { requestTime: now - 1500, responseTime: now }
    const after = (...headers: ReadonlyArray<Header>) =>
      Freshness.read([...control("max-age=100"), ...headers], took).remaining
    assert.strictEqual(after(), 98.5)
    assert.strictEqual(after(["Age", "30"]), 68.5)
    assert.strictEqual(after(date(-10)), 90)
    const backwards = { requestTime: now + 1500, responseTime: now }
    assert.strictEqual(Freshness.read(control("max-age=100"), backwards).remaining, 100, "a clock that was set back")
  })

  it.each(["", "abc", "-5", "+5", "5.5", "5s", "0x5", "5 5", "５"])(
    "FRS-01: ignores the Age \"%s\", which is not a number of seconds",
    (age) => {
      assert.strictEqual(remaining(...control("max-age=100"), ["Age", age]), 100)
    }
  )

  it("FRS-01: uses the first of several Ages", () => {
    assert.strictEqual(remaining(...control("max-age=100"), ["Age", "30, 5"]), 70)
    assert.strictEqual(remaining(...control("max-age=100"), ["Age", "30"], ["Age", "5"]), 70)
    assert.strictEqual(remaining(...control("max-age=100"), ["Age", "x"], ["Age", "5"]), 100)
  })

  it("FRS-01: uses the time of arrival if Date is absent, malformed or repeated", () => {
    assert.strictEqual(remaining(expires(30), ["Date", "yesterday"]), 30)
    assert.strictEqual(remaining(expires(30), date(-10), date(-20)), 30)
    assert.strictEqual(remaining(...control("max-age=100"), date(-10), date(-10)), 100)
    assert.strictEqual(remaining(...control("max-age=100"), ["Date", "0"]), 100)
  })
})

describe("FRS-02: Cache-Control", () => {
  it.each([
    ["MAX-AGE=100", 100],
    ["max-age=\"100\"", 100],
    ["max-age=\"1\\00\"", 100],
    ["max-age=0100", 100],
    [" ,, max-age=100\t, ", 100],
    ["ext=\"max-age=5, no-store\", max-age=100", 100],
    ["max-age=100, stale-while-revalidate=1000, stale-if-error=1000, public, immutable", 100],
    ["max-age=2147483648", 2147483648],
    ["max-age=2147483649", 2147483648],
    [`max-age=${"9".repeat(400)}`, 2147483648]
  ])("FRS-02: %s is parsed", (line, expected) => {
    assert.strictEqual(remaining(...control(line)), expected)
    assert.isTrue(read(...control(line)).storable)
  })

  it.each([
    ["max-age"],
    ["max-age="],
    ["max-age=\"\""],
    ["max-age =100"],
    ["max-age\t=100"],
    ["max-age =\"100\""],
    ["max-age 100"],
    ["max-age=100 public"],
    ["max-age=100 no-store"],
    ["max-age= 100"],
    ["max-age=-1"],
    ["max-age=+1"],
    ["max-age=1.5"],
    ["max-age=1e3"],
    ["max-age=0x10"],
    ["max-age=100s"],
    ["max-age='100'"],
    ["max-age=\"100"],
    ["max-age=\"100\"0"],
    ["max-age=１００"],
    ["max-age=100;s-maxage=5"],
    ["max-age=100, max-age=200"],
    ["max-age=100, MAX-AGE=100"],
    ["s-maxage=x, max-age=100"],
    ["s-maxage=100, s-maxage=100, max-age=100"]
  ])("FRS-02: %s makes the response stale, even beside a valid Expires", (line) => {
    assert.strictEqual(remaining(...control(line), expires(3600)), 0)
  })

  it("FRS-02: a value that is repeated on another line makes the response stale", () => {
    assert.strictEqual(remaining(...control("max-age=100", "max-age=100")), 0)
    assert.strictEqual(remaining(...control("max-age=100", "public")), 100)
  })

  it("FRS-02: a malformed value that does not decide has no effect", () => {
    assert.strictEqual(remaining(...control("s-maxage=100, max-age=x")), 100)
    assert.strictEqual(remaining(...control("max-age=100"), ["Expires", "0"]), 100)
    assert.strictEqual(remaining(...control("max-age=100"), expires(1), expires(2)), 100)
  })

  it.each([
    "public; max-age=30",
    "public;",
    "immutable; max-age=31536000",
    "max-age=100, public;",
    "max-age=100, ext=",
    "max-age=100, ext=a b",
    "max-age=100; foo",
    "s-maxage=100, public: x",
    ";",
    "max-age=100, =",
    "max-age=100, \"a\"",
    "max-age=100, foo=\"a\"b",
    "max-age=100, foo=\"a"
  ])("FRS-02: %s is malformed, so the response is stale, even beside a valid Expires", (line) => {
    const freshness = read(...control(line), expires(3600))
    assert.strictEqual(freshness.remaining, 0)
    assert.isTrue(freshness.storable)
    assert.strictEqual(seconds(freshness), 60, "the minimum")
    assert.strictEqual(remaining(...control("max-age=100", line)), 0, "on a line of its own")
  })

  it.each([
    ["must-revalidate; max-age=5", { storable: true, noCache: false, mustRevalidate: true }],
    ["proxy-revalidate;", { storable: true, noCache: false, mustRevalidate: true }],
    ["s-maxage; 5", { storable: true, noCache: false, mustRevalidate: true }],
    ["max-age=5; must-revalidate", { storable: true, noCache: false, mustRevalidate: true }],
    ["no-cache;", { storable: true, noCache: true, mustRevalidate: true }],
    ["max-age=0; No-Cache", { storable: true, noCache: true, mustRevalidate: true }],
    ["no-cache; no-store", { storable: false, noCache: true, mustRevalidate: true }],
    ["private; max-age=0", { storable: false, noCache: false, mustRevalidate: false }]
  ])("FRS-02: %s has every restriction that it names", (line, expected) => {
    assert.deepStrictEqual(read(...control(line)), { ...expected, remaining: 0 })
  })

  it.each(["foo=\"a,b\"", "stale-while-revalidate=60", "x=\"no-store; private\"", "foo", "a=b", "community=\"UCI\""])(
    "FRS-02: the well-formed extension %s has no effect",
    (line) => {
      const alone = { storable: true, noCache: false, mustRevalidate: false, remaining: undefined }
      assert.deepStrictEqual(read(...control(line)), alone)
      assert.deepStrictEqual(read(...control(`${line}, max-age=100`)), { ...alone, remaining: 100 })
    }
  )

  it("FRS-02: the directive before a missing comma still applies", () => {
    assert.isFalse(read(...control("no-store max-age=100")).storable)
    assert.isFalse(read(...control("no-store =x")).storable)
    assert.isTrue(read(...control("no-cache must-revalidate")).noCache)
  })

  it("FRS-02: Pragma and the fields for other caches are ignored", () => {
    assert.deepStrictEqual(
      read(["Pragma", "no-cache"], ["Surrogate-Control", "no-store"], ["CDN-Cache-Control", "max-age=5"]),
      { storable: true, noCache: false, mustRevalidate: false, remaining: undefined }
    )
  })
})

describe("FRS-03: no-store and private", () => {
  it.each([
    "no-store",
    "NO-STORE",
    "max-age=100, no-store",
    "no-store=\"x\"",
    "must-understand, no-store, max-age=100",
    "private",
    "Private, max-age=100",
    "private=\"set-cookie\"",
    "private=",
    "public, private",
    "x=\"unclosed, no-store",
    "no-store; max-age=0",
    "no-store;",
    "no-store:",
    "no-store;private",
    "private; max-age=0",
    "max-age=0; private",
    "max-age=600;no-store",
    "(no-store)",
    "\"no-store\"",
    "\u00a0no-store",
    "x=\"no-store\"; y"
  ])("FRS-03: %s is not stored", (line) => {
    assert.isFalse(read(...control(line)).storable)
    assert.isUndefined(seconds(read(...control(line))))
  })

  it.each(["x=\"no-store\"", "no-storex", "x-no-store;", "no-storex;", "nostore", "no_store", "public", "'no-store'"])(
    "FRS-03: %s may be stored",
    (line) => {
      assert.isTrue(read(...control(line)).storable)
    }
  )

  it("FRS-03: no policy stores it", () => {
    const eager = { minimum: "1 hour", maximum: "1 day", fallback: "1 hour", noCache: "1 hour" } as const
    assert.isUndefined(seconds(read(...control("no-store, no-cache, max-age=100")), eager))
  })
})

describe("FRS-04: no-cache", () => {
  it.each(["no-cache", "No-Cache, max-age=600", "no-cache=\"set-cookie\", max-age=600", "no-cache="])(
    "FRS-04: %s is stored only if the policy has a lifetime for it",
    (line) => {
      const freshness = read(...control(line))
      assert.isTrue(freshness.noCache)
      assert.isUndefined(seconds(freshness))
      assert.strictEqual(seconds(freshness, { ...Freshness.defaultPolicy, noCache: "5 seconds" }), 5)
    }
  )

  it("FRS-04: its lifetime may be below the minimum, but never above the maximum", () => {
    const policy = { minimum: "1 minute", maximum: "2 minutes", fallback: "1 minute" } as const
    assert.strictEqual(seconds(read(...control("no-cache")), { ...policy, noCache: "1 second" }), 1)
    assert.strictEqual(seconds(read(...control("no-cache")), { ...policy, noCache: "1 hour" }), 120)
    assert.isUndefined(seconds(read(...control("no-cache")), { ...policy, noCache: 0 }))
  })
})

describe("FRS-05: Vary", () => {
  it.each<readonly [ReadonlyArray<string>]>([
    [["*"]],
    [["*, *"]],
    [[" * "]],
    [[",*"]],
    [["accept,\t*"]],
    [["*, accept"]],
    [["accept", "*"]],
    [["", "*"]]
  ])("FRS-05: %j is not stored", (lines) => {
    assert.isFalse(read(...lines.map((line) => ["vary", line] as const)).storable)
  })

  it.each(["", "accept", "accept, origin", "**", "*/*", "\"*\""])("FRS-05: \"%s\" is stored", (line) => {
    assert.isTrue(read(["Vary", line]).storable)
  })
})

describe("FRS-06: no freshness information", () => {
  it.each<readonly [ReadonlyArray<Header>]>([
    [[]],
    [[date(-1000)]],
    [[["Age", "1000"]]],
    [[["Last-Modified", httpDate(-100000)], ["ETag", "\"a\""]]],
    [control("public, must-revalidate, proxy-revalidate, immutable")],
    [control("maxage=100")]
  ])("FRS-06: %j has the default lifetime, without heuristics", (headers) => {
    assert.isUndefined(read(...headers).remaining)
    assert.strictEqual(seconds(read(...headers)), 300)
    assert.strictEqual(seconds(read(...headers), { ...Freshness.defaultPolicy, fallback: "10 minutes" }), 600)
  })
})

describe("FRS-07: the bounds", () => {
  it("FRS-07: default to 60 seconds and 24 hours", () => {
    assert.strictEqual(seconds(read(...control("max-age=0"))), 60)
    assert.strictEqual(seconds(read(...control("max-age=59"))), 60)
    assert.strictEqual(seconds(read(...control("max-age=61"))), 61)
    assert.strictEqual(seconds(read(...control("max-age=100"), ["Age", "100000"])), 60)
    assert.strictEqual(seconds(read(...control("max-age=86399"))), 86399)
    assert.strictEqual(seconds(read(...control("max-age=86401"))), 86400)
    assert.strictEqual(seconds(read(...control("max-age=99999999999999"))), 86400)
  })

  it("FRS-07: apply to the default lifetime too", () => {
    assert.strictEqual(seconds(read(), { minimum: 0, maximum: "1 minute", fallback: "5 minutes" }), 60)
    assert.strictEqual(seconds(read(), { minimum: "10 minutes", maximum: "1 hour", fallback: "5 minutes" }), 600)
  })

  it("FRS-07: without a minimum, a stale response is not stored", () => {
    const policy = { ...Freshness.defaultPolicy, minimum: 0 }
    assert.isUndefined(seconds(read(...control("max-age=0")), policy))
    assert.isUndefined(seconds(read(["Expires", "0"]), policy))
    assert.strictEqual(seconds(read(...control("max-age=1")), policy), 1)
  })

  it("FRS-07: the maximum wins over a greater minimum", () => {
    const policy = { minimum: "1 hour", maximum: "1 minute", fallback: "1 hour" } as const
    assert.strictEqual(seconds(read(...control("max-age=0")), policy), 60)
  })

  it.effect("FRS-07: makePolicy fails if a bound is invalid", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Freshness.makePolicy(), Freshness.defaultPolicy)
      const changed = yield* Freshness.makePolicy({ maximum: "1 hour", noCache: "1 second" })
      assert.deepStrictEqual(changed, { ...Freshness.defaultPolicy, maximum: "1 hour", noCache: "1 second" })
      const crossed = yield* Effect.flip(Freshness.makePolicy({ maximum: "30 seconds" }))
      assert.include(crossed.message, "`minimum` (1m) must not be greater than `maximum` (30s)")
      for (const name of ["minimum", "maximum", "fallback", "noCache"] as const) {
        for (const bound of [Duration.infinity, -1, "-1 second", Number.NaN]) {
          const { message } = yield* Effect.flip(Freshness.makePolicy({ [name]: bound }))
          assert.include(message, `\`${name}\` must be a finite duration`)
        }
      }
    }))
})

describe("FRS-08: Expires", () => {
  it.each([
    "0",
    "-1",
    "",
    "never",
    "Thu, 01 Oct 2026 13:00:00 UTC",
    "thu, 01 Oct 2026 13:00:00 GMT",
    "2026-10-01T13:00:00Z",
    "1790859600"
  ])("FRS-08: \"%s\" is in the past", (value) => {
    assert.strictEqual(remaining(["Expires", value]), 0)
    assert.strictEqual(remaining(["Expires", value], ["Age", "5"]), -5)
  })

  it("FRS-08: a repeated Expires is in the past, on one line or two, even if the dates are equal", () => {
    assert.strictEqual(remaining(expires(30), expires(30)), 0)
    assert.strictEqual(remaining(["Expires", `${httpDate(30)}, ${httpDate(30)}`]), 0)
  })

  it("FRS-08: the three HTTP-date forms are parsed", () => {
    assert.strictEqual(remaining(["Expires", "Thu, 01 Oct 2026 13:00:00 GMT"]), 3600)
    assert.strictEqual(remaining(["Expires", " Thursday, 01-Oct-26 13:00:00 GMT "]), 3600)
    assert.strictEqual(remaining(["Expires", "Thu Oct  1 13:00:00 2026"]), 3600)
    assert.strictEqual(remaining(expires(-3600)), -3600)
  })
})

describe("any headers", () => {
  const name = fc.constantFrom("Cache-Control", "cache-control", "EXPIRES", "Date", "Age", "Vary", "Pragma", "X-Other")
  const directive = fc.constantFrom(
    ..."max-age=100 s-maxage=50 max-age=0 max-age=x no-store private no-cache no-cache=\"x\" public ext=\"a,b\" \""
      .split(" ")
  )
  const value = fc.oneof(
    fc.array(directive, { maxLength: 4 }).map((directives) => directives.join(", ")),
    fc.integer({ min: -100000, max: 100000 }).map(httpDate),
    fc.nat({ max: 5000 }).map(String),
    fc.constantFrom("*", "0", "", "Thursday, 01-Oct-26 13:00:00 GMT"),
    fc.fullUnicodeString()
  )
  const headers: fc.Arbitrary<ReadonlyArray<Header>> = fc.array(fc.tuple(name, value), { maxLength: 8 })

  const bytes: fc.Arbitrary<ReadonlyArray<Header>> = fc.array(
    fc.tuple(fc.oneof(name, fc.fullUnicodeString()), fc.uint8Array().map((octets) => String.fromCharCode(...octets)))
  )
  const clock = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(NaN, Infinity, -Infinity))

  it("FRS-02: reading never throws", () => {
    fc.assert(
      fc.property(fc.oneof(headers, bytes), clock, clock, (headers, requestTime, responseTime) => {
        const freshness = Freshness.read(headers, { requestTime, responseTime })
        Freshness.timeToLive(freshness)
      }),
      { numRuns: 2000 }
    )
  })

  it("FRS-01: the time since the response arrived is subtracted only from a lifetime that the origin gave", () => {
    const minute = Duration.minutes(1)
    const kept = (freshness: Freshness.Freshness, residentTime: Duration.DurationInput, policy?: Freshness.Policy) =>
      Option.getOrUndefined(
        Option.map(Freshness.timeToLive(freshness, policy, residentTime), Duration.toSeconds)
      )
    const hour = read(...control("max-age=3600"))
    assert.strictEqual(kept(hour, 0), 3600)
    assert.strictEqual(kept(hour, minute), 3540)
    assert.strictEqual(kept(hour, "59.5 minutes"), 60)
    assert.strictEqual(kept(hour, "1 hour", { ...Freshness.defaultPolicy, minimum: 0 }), undefined)
    assert.strictEqual(kept(read(), minute), 300)
    assert.strictEqual(kept(read(...control("max-age=200000")), minute), 86_400)
    const noCache = { ...Freshness.defaultPolicy, noCache: "90 seconds" } as const
    assert.strictEqual(kept(read(...control("no-cache")), minute, noCache), 90)
    // A clock that was set back does not extend the lifetime.
    assert.strictEqual(kept(hour, -60_000), 3600)
  })

  it.effect("FRS-01: a document is stored for the lifetime that remains at that time", () =>
    Effect.gen(function*() {
      const client = clientId("https://app.example/client.json")
      const body = Buffer.from(JSON.stringify({ client_id: client, redirect_uris: ["https://app.example/cb"] }))
      const fetch = Effect.gen(function*() {
        const receivedAt = yield* Clock.currentTimeMillis
        yield* Effect.sleep("40 seconds")
        return { body, receivedAt, freshness: read(...control("max-age=300")), address: "192.0.2.1" }
      })
      yield* Effect.gen(function*() {
        const { resolve } = yield* Resolver.Resolver
        const fiber = yield* Effect.fork(resolve(client))
        yield* TestClock.adjust("40 seconds")
        yield* Fiber.join(fiber)
        const entry = yield* Effect.flatten((yield* Cache.Cache).get(client, yield* Validator.Validator))
        assert.strictEqual(entry.remainingMillis, 260_000)
      }).pipe(Effect.provide(
        Resolver.layer().pipe(
          Layer.provideMerge(
            Layer.mergeAll(
              Cache.layerMemory(),
              ClientRegistry.layerMemory(),
              Validator.layer(),
              Layer.succeed(Fetcher.Fetcher, { fetch: () => fetch, permit: () => Effect.succeed({ fetch }) })
            )
          ),
          Layer.provide(HostPolicy.layerPublic)
        )
      ))
    }))

  it("FRS-07: every lifetime is within the bounds", () => {
    const bound = fc.oneof(
      fc.nat({ max: 200000 }),
      fc.double({ min: 0, max: 1e12, noNaN: true }),
      fc.constant(Infinity)
    )
      .map((length) => Duration.millis(length))
    const policy = fc.record({
      minimum: bound,
      maximum: bound,
      fallback: bound,
      noCache: fc.option(bound, { nil: undefined })
    })
    fc.assert(
      fc.property(headers, clock, policy, (headers, requestTime, policy) => {
        const freshness = Freshness.read(headers, { requestTime, responseTime: now })
        const kept = Freshness.timeToLive(freshness, policy)
        if (Option.isSome(kept)) {
          assert.isTrue(freshness.storable)
          assert.isAbove(Duration.toMillis(kept.value), 0)
          assert.isTrue(Duration.lessThanOrEqualTo(kept.value, policy.maximum))
          assert.isTrue(
            freshness.noCache || Duration.lessThan(policy.maximum, policy.minimum)
              || Duration.greaterThanOrEqualTo(kept.value, policy.minimum)
          )
        }
      }),
      { numRuns: 2000 }
    )
  })

  it("FRS-02: names are case-insensitive", () => {
    const mixed = (text: string) =>
      text.replace(/[a-z]/gi, (letter, index: number) => index % 2 === 0 ? letter.toUpperCase() : letter.toLowerCase())
    fc.assert(fc.property(headers, (headers) => {
      const other = headers.map(([name, value]): Header => [
        mixed(name),
        name.toLowerCase() === "cache-control" ? mixed(value) : value
      ])
      assert.deepStrictEqual(Freshness.read(other, at), Freshness.read(headers, at))
    }))
  })

  it("FRS-02: the order of lines and directives has no effect, nor does their distribution over lines", () => {
    const directives = fc.uniqueArray(directive.filter((text) => text !== "\""), { maxLength: 6 })
    const others = fc.array(fc.tuple(name.filter((name) => !/age|cache/i.test(name)), value), { maxLength: 3 })
    const shuffled = fc.tuple(directives, others).chain(([directives, others]) =>
      fc.record({
        directives: fc.constant(directives),
        shuffled: fc.shuffledSubarray(directives, { minLength: directives.length }),
        others: fc.constant(others),
        othersShuffled: fc.shuffledSubarray(others, { minLength: others.length })
      })
    )
    fc.assert(fc.property(shuffled, ({ directives, others, othersShuffled, shuffled }) => {
      const oneLine = Freshness.read([...others, ...control(directives.join(","))], at)
      assert.deepStrictEqual(Freshness.read([...control(...shuffled), ...othersShuffled], at), oneLine)
      assert.deepStrictEqual(Freshness.read([...othersShuffled, ...control(shuffled.join(" ,\t"))], at), oneLine)
    }))
  })

  it("FRS-02: unknown directives and fields have no effect", () => {
    fc.assert(fc.property(headers, (headers) => {
      const more: ReadonlyArray<Header> = [
        ["X-Cache", "no-store"],
        ...headers,
        ...control("x=\"private\", community=1")
      ]
      assert.deepStrictEqual(Freshness.read(more, at), Freshness.read(headers, at))
    }))
  })

  it("FRS-01: an older response never has more time left", () => {
    const younger = fc.tuple(fc.nat({ max: 5000 }), fc.nat({ max: 5000 }))
    fc.assert(fc.property(headers, younger, (headers, [age, more]) => {
      const rest = headers.filter(([name]) => name !== "Age")
      const left = Freshness.read([...rest, ["Age", String(age)]], at).remaining
      const leftOfOlder = Freshness.read([...rest, ["Age", String(age + more)]], at).remaining
      assert.strictEqual(left === undefined, leftOfOlder === undefined)
      assert.isAtMost(leftOfOlder ?? 0, left ?? 0)
    }))
  })
})
