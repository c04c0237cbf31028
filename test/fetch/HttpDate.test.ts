import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as HttpDate from "../../src/internal/fetch/httpDate.js"

const now = Date.UTC(2026, 9, 1, 12, 0, 0)

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** Formats a moment in each of the three forms. */
const written = (time: number) => {
  const date = new Date(time)
  const day = days[date.getUTCDay()] ?? ""
  const month = months[date.getUTCMonth()] ?? ""
  const year = String(date.getUTCFullYear()).padStart(4, "0")
  const clock = date.toISOString().slice(-13, -5)
  const dayOfMonth = String(date.getUTCDate())
  return {
    imfFixdate: `${day.slice(0, 3)}, ${dayOfMonth.padStart(2, "0")} ${month} ${year} ${clock} GMT`,
    rfc850: `${day}, ${dayOfMonth.padStart(2, "0")}-${month}-${year.slice(2)} ${clock} GMT`,
    asctime: `${day.slice(0, 3)} ${month} ${dayOfMonth.padStart(2, " ")} ${clock} ${year}`
  }
}

const withoutWeekday = (text: string) => text.replace(/^[A-Z][a-z]+(?=[, ])/, "")

const seconds = (min: number, max: number) =>
  fc.integer({ min: min / 1000, max: max / 1000 }).map((second) => second * 1000)
const fourDigitYears = seconds(new Date("0000-01-01T00:00:00Z").getTime(), Date.UTC(9999, 11, 31, 23, 59, 59))

describe("HttpDate.parse", () => {
  it.each([
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994"
  ])("FRS-08: %s is one of the three forms", (text) => {
    assert.strictEqual(HttpDate.parse(text, now), Date.UTC(1994, 10, 6, 8, 49, 37))
  })

  it("FRS-08: reads back every moment of the years 0 to 9999 from the forms with a full year", () => {
    fc.assert(fc.property(fourDigitYears, (time) => {
      assert.strictEqual(HttpDate.parse(written(time).imfFixdate, now), time)
      assert.strictEqual(HttpDate.parse(written(time).asctime, now), time)
    }))
  })

  it("FRS-08: agrees with Date.parse on the form that both accept", () => {
    fc.assert(fc.property(seconds(0, Date.UTC(2200, 0, 1)), (time) => {
      const { imfFixdate } = written(time)
      assert.strictEqual(HttpDate.parse(imfFixdate, now), Date.parse(imfFixdate))
    }))
  })

  it("FRS-08: a two-digit year is at most 50 years ahead, otherwise in the past", () => {
    const limit = Date.UTC(2076, 9, 1, 12, 0, 0)
    assert.strictEqual(HttpDate.parse(written(limit).rfc850, now), limit)
    assert.strictEqual(HttpDate.parse("Thursday, 01-Oct-76 12:00:01 GMT", now), Date.UTC(1976, 9, 1, 12, 0, 1))
  })

  it("FRS-08: reads back a two-digit year within the hundred years around any current time", () => {
    const century = fc.record({
      at: seconds(Date.UTC(1950, 0, 1), Date.UTC(2150, 0, 1)),
      offset: fc.double({ min: -1, max: 1, noNaN: true })
    })
    fc.assert(fc.property(century, ({ at, offset }) => {
      const half = 49.9 * 365.25 * 86_400_000
      const time = Math.round((at + offset * half) / 1000) * 1000
      assert.strictEqual(HttpDate.parse(written(time).rfc850, at), time)
    }))
  })

  it("FRS-08: accepts a weekday that does not match the date", () => {
    for (
      const text of ["Mon, 06 Nov 1994 08:49:37 GMT", "Friday, 06-Nov-94 08:49:37 GMT", "Thu Nov  6 08:49:37 1994"]
    ) {
      assert.strictEqual(HttpDate.parse(text, now), Date.UTC(1994, 10, 6, 8, 49, 37), text)
    }
  })

  it("FRS-08: accepts the 29th of February in leap years only, also with a two-digit year", () => {
    assert.strictEqual(HttpDate.parse("Thu, 29 Feb 2024 00:00:00 GMT", now), Date.UTC(2024, 1, 29))
    assert.isUndefined(HttpDate.parse("Sat, 29 Feb 2025 00:00:00 GMT", now))
    assert.isUndefined(HttpDate.parse("Mon, 29 Feb 2100 00:00:00 GMT", now))
    assert.strictEqual(HttpDate.parse("Tuesday, 29-Feb-00 00:00:00 GMT", Date.UTC(2060, 0, 1)), Date.UTC(2000, 1, 29))
  })

  it("FRS-08: a leap second is the last second of its day", () => {
    assert.strictEqual(HttpDate.parse("Sat, 31 Dec 2016 23:59:60 GMT", now), Date.UTC(2017, 0, 1))
    assert.isUndefined(HttpDate.parse("Sat, 31 Dec 2016 23:58:60 GMT", now))
    assert.isUndefined(HttpDate.parse("Sat, 31 Dec 2016 22:59:60 GMT", now))
    assert.isUndefined(HttpDate.parse("Sat, 31 Dec 2016 23:59:61 GMT", now))
  })

  it.each([
    "",
    "0",
    "-1",
    "now",
    "1994-11-06T08:49:37Z",
    "784111777",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun 06 Nov 1994 08:49:37 GMT",
    "Sun,06 Nov 1994 08:49:37 GMT",
    "Sun, 06  Nov 1994 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08.49.37 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 08:49 GMT",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 08:49:37 gmt",
    "SUN, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 NOV 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT\n",
    "Sunday, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06-Nov-94 08:49:37 GMT",
    "Sunday, 6-Nov-94 08:49:37 GMT",
    "Sonntag, 06-Nov-94 08:49:37 GMT",
    "Foo, 06 Nov 1994 08:49:37 GMT",
    "06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-November-94 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994",
    "Sun Nov 06 08:49:37 94",
    "Sun Nov  6 08:49:37 1994 GMT",
    "Sunday Nov  6 08:49:37 1994",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Mon, 32 Oct 1994 08:49:37 GMT",
    "Thu, 31 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:60 GMT",
    "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, ０６ Nov 1994 08:49:37 GMT"
  ])("FRS-08: \"%s\" is not an HTTP-date", (text) => {
    assert.isUndefined(HttpDate.parse(text, now))
  })

  it("FRS-08: one character more, less or changed is another date or none, and never throws", () => {
    const mutation = fc.record({
      form: fc.constantFrom("imfFixdate" as const, "rfc850" as const, "asctime" as const),
      time: fourDigitYears,
      at: fc.nat({ max: 33 }),
      remove: fc.nat({ max: 1 }),
      insert: fc.string({ maxLength: 2 })
    })
    fc.assert(
      fc.property(mutation, ({ at, form, insert, remove, time }) => {
        const text = written(time)[form]
        const changed = text.slice(0, at) + insert + text.slice(at + remove)
        const parsed = HttpDate.parse(changed, now)
        if (parsed !== undefined) {
          assert.include(Object.values(written(parsed)).map(withoutWeekday), withoutWeekday(changed))
        }
      }),
      { numRuns: 2000 }
    )
  })

  it("FRS-08: never throws, whatever the text and the clock", () => {
    const clock = fc.oneof(fc.double(), fc.constantFrom(NaN, Infinity, -Infinity, 8.64e15, -8.64e15))
    const text = fc.oneof(fc.fullUnicodeString(), fourDigitYears.map((time) => written(time).rfc850))
    fc.assert(fc.property(text, clock, (text, at) => {
      HttpDate.parse(text, at)
    }))
  })
})
