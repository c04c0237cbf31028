/** Elections: of the nodes that miss one client, one acquires its lease and fetches, and the others wait for the result. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { Cache, CacheError, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import * as metrics from "../metrics.js"
import { type Find, servable } from "./reads.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"

/** A holder that has not renewed its lease for this long is taken to be dead. */
const leaseMillis = 3000

/** How long the failure of a fetch is kept for the nodes that waited for it. No other node receives it. */
const failureMillis = 5000

/** Waits until the lease on a client may have been released, or for so many milliseconds. */
export type WaitForRelease = (clientId: ClientId, timeoutMillis: number) => Effect.Effect<void>

const onlyWait: WaitForRelease = (_, timeoutMillis) => Effect.sleep(timeoutMillis)

/** Elects by leases. */
export const make = (
  statements: Statements,
  timeout: Run<CacheError>,
  find: Find,
  wait: WaitForRelease = onlyWait
): Cache["Type"]["elect"] => {
  const leases = makeLeases(statements, timeout)

  const keepAlive = (lease: Lease) =>
    leases.renew(lease).pipe(
      Effect.catchAll((error) =>
        Effect.as(
          Effect.logDebug("Renewing the lease on a fetch failed; the next turn tries again", Cause.fail(error)),
          true
        )
      ),
      // A holder that lost its lease goes on: its document is stored unless a later one is there.
      Effect.repeat(Schedule.spaced(leaseMillis / 3).pipe(Schedule.whileInput((held: boolean) => held))),
      Effect.delay(leaseMillis / 3)
    )

  return (clientId, reader, options) =>
    Effect.gen(function*() {
      const minRemainingMillis = Duration.toMillis(options?.minRemaining ?? 0)
      let following: Instant | undefined = undefined
      let pause = 25
      while (true) {
        const result: Acquisition = yield* Effect.acquireRelease(
          leases.acquire(clientId, following),
          (result) =>
            result._tag === "Acquired"
              // A lease that could not be released expires.
              ? Effect.ignore(leases.release({ clientId, beganAt: result.beganAt }))
              : Effect.void
        )
        if (result._tag === "Busy" && result.failure !== undefined && result.beganAt === following) {
          return { _tag: "Failed", failure: result.failure } as const
        }
        if (result._tag === "Busy") {
          if (following === undefined) metrics.coalesced.unsafeUpdate(1, [])
          following = result.beganAt
          yield* wait(clientId, pause * (yield* Random.nextRange(0.8, 1.2)))
          pause = Math.min(pause * 2, 500)
        }
        // Also with the lease: its last holder may have stored a document between our read and our acquisition.
        const entry = yield* servable(reader)(yield* find(clientId))
        if (Option.isSome(entry) && entry.value.remainingMillis > minRemainingMillis) {
          return { _tag: "Found", entry: entry.value } as const
        }
        if (result._tag === "Acquired") {
          const lease = { clientId, beganAt: result.beganAt }
          yield* Effect.forkScoped(keepAlive(lease))
          return {
            _tag: "Elected",
            fetchedAt: lease.beganAt,
            fail: (failure: string) => Effect.ignore(leases.fail(lease, failure))
          } as const
        }
      }
    })
}

/** A lease as its holder knows it. */
interface Lease {
  readonly clientId: ClientId
  readonly beganAt: Instant
}

/** The result of trying to acquire a lease. */
type Acquisition =
  | { readonly _tag: "Acquired"; readonly beganAt: Instant }
  | { readonly _tag: "Busy"; readonly beganAt: Instant; readonly failure: string | undefined }

const makeLeases = (
  { instant, later, leases, nodeId, releasing, sql, timestamp }: Statements,
  timeout: Run<CacheError>
) => ({
  /**
   * Acquires the lease on a client if no node holds it, or if its holder stopped renewing it. A lease whose fetch failed
   * is free too, except for a caller that waited for that fetch (`following` is the fetch it waited for).
   */
  acquire: (clientId: ClientId, following: Instant | undefined): Effect.Effect<Acquisition, CacheError> =>
    Effect.map(
      timeout("elect")(sql<{ acquired: string | null; began_at: string | null; failure: string | null }>`
        WITH acquired AS (
          INSERT INTO ${leases} AS held (client_id, holder, began_at, expires_at)
          VALUES (${clientId}, ${nodeId}, clock_timestamp(), ${later(leaseMillis)})
          ON CONFLICT (client_id) DO UPDATE SET
            holder = excluded.holder, began_at = excluded.began_at, expires_at = excluded.expires_at, failure = NULL
          WHERE held.expires_at <= clock_timestamp() OR (
            held.failure IS NOT NULL
              AND held.began_at IS DISTINCT FROM ${following === undefined ? sql`NULL` : timestamp(following)}
          )
          RETURNING ${instant("began_at")} AS began_at
        )
        SELECT (SELECT began_at FROM acquired) AS acquired, ${instant("held.began_at")} AS began_at, held.failure
        FROM (SELECT 1) AS one LEFT JOIN ${leases} AS held ON held.client_id = ${clientId}`),
      (rows): Acquisition => {
        const { acquired, began_at, failure } = Arr.unsafeGet(rows, 0)
        return acquired !== null
          ? { _tag: "Acquired", beganAt: BigInt(acquired) }
          // Without a row, another node acquired the lease in the same moment; the next attempt sees it.
          : { _tag: "Busy", beganAt: BigInt(began_at ?? "0"), failure: failure ?? undefined }
      }
    ),

  /** Renews a lease; `false` if another node has acquired it since. */
  renew: ({ beganAt, clientId }: Lease): Effect.Effect<boolean, CacheError> =>
    Effect.map(
      timeout("elect")(sql`UPDATE ${leases} SET expires_at = ${later(leaseMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
          RETURNING 1`),
      (rows) => rows.length > 0
    ),

  release: ({ beganAt, clientId }: Lease): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout("elect")(releasing(clientId, ({ notify }) =>
        sql`WITH written AS (
          DELETE FROM ${leases} WHERE client_id = ${clientId} AND holder = ${nodeId}
            AND began_at = ${timestamp(beganAt)} AND failure IS NULL
          RETURNING 1
        ) SELECT ${notify} FROM written`))
    ),

  /** Leaves the failure of the fetch on the lease, for the nodes that wait. */
  fail: ({ beganAt, clientId }: Lease, failure: string): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout("elect")(releasing(clientId, ({ notify }) =>
        sql`WITH written AS (
          UPDATE ${leases} SET failure = ${failure}, expires_at = ${later(failureMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
          RETURNING 1
        ) SELECT ${notify} FROM written`))
    )
})

/** Wakes the fibers that wait for a lease when a release notification arrives. */
export const makeReleaseNotifications = (): {
  readonly wait: WaitForRelease
  readonly released: (clientId: string) => void
} => {
  const waiters = new Map<string, Set<() => void>>()

  const remove = (clientId: string, wake: () => void): void => {
    const wakes = waiters.get(clientId)
    wakes?.delete(wake)
    if (wakes?.size === 0) waiters.delete(clientId)
  }

  return {
    wait: (clientId, timeoutMillis) =>
      Effect.async<void>((resume) => {
        const wake = () => resume(Effect.void)
        const others = waiters.get(clientId)
        if (others === undefined) waiters.set(clientId, new Set([wake]))
        else others.add(wake)
        return Effect.sync(() => remove(clientId, wake))
      }).pipe(Effect.timeoutOption(timeoutMillis), Effect.asVoid),
    released: (clientId) => {
      const wakes = waiters.get(clientId) ?? []
      waiters.delete(clientId)
      for (const wake of wakes) wake()
    }
  }
}
