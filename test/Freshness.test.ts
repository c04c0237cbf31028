import { assert, describe, it } from "@effect/vitest"
import * as Freshness from "effect-cimd/Freshness"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

const now = Date.UTC(2026, 9, 1, 12, 0, 0)
const date = "Thu, 01 Oct 2026 12:00:00 GMT"
const at = { requestTime: now, responseTime: now }

const read = (...headers: ReadonlyArray<readonly [string, string]>) => Freshness.read(headers, at)
const cacheControl = (...lines: ReadonlyArray<string>) => read(...lines.map((line) => ["Cache-Control", line] as const))
const seconds = (freshness: Freshness.Freshness, policy?: Freshness.Policy) =>
  Option.getOrUndefined(Option.map(Freshness.timeToLive(freshness, policy), Duration.toSeconds))

describe("Freshness.read", () => {
  it("FRS-01: s-maxage wins over max-age, and max-age over Expires", () => {
    const expires = ["Expires", "Thu, 01 Oct 2026 12:00:30 GMT"] as const
    assert.strictEqual(cacheControl("max-age=100, s-maxage=200").remaining, 200)
    assert.strictEqual(read(["cache-control", "max-age=100"], expires).remaining, 100)
    assert.strictEqual(read(expires).remaining, 30)
    assert.strictEqual(read(["Date", "Thu, 01 Oct 2026 12:00:10 GMT"], expires).remaining, 20)
  })

  it("FRS-06: nothing said is no remaining lifetime", () => {
    assert.deepStrictEqual(read(["Date", date]), { storable: true, noCache: false, remaining: undefined })
  })

  it("FRS-03: no-store and private are not storable", () => {
    assert.isFalse(cacheControl("no-store, max-age=100").storable)
    assert.isFalse(cacheControl("max-age=100", "PRIVATE=\"set-cookie\"").storable)
  })

  it("FRS-05: Vary: * is not storable", () => {
    assert.isFalse(read(["Vary", "accept"], ["vary", "accept-encoding ,\t*"]).storable)
    assert.isTrue(read(["Vary", "accept"]).storable)
  })
})

describe("Freshness.timeToLive", () => {
  it("FRS-06: nothing said is kept for the default lifetime", () => {
    assert.strictEqual(seconds(read()), 300)
  })

  it("FRS-07: clamped to the policy's bounds", () => {
    assert.strictEqual(seconds(cacheControl("max-age=0")), 60)
    assert.strictEqual(seconds(cacheControl("max-age=3600")), 3600)
    assert.strictEqual(seconds(cacheControl("max-age=99999999999999999999")), 86400)
  })

  it("FRS-04: no-cache is kept only if the policy says how long", () => {
    assert.isUndefined(seconds(cacheControl("no-cache, max-age=600")))
    assert.strictEqual(seconds(cacheControl("no-cache"), { ...Freshness.defaultPolicy, noCache: "5 seconds" }), 5)
  })
})
