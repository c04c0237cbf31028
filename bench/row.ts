/** What every benchmark prints: one measured ratio, and what it has to be, if anything. */
export interface Row {
  readonly name: string
  readonly ratio: number
  readonly limit: number | null
  readonly holds: boolean
  readonly detail: string
}

export const atMost = (name: string, ratio: number, limit: number, detail: string): Row => ({
  name,
  ratio,
  limit,
  holds: ratio <= limit,
  detail
})

export const atLeast = (name: string, ratio: number, limit: number, detail: string): Row => ({
  name,
  ratio,
  limit,
  holds: ratio >= limit,
  detail
})

export const unlimited = (name: string, ratio: number, detail: string): Row => ({
  name,
  ratio,
  limit: null,
  holds: true,
  detail
})

export const percentile = (values: ReadonlyArray<number>, part: number): number =>
  [...values].sort((left, right) => left - right)[Math.min(values.length - 1, Math.floor(values.length * part))] ??
    Number.NaN

export const median = (values: ReadonlyArray<number>): number => percentile(values, 0.5)

/** Prints the rows, as JSON for a program with `--json`, and ends the process with 1 if one does not hold. */
export const print = (rows: ReadonlyArray<Row>): void => {
  if (process.argv.includes("--json")) console.log(JSON.stringify({ rows }))
  else console.table(rows.map((row) => ({ ...row, ratio: Number(row.ratio.toPrecision(3)) })))
  process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1
}
