import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Longer ones overflow the timers of Node.js, which then fire at once. */
const maxTimerMillis = 2 ** 31 - 1

/** `Duration` takes a number that is none, or is negative, for zero, in whatever form it comes. */
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

/** `NaN` for what is no length of time. */
export const millisOf = (input: Duration.DurationInput): number =>
  isNegative(input)
    ? Number.NaN
    : Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })

/** Reads options one by one, so that all that is wrong with them can be told at once. */
export interface OptionReader {
  /** What is wrong with those that were read, and what they should be. */
  readonly faults: Array<string>
  /** A positive integer. */
  readonly whole: (name: string, given: number | undefined, fallback: number, most?: number) => number
  /** A length of time in milliseconds. */
  readonly millis: (
    name: string,
    given: Duration.DurationInput | undefined,
    fallback: Duration.DurationInput,
    bounds?: { readonly least?: number; readonly most?: number }
  ) => number
}

export const make = (): OptionReader => {
  const faults: Array<string> = []
  return {
    faults,
    whole: (name, given, fallback, most = Number.MAX_SAFE_INTEGER) => {
      const value = given ?? fallback
      if (!(Number.isSafeInteger(value) && value >= 1 && value <= most)) {
        const bound = most === Number.MAX_SAFE_INTEGER ? "" : ` up to ${most}`
        faults.push(`\`${name}\` must be a positive integer${bound}, but is ${value}`)
      }
      return value
    },
    millis: (name, given, fallback, { least = 1, most = maxTimerMillis } = {}) => {
      const value = millisOf(given ?? fallback)
      if (!(value >= least && value <= most)) {
        const days = Math.floor(Duration.toDays(most))
        faults.push(`\`${name}\` must be a length of time from ${least} ms to ${days} days, but is ${String(given)}`)
      }
      return value
    }
  }
}
