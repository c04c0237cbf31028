/**
 * The bound of the table (CAC-25). Each node reports what its writes changed, once that is a small part of the bound or a
 * second has passed. A report returns what all nodes have reported, and above the bound one node evicts. So the table is
 * bounded without a sweeper, and writes share no row that each of them changes.
 *
 * A node writes no more than a thousandth of the bound before it reports. Above the bound by a twentieth it waits. So 25
 * nodes that write at once exceed the bound by no more than a tenth.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CacheError } from "../../Cache.js"
import type { Settings } from "./options.js"
import type { Timeout } from "./statementTimeout.js"
import type { Known, TableUsage } from "./tableUsage.js"

const unreportedPart = 0.001
const stopPart = 1.05

export interface TableBound {
  /** Runs a write of about so many bytes, once there is room for them. It returns the bytes by which it changed the table. */
  readonly writing: <A extends { readonly difference: number }>(
    bytes: number,
    write: Effect.Effect<ReadonlyArray<A>, CacheError>
  ) => Effect.Effect<ReadonlyArray<A>, CacheError>
  /** Reports what this node has added. Above the bound, or if the table should be measured, that starts. */
  readonly report: Effect.Effect<void, CacheError>
}

export const make = (
  { maxTableBytes, timeoutMillis }: Settings,
  timeout: Timeout<CacheError>,
  usage: TableUsage,
  relieve: Effect.Effect<number, CacheError>,
  nanos: () => bigint
): Effect.Effect<TableBound, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const allowance = maxTableBytes * unreportedPart
    const reportAt = allowance / 2
    let reserved = 0
    let isRelieving = false

    /** Starts to relieve the table, unless this node is doing so. */
    const startRelief: Effect.Effect<void> = Effect.suspend(() => {
      if (isRelieving) return Effect.void
      isRelieving = true
      return relieve.pipe(
        Effect.catchAllCause((cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.void
            : Effect.logDebug("Evicting documents from a full table failed; the next report tries again", cause)
        ),
        Effect.ensuring(Effect.sync(() => {
          isRelieving = false
        })),
        Effect.interruptible,
        Effect.forkIn(scope),
        Effect.asVoid
      )
    })

    const report = Effect.tap(
      usage.report,
      ({ bytes, due }: Known) => bytes > maxTableBytes || due ? startRelief : Effect.void
    )

    /** A write alone always fits, however large it is. */
    const fits = (bytes: number) =>
      usage.bytes() <= stopPart * maxTableBytes && usage.unreported() < reportAt &&
      (reserved === 0 || reserved + Math.max(usage.unreported(), 0) + bytes <= allowance)

    /** Waits for a reason why a write does not fit. */
    const wait = (until: bigint): Effect.Effect<void, CacheError> => {
      if (nanos() >= until) return Effect.fail(timeout.onTimeout("put"))
      if (usage.bytes() > stopPart * maxTableBytes) return Effect.zipRight(startRelief, Effect.sleep(20))
      return usage.unreported() >= reportAt ? report : Effect.sleep(5)
    }

    // An interruption between the last look and the reservation would leak it.
    const reserve = (bytes: number, until: bigint): Effect.Effect<void, CacheError> =>
      Effect.suspend(() => {
        if (!fits(bytes)) return Effect.flatMap(Effect.interruptible(wait(until)), () => reserve(bytes, until))
        reserved += bytes
        return Effect.void
      })

    return {
      report,
      writing: (bytes, write) =>
        Effect.acquireUseRelease(
          Effect.suspend(() => reserve(bytes, nanos() + BigInt(Math.ceil(timeoutMillis)) * 1_000_000n)),
          () =>
            Effect.tap(write, ([written]) => {
              if (written === undefined) return Effect.void
              usage.add(written.difference)
              return usage.unreported() < reportAt ? Effect.void : Effect.ignore(report)
            }),
          () =>
            Effect.sync(() => {
              reserved -= bytes
            })
        )
    }
  })
