/**
 * Parses an HTTP-date in its three forms, and no other (RFC 9110, section 5.6.7; rule FRS-08).
 *
 * Written by hand, because `Date.parse` accepts many other spellings, and days that a month does not have.
 * `test/fetch/HttpDate.test.ts` compares the two where `Date.parse` reads the form in the same way.
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

/** Returns milliseconds since the Unix epoch, or `undefined` if there is no such day or time. */
const instant = (fields: Fields, year: number): number | undefined => {
  const day = Number(fields["day"])
  const monthIndex = months.indexOf(fields["month"] ?? "")
  const hour = Number(fields["hour"])
  const minute = Number(fields["minute"])
  const second = Number(fields["second"])
  // 60 is a leap second, the last of its day. `Date` counts it as the first second of the next day.
  if (hour > 23 || minute > 59 || second > (hour === 23 && minute === 59 ? 60 : 59)) {
    return undefined
  }
  const date = new Date(0)
  // Not `Date.UTC`, which reads the years 0 to 99 as 1900 to 1999.
  date.setUTCFullYear(year, monthIndex, day)
  // A day that the month does not have becomes another day of the next month.
  return date.getUTCDate() === day
    ? date.setUTCHours(hour, minute, second)
    : undefined
}

const fiftyYearsAfter = (now: number): number => {
  const date = new Date(now)
  return date.setUTCFullYear(date.getUTCFullYear() + 50)
}

/** Returns the latest moment with these two digits of the year that is not more than 50 years ahead. */
const withCentury = (fields: Fields, now: number): number | undefined => {
  const limit = fiftyYearsAfter(now)
  const digits = Number(fields["year"])
  const latest = new Date(limit).getUTCFullYear()
  const year = latest - ((((latest - digits) % 100) + 100) % 100)
  const candidate = instant(fields, year)
  return candidate === undefined || candidate > limit ? instant(fields, year - 100) : candidate
}

/**
 * Returns milliseconds since the Unix epoch. `now`, in the same unit, decides the century of a two-digit year. The
 * weekday must be one of the seven names, but is not compared with the date, because the grammar does not bind the two.
 */
export const parse = (text: string, now: number): number | undefined => {
  const withFullYear = (imfFixdate.exec(text) ?? asctime.exec(text))?.groups
  const fields = withFullYear ?? rfc850.exec(text)?.groups
  if (fields === undefined) {
    return undefined
  }
  return withFullYear === undefined ? withCentury(fields, now) : instant(fields, Number(fields["year"]))
}
