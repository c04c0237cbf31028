/**
 * Compares `Freshness` with http-cache-semantics, as a shared cache without heuristics. If they disagree on a generated
 * response, one of the differences below must explain it; otherwise the test fails.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Freshness from "effect-cimd/Freshness"
import * as fc from "effect/FastCheck"
import CachePolicy from "http-cache-semantics"

type Header = readonly [name: string, value: string]

const now = Date.UTC(2026, 9, 1, 12, 0, 0)
const httpDate = (offset: number) => new Date(now + offset * 1000).toUTCString()

/** Returns the seconds of freshness left; zero if stale, not storable, or not servable without revalidation. */
const ours = (headers: ReadonlyArray<Header>): number => {
  const { noCache, remaining, storable } = Freshness.read(headers, { requestTime: now, responseTime: now })
  return storable && !noCache ? Math.max(0, remaining ?? 0) : 0
}

class FrozenPolicy extends CachePolicy {
  override now() {
    return now
  }
}

const joined = (headers: ReadonlyArray<Header>): Record<string, string> => {
  const fields: Record<string, string> = {}
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    fields[key] = fields[key] === undefined ? value : `${fields[key]}, ${value}`
  }
  return fields
}

const theirs = (headers: ReadonlyArray<Header>): number => {
  const policy = new FrozenPolicy(
    { method: "GET", url: "/client.json", headers: {} },
    { status: 200, headers: joined(headers) },
    { shared: true, cacheHeuristic: 0 }
  )
  return policy.storable() ? Math.max(0, policy.maxAge() - policy.age()) : 0
}

/** Returns what the differences check: the fields as received, and Cache-Control split without regard to quotes. */
const view = (headers: ReadonlyArray<Header>) => {
  const values = (field: string) => headers.filter(([name]) => name.toLowerCase() === field).map(([, value]) => value)
  const control = values("cache-control").join(",")
  const members = control.split(",").map((member) => member.trim())
  const arguments_ = (...names: ReadonlyArray<string>) =>
    members
      .filter((member) => names.includes(member.split("=")[0]?.trim().toLowerCase() ?? ""))
      .map((member) => member.split("=").slice(1).join("="))
  return { values, control, members, arguments_ }
}

type View = ReturnType<typeof view>

const isHttpDate = (text: string) => {
  const time = Date.parse(text)
  return Number.isFinite(time) && new Date(time).toUTCString() === text
}

interface Difference {
  readonly why: string
  readonly holds: (view: View) => boolean
  readonly example: ReadonlyArray<Header>
  readonly ours: number
  readonly theirs: number
}

const control = (value: string): Header => ["Cache-Control", value]

const differences: ReadonlyArray<Difference> = [
  {
    why: "FRS-02: directive names are case-insensitive, but the peer reads only lower case",
    holds: ({ control }) => control !== control.toLowerCase(),
    example: [control("Max-Age=100")],
    ours: 100,
    theirs: 0
  },
  {
    why: "FRS-02: text inside quotes is not a directive, but the peer splits it",
    holds: ({ control }) => control.includes("\""),
    example: [control("ext=\"a, no-store, b\", max-age=100")],
    ours: 100,
    theirs: 0
  },
  {
    why: "FRS-02: a repeated lifetime makes the response stale, but the peer uses the last one",
    holds: ({ arguments_ }) => arguments_("max-age").length > 1 || arguments_("s-maxage").length > 1,
    example: [control("max-age=5"), control("max-age=100")],
    ours: 0,
    theirs: 100
  },
  {
    why: "FRS-02: a malformed lifetime makes the response stale, but the peer uses its first digits",
    holds: ({ arguments_, members }) =>
      arguments_("max-age", "s-maxage").some((argument) => !/^[0-9]+$/.test(argument))
      || members.some((member) => /^(max-age|s-maxage)\s+=/.test(member)),
    example: [control("max-age=100s")],
    ours: 0,
    theirs: 100
  },
  {
    why: "FRS-02: a directive with an empty argument applies, but the peer ignores it",
    holds: ({ members }) => members.some((member) => /^(private|no-store|no-cache)=$/.test(member)),
    example: [control("private=, max-age=100")],
    ours: 0,
    theirs: 100
  },
  {
    why: "FRS-02: a number that is too large counts as 2147483648 (RFC 9111, section 1.2.2)",
    holds: ({ arguments_, values }) =>
      [...arguments_("max-age", "s-maxage"), ...values("age")].some((argument) => Number(argument) > 2 ** 31),
    example: [control("max-age=99999999999")],
    ours: 2 ** 31,
    theirs: 99999999999
  },
  {
    why: "FRS-01: a Date in the past gives an apparent age, but the peer ignores it",
    holds: ({ values }) => values("date").some((date) => Date.parse(date) < now),
    example: [control("max-age=100"), ["Date", httpDate(-40)]],
    ours: 60,
    theirs: 100
  },
  {
    why: "FRS-08: a date has one of the three forms and is not repeated, but the peer reads what JavaScript can parse",
    holds: ({ values }) =>
      ["date", "expires"].some((field) => values(field).length > 1 || !values(field).every(isHttpDate)),
    example: [["Expires", "2026-10-01T12:01:40Z"]],
    ours: 0,
    theirs: 100
  },
  {
    why: "FRS-01: an Age that is not a number of seconds is ignored, but the peer uses its sign and first digits",
    holds: ({ values }) => values("age").some((age) => !/^[0-9]+$/.test(age)),
    example: [control("max-age=100"), ["Age", "-50"]],
    ours: 100,
    theirs: 150
  },
  {
    why: "FRS-05: `*` applies beside other members of Vary, but the peer ignores it there",
    holds: ({ values }) =>
      values("vary").join(",") !== "*" && values("vary").join(",").split(",").some((m) => m.trim() === "*"),
    example: [control("max-age=100"), ["Vary", "accept, *"]],
    ours: 0,
    theirs: 100
  },
  {
    why: "a cookie does not make a response private, but the peer treats it so",
    holds: ({ values }) => values("set-cookie").length > 0,
    example: [control("max-age=100"), ["Set-Cookie", "a=b"]],
    ours: 100,
    theirs: 0
  },
  {
    why: "proxy-revalidate applies to stale responses, but the peer treats it as no-cache",
    holds: ({ members }) => members.some((member) => /^proxy-revalidate(=|$)/.test(member)),
    example: [control("max-age=100, proxy-revalidate")],
    ours: 100,
    theirs: 0
  },
  {
    why: "Pragma is a request header (RFC 9111, section 5.4), but the peer reads it in responses",
    holds: ({ control, values }) => control === "" && values("pragma").some((value) => value.includes("no-cache")),
    example: [["Expires", httpDate(100)], ["Pragma", "no-cache"]],
    ours: 100,
    theirs: 0
  },
  {
    why: "immutable is not a lifetime, but the peer makes it one, and reads its milliseconds as seconds",
    holds: ({ arguments_, members }) =>
      members.some((member) => /^immutable(=|$)/.test(member)) && arguments_("max-age", "s-maxage").length === 0,
    example: [control("immutable")],
    ours: 0,
    theirs: 86_400_000
  }
]

const lifetime = fc.oneof(
  fc.nat({ max: 5000 }).map(String),
  fc.constantFrom("", "0", "007", "100s", "-5", "1.5", "\"100\"", "\"100", " 100", "99999999999", "abc")
)

const directive = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom("max-age=", "s-maxage="), lifetime).map((parts) => parts.join("")) },
  {
    weight: 3,
    arbitrary: fc.constantFrom("public", "must-revalidate", "proxy-revalidate", "immutable", "must-understand", "ext=1")
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ..."no-store|private|no-cache|private=x|no-cache=\"x\"|private=|No-Store|MAX-AGE=100|max-age|max-age =100".split(
        "|"
      ),
      "ext=\"a, no-store\"",
      "ext=\"a\\\", no-cache\"",
      "stale-while-revalidate=60",
      ""
    )
  }
)

const offset = fc.integer({ min: -5000, max: 5000 })

const date = fc.oneof(
  { weight: 6, arbitrary: offset.map(httpDate) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "0",
      "",
      "soon",
      "2026-10-01T12:10:00Z",
      "Thursday, 01-Oct-26 12:10:00 GMT",
      "Thu Oct  1 12:10:00 2026"
    )
  }
)

const header: fc.Arbitrary<Header> = fc.oneof(
  { weight: 6, arbitrary: fc.array(directive, { maxLength: 3 }).map((all) => control(all.join(", "))) },
  { weight: 3, arbitrary: date.map((value): Header => ["Expires", value]) },
  { weight: 3, arbitrary: date.map((value): Header => ["Date", value]) },
  {
    weight: 2,
    arbitrary: fc.oneof(fc.nat({ max: 3000 }).map(String), fc.constantFrom("", "x", "-5", "5, 100", "9".repeat(12)))
      .map((value): Header => ["Age", value])
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Header>(
      ["Vary", "*"],
      ["Vary", "accept"],
      ["Vary", "accept, *"],
      ["Pragma", "no-cache"],
      ["Set-Cookie", "a=b"],
      ["ETag", "\"a\""],
      ["Last-Modified", httpDate(-100000)]
    )
  }
)

const close = (left: number, right: number) => Math.abs(left - right) < 1e-6

describe("compared with http-cache-semantics", () => {
  for (const difference of differences) {
    it(difference.why, () => {
      assert.isTrue(difference.holds(view(difference.example)))
      assert.strictEqual(ours(difference.example), difference.ours)
      assert.strictEqual(theirs(difference.example), difference.theirs)
      const others = differences.filter((other) => other !== difference && other.holds(view(difference.example)))
      assert.deepStrictEqual(others.map(({ why }) => why), [], "two explanations of one difference")
    })
  }

  it("FRS-01: agrees on every response without a known difference", () => {
    let agreed = 0
    fc.assert(
      fc.property(fc.array(header, { maxLength: 4 }), (headers) => {
        if (!close(ours(headers), theirs(headers))) {
          assert.isTrue(
            differences.some(({ holds }) => holds(view(headers))),
            `ours ${ours(headers)}, theirs ${theirs(headers)}`
          )
        } else if (ours(headers) > 0) {
          agreed++
        }
      }),
      { numRuns: 10_000 }
    )
    assert.isAbove(agreed, 500, "too few of the responses were fresh for the agreement to mean anything")
  })
})
