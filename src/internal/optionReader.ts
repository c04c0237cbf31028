import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InvalidOptions } from "../InvalidOptions.js"

/** Node.js fires a timer with a longer delay at once, because the delay overflows 31 bits. */
const maxTimerMillis = 2 ** 31 - 1

/** `Duration` decodes a negative number and `NaN` as zero, whatever form they come in. */
const isNegative = (input: Duration.DurationInput): boolean => {
  switch (typeof input) {
    case "number":
    case "bigint":
      return !(input >= 0)
    case "string":
      return input.startsWith("-")
    default:
      return Array.isArray(input) && !input.every((part) => part >= 0)
  }
}

/** The milliseconds of a duration; `NaN` for an input that is not a duration. */
export const millisOf = (input: Duration.DurationInput): number =>
  isNegative(input)
    ? Number.NaN
    : Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })

/** Reads and checks options one by one, so that one error reports all invalid options. */
export interface Reader {
  /** Records an invalid option. The text names the option and says what it must be. */
  readonly report: (issue: string) => void
  /** Reads a positive integer. */
  readonly whole: (
    name: string,
    given: number | undefined,
    fallback: number,
    bounds?: { readonly least?: number; readonly most?: number }
  ) => number
  /** Reads a duration, in milliseconds. */
  readonly millis: (
    name: string,
    given: Duration.DurationInput | undefined,
    fallback: Duration.DurationInput,
    bounds?: { readonly least?: number; readonly most?: number }
  ) => number
}

const dayMillis = 86_400_000

const format = (millis: number): string =>
  millis >= dayMillis ? `${Math.floor(millis / dayMillis)} days` : `${millis} ms`

/** Reads and checks the options of a module. Fails with every option that the reader reported. */
export const read = <A>(module: string, reading: (reader: Reader) => A): Effect.Effect<A, InvalidOptions> =>
  Effect.suspend(() => {
    const issues: Array<string> = []
    const settings = reading({
      report: (issue) => {
        issues.push(issue)
      },
      whole: (name, given, fallback, { least = 1, most = Number.MAX_SAFE_INTEGER } = {}) => {
        const value = given ?? fallback
        if (!(Number.isSafeInteger(value) && value >= least && value <= most)) {
          const kind = least === 1 ? "a positive integer" : `an integer of at least ${least}`
          const bound = most === Number.MAX_SAFE_INTEGER ? "" : least === 1 ? ` up to ${most}` : ` and at most ${most}`
          issues.push(`\`${name}\` must be ${kind}${bound}, but is ${value}`)
        }
        return value
      },
      millis: (name, given, fallback, { least = 1, most = maxTimerMillis } = {}) => {
        const value = millisOf(given ?? fallback)
        if (!(value >= least && value <= most)) {
          const bounds = most === Number.POSITIVE_INFINITY
            ? `of at least ${format(least)}`
            : `between ${format(least)} and ${format(most)}`
          issues.push(`\`${name}\` must be a duration ${bounds}, but is ${String(given)}`)
        }
        return value
      }
    })
    return issues.length === 0 ? Effect.succeed(settings) : new InvalidOptions({ module, issues })
  })
