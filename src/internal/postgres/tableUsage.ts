/** What the live documents take in the table, as far as the nodes have reported it. */
import * as Effect from "effect/Effect"
import type { CacheError } from "../../Cache.js"
import * as metrics from "../metrics.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"

/** The row of the table's usage. */
export interface Known {
  readonly bytes: number
  /** Whether it was ever measured. */
  readonly measured: boolean
  /** Whether it should be measured: after a sweep, or because the last time was long ago. */
  readonly due: boolean
}

export interface TableUsage {
  /** Adds the bytes by which a write of this node changed the table. They are reported later. */
  readonly add: (difference: number) => void
  /** What this node has not reported yet. */
  readonly unreported: () => number
  /** The bytes of the table, as this node last read them. */
  readonly bytes: () => number
  /** Reports what this node has added, if anything, and reads the bytes of the table. */
  readonly report: Effect.Effect<Known, CacheError>
  /** Corrects the bytes by a measurement. What others reported in between stays. */
  readonly correct: (difference: number) => Effect.Effect<void, CacheError>
}

// Nodes that crashed, nodes of version 2 and deletions by hand reported nothing.
const measuredFor = "10 minutes"

const columns = `known.bytes::float8 AS bytes, known.measured_at > '-infinity' AS measured,
  known.outdated OR known.measured_at NOT BETWEEN clock_timestamp() - interval '${measuredFor}' AND clock_timestamp() AS due`

export const make = ({ sql, usage }: Statements, timeout: Run<CacheError>): TableUsage => {
  let unreported = 0
  let bytes = 0

  const learn = (known: Known) => {
    bytes = known.bytes
    metrics.tableBytes.unsafeUpdate(bytes, [])
  }

  // A row that is missing is written again, and is due.
  const write = (difference: number) =>
    sql<Known>`INSERT INTO ${usage} AS known (bytes) VALUES (greatest(${difference}::bigint, 0))
      ON CONFLICT (singleton) DO UPDATE SET bytes = greatest(known.bytes + ${difference}::bigint, 0)
      RETURNING ${sql.literal(columns)}`

  const read = Effect.flatMap(
    sql<Known>`SELECT ${sql.literal(columns)} FROM ${usage} AS known`,
    ([known]) => known === undefined ? Effect.map(write(0), ([written]) => written) : Effect.succeed(known)
  )

  return {
    add: (difference) => {
      unreported += difference
    },
    unreported: () => unreported,
    bytes: () => bytes,
    report: Effect.suspend(() => {
      const reported = unreported
      unreported = 0
      return timeout("put")(reported === 0 ? read : Effect.map(write(reported), ([known]) => known)).pipe(
        // A report that failed may have been committed. Then it counts twice until the next measurement, and never less.
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (exit._tag === "Failure") unreported += reported
          })
        ),
        Effect.map((known) => known ?? { bytes, measured: false, due: true }),
        Effect.tap((known) => Effect.sync(() => learn(known)))
      )
    }),
    correct: (difference) =>
      Effect.map(
        timeout("sweep")(
          sql<Known>`UPDATE ${usage} AS known SET bytes = greatest(known.bytes + ${difference}::bigint, 0),
            measured_at = clock_timestamp(), outdated = false RETURNING ${sql.literal(columns)}`
        ),
        ([known]) => {
          if (known !== undefined) learn(known)
        }
      )
  }
}
