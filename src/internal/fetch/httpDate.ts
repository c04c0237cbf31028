/**
 * HTTP-date: its three forms and nothing else (RFC 9110, section 5.6.7; rule FRS-08).
 *
 * `Date.parse` will not do: it accepts many other spellings, and months with more days than they have.
 */

const shortDays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
const longDays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

const month = `(?<month>${months.join("|")})`
const time = "(?<hour>[0-9]{2}):(?<minute>[0-9]{2}):(?<second>[0-9]{2})"
const shortDay = `(?:${shortDays.join("|")})`

const imfFixdate = new RegExp(`^${shortDay}, (?<day>[0-9]{2}) ${month} (?<year>[0-9]{4}) ${time} GMT$`)
const rfc850 = new RegExp(
  `^(?:${longDays.join("|")}), (?<day>[0-9]{2})-${month}-(?<year>[0-9]{2}) ${time} GMT$`
)
const asctime = new RegExp(`^${shortDay} ${month} (?<day>[0-9]{2}| [0-9]) ${time} (?<year>[0-9]{4})$`)

type Fields = Record<string, string | undefined>

/** Milliseconds since the Unix epoch, or nothing if there is no such day or time. */
const instant = (fields: Fields, year: number): number | undefined => {
  const day = Number(fields["day"])
  const monthIndex = months.indexOf(fields["month"] ?? "")
  const hour = Number(fields["hour"])
  const minute = Number(fields["minute"])
  const second = Number(fields["second"])
  // 60 is a leap second, the last of its day. `Date` counts it as the first of the next.
  if (hour > 23 || minute > 59 || second > (hour === 23 && minute === 59 ? 60 : 59)) {
    return undefined
  }
  const date = new Date(0)
  // Not `Date.UTC`, which takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, monthIndex, day)
  // A day that its month does not have comes out as another day of the next.
  return date.getUTCDate() === day
    ? date.setUTCHours(hour, minute, second)
    : undefined
}

const fiftyYearsAfter = (now: number): number => {
  const date = new Date(now)
  return date.setUTCFullYear(date.getUTCFullYear() + 50)
}

/** The latest moment with these last two digits of the year that is not more than 50 years ahead. */
const withCentury = (fields: Fields, now: number): number | undefined => {
  const limit = fiftyYearsAfter(now)
  const digits = Number(fields["year"])
  const latest = new Date(limit).getUTCFullYear()
  const year = latest - ((((latest - digits) % 100) + 100) % 100)
  const candidate = instant(fields, year)
  return candidate === undefined || candidate > limit ? instant(fields, year - 100) : candidate
}

/**
 * Milliseconds since the Unix epoch. `now`, in the same unit, decides the century of the form with a two-digit year.
 * The weekday is one of the seven names and is not held against the date: the grammar does not bind the two.
 */
export const parse = (text: string, now: number): number | undefined => {
  const withFullYear = (imfFixdate.exec(text) ?? asctime.exec(text))?.groups
  const fields = withFullYear ?? rfc850.exec(text)?.groups
  if (fields === undefined) {
    return undefined
  }
  return withFullYear === undefined ? withCentury(fields, now) : instant(fields, Number(fields["year"]))
}
