/** What a node does by itself, beside the calls of its host. No read of a document writes anything. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CacheError } from "../../Cache.js"
import type * as NodeRows from "./nodeRows.js"
import type { Settings } from "./options.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import type { TableBound } from "./tableBound.js"
import * as TableNames from "./tableNames.js"
import type { TableUsage } from "./tableUsage.js"

const tickMillis = 1000
/** How often a node writes its row, and reads the bytes of the table although it writes nothing. */
const rowNanos = 60_000_000_000n
/** A change of its row is written sooner. */
const changeNanos = 5_000_000_000n
const sweptNanos = 3_600_000_000_000n
const unsweptFor = "1 day"

export interface Upkeep {
  readonly statements: Statements
  readonly settings: Settings
  readonly timeout: Run<CacheError>
  readonly usage: TableUsage
  readonly bound: TableBound
  readonly rows: ReturnType<typeof NodeRows.make>
  readonly self: () => NodeRows.Self
  readonly nanos: () => bigint
}

/** Runs until the scope closes. Then it reports what this node has written, and deletes the row of the node. */
export const start = (
  { bound, nanos, rows, self, settings, statements: { sql, state }, timeout, usage }: Upkeep
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const logged = <A, E>(what: string, effect: Effect.Effect<A, E>): Effect.Effect<void> =>
      Effect.catchAllCause(
        Effect.asVoid(effect),
        (cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            : Effect.logDebug(`${what} failed; the next turn tries again`, cause)
      )

    const written = { text: "", at: nanos() - rowNanos }
    const writeRow = Effect.suspend(() => {
      const row = self()
      const text = JSON.stringify(row)
      if (nanos() - written.at < (text === written.text ? rowNanos : changeNanos)) return Effect.void
      written.text = text
      written.at = nanos()
      return logged("Writing the row of this node", rows.write(row))
    })

    let reportedAt = nanos() - rowNanos
    const report = Effect.suspend(() => {
      if (usage.unreported() === 0 && nanos() - reportedAt < rowNanos) return Effect.void
      reportedAt = nanos()
      return logged("Reporting the bytes of the table", bound.report)
    })

    let lookedAt = nanos() - sweptNanos
    let isWarned = false
    const warnIfUnswept = Effect.suspend(() => {
      if (nanos() - lookedAt < sweptNanos) return Effect.void
      lookedAt = nanos()
      const isUnswept = timeout("now")(sql<{ unswept: boolean }>`
        SELECT swept_at < clock_timestamp() - interval '${sql.literal(unsweptFor)}' AS unswept FROM ${state}`)
      return logged(
        "Reading when the tables were swept",
        Effect.flatMap(isUnswept, ([row]) => {
          const warns = row?.unswept === true && !isWarned
          isWarned = row?.unswept === true
          return warns
            ? Effect.logWarning(
              "The tables of the client metadata cache were not swept for a day, so what has expired fills them. " +
                `Provide Sweeper.layer in one program, or run each hour: ${
                  TableNames.command("sweep", settings.tables)
                }`
            )
            : Effect.void
        })
      )
    })

    const turn = Effect.zipRight(writeRow, Effect.zipRight(report, warnIfUnswept))

    // A database that does not answer must not delay the end of the program.
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(usage.unreported() === 0 ? Effect.void : usage.report, rows.remove).pipe(
        Effect.interruptible,
        Effect.timeoutOption("1 second"),
        Effect.ignore
      )
    )
    yield* Effect.forkScoped(Effect.zipRight(turn, Effect.forever(Effect.delay(turn, tickMillis))))
  })
