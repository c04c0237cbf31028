/**
 * Every benchmark in one table; each line is a ratio measured in this run. `--json` prints it for a program.
 *
 * The peers of `validate` are installed apart: `npm ci --prefix differential --ignore-scripts`.
 */
import { cache } from "./cache.js"
import { fetch } from "./fetch.js"
import { validate } from "./validate.js"

const rows = [...await validate(), ...await fetch(), ...await cache()].map(({ detail, holds, limit, name, ratio }) => ({
  name,
  ratio,
  limit,
  holds,
  detail
}))

if (process.argv.includes("--json")) console.log(JSON.stringify({ rows }))
else console.table(rows.map((row) => ({ ...row, ratio: Number(row.ratio.toPrecision(3)) })))
process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1
