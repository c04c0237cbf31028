/**
 * Elections: of the nodes that miss one client, one acquires its lease and fetches, and the others wait for the result.
 *
 * A node acquires its permit to fetch first, so a call that the limits refuse writes nothing. A node that waits writes once,
 * which asks for the notification of the release, or not at all without a permit. It then reads until the lease is free.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Cache, CacheError, Instant, Reader } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import * as metrics from "../metrics.js"
import * as BatchedQuery from "./batchedQuery.js"
import type { Settings } from "./options.js"
import type { OwnPool } from "./pool.js"
import { type Find, servable } from "./reads.js"
import type { Statements } from "./sqlFragments.js"
import type { Run, Timeout } from "./statementTimeout.js"

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
  pool: OwnPool["Type"] | undefined,
  settings: Settings,
  timeout: Timeout<CacheError>,
  find: Find,
  wait: WaitForRelease = onlyWait
): Cache["Type"]["elect"] => {
  const leases = makeLeases(statements, timeout)
  const readLease = makeRead(statements, pool, settings, timeout)

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

  return <Permit, E>(
    clientId: ClientId,
    reader: Reader,
    { minRemaining = 0, permit }: {
      readonly permit: Effect.Effect<Permit, E, Scope.Scope>
      readonly minRemaining?: Duration.DurationInput | undefined
    }
  ) =>
    Effect.gen(function*() {
      const clock = yield* Effect.clock
      const scope = yield* Effect.scope
      const calledAt = clock.unsafeCurrentTimeNanos()
      const waitedMillis = () => Number(clock.unsafeCurrentTimeNanos() - calledAt) / 1e6
      const minRemainingMillis = Duration.toMillis(minRemaining)

      const found = Effect.map(
        Effect.flatMap(find(clientId), servable(reader)),
        Option.filter(({ remainingMillis }) => remainingMillis > minRemainingMillis)
      )
      const read = Effect.suspend(() => readLease(clientId, waitedMillis()))
      const acquire = Effect.acquireRelease(
        Effect.suspend(() => leases.acquire(clientId, waitedMillis())),
        (lease) =>
          lease._tag === "Acquired"
            // A lease that could not be released expires.
            ? Effect.ignore(leases.release({ clientId, beganAt: lease.beganAt }))
            : Effect.void
      )

      let isFollower = false
      let pause = 25
      /** Waits by reads alone until no other node fetches. Returns what the fetch left: `undefined` for nothing. */
      const follow = Effect.gen(function*() {
        if (!isFollower) metrics.coalesced.unsafeUpdate(1, [])
        isFollower = true
        while (true) {
          yield* wait(clientId, pause * (yield* Random.nextRange(0.8, 1.2)))
          pause = Math.min(pause * 2, 500)
          const lease = yield* read
          if (lease._tag === "Failed") return lease
          const entry = yield* found
          if (Option.isSome(entry)) return { _tag: "Found", entry: entry.value } as const
          if (lease._tag === "Free") return undefined
        }
      })

      while (true) {
        const permitScope = yield* Scope.fork(scope, ExecutionStrategy.sequential)
        const permitted = yield* Effect.either(Scope.extend(permit, permitScope))
        const lease = yield* Either.isRight(permitted) ? acquire : read
        if (lease._tag !== "Acquired") yield* Scope.close(permitScope, Exit.void)
        if (lease._tag === "Failed") return lease
        if (lease._tag === "Held") {
          const left = yield* follow
          if (left !== undefined) return left
        } else {
          // The last holder may have stored a document between our read and our acquisition.
          const entry = yield* found
          if (Option.isSome(entry)) return { _tag: "Found", entry: entry.value } as const
        }
        if (Either.isLeft(permitted)) return yield* Effect.fail(permitted.left)
        if (lease._tag === "Acquired") {
          const held = { clientId, beganAt: lease.beganAt }
          yield* Effect.forkScoped(keepAlive(held))
          return {
            _tag: "Elected",
            permit: permitted.right,
            fetchedAt: held.beganAt,
            fail: (failure: string) => Effect.ignore(leases.fail(held, failure))
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

/** A lease of another node, whose fetch has not ended. */
interface Held {
  readonly _tag: "Held"
}

/** A fetch that failed after the call began, so its failure is the call's as well. */
interface Failed {
  readonly _tag: "Failed"
  readonly failure: string
}

const heldOrFailed = (failure: string | null): Held | Failed =>
  failure === null ? { _tag: "Held" } : { _tag: "Failed", failure }

/** Reads the lease on a client for a call that has waited for so long. */
const makeRead = (
  { leases, sql }: Statements,
  pool: OwnPool["Type"] | undefined,
  { tables }: Settings,
  timeout: Timeout<CacheError>
): (clientId: string, waitedMillis: number) => Effect.Effect<{ readonly _tag: "Free" } | Held | Failed, CacheError> => {
  const sinceFailure = `(${failureMillis} - date_part('epoch', expires_at - clock_timestamp()) * 1000)::text`
  const read = BatchedQuery.make(sql, pool, timeout, "elect", {
    name: `${tables.channel}_lease`,
    text: sql`SELECT client_id, failure, ${sql.literal(sinceFailure)} FROM ${leases}
      WHERE client_id = ANY($1::text[]) AND expires_at > clock_timestamp()`.compile()[0],
    values: (clientIds) => [clientIds],
    decode: ([, failure, sinceFailure]) => ({
      failure: typeof failure === "string" ? failure : null,
      sinceFailure: Number(sinceFailure)
    })
  })
  return (clientId, waitedMillis) =>
    Effect.map(
      read(clientId),
      Option.match({
        onNone: () => ({ _tag: "Free" }),
        onSome: ({ failure, sinceFailure }) =>
          failure !== null && sinceFailure >= waitedMillis ? { _tag: "Free" } : heldOrFailed(failure)
      })
    )
}

const makeLeases = (
  { instant, later, leases, nodeId, releasing, sql, timestamp }: Statements,
  timeout: Run<CacheError>
) => ({
  /**
   * Acquires the lease on a client for a call that has waited for so long, if no node holds it, or if its holder stopped
   * renewing it. A lease whose fetch failed is free too, unless the fetch failed after the call began. If the lease is not
   * free, this notes on it that a node waits.
   */
  acquire: (
    clientId: ClientId,
    waitedMillis: number
  ): Effect.Effect<{ readonly _tag: "Acquired"; readonly beganAt: Instant } | Held | Failed, CacheError> => {
    // The instant of the new row, because the clock would advance from one comparison to the next.
    const isFree = sql`(held.expires_at <= excluded.began_at OR (
      held.failure IS NOT NULL
        AND held.expires_at <= excluded.began_at + ${failureMillis - waitedMillis}::float8 * interval '1 millisecond'
    ))`
    return Effect.map(
      timeout("elect")(sql<{ awaited: boolean; began_at: string; failure: string | null }>`
        INSERT INTO ${leases} AS held (client_id, holder, began_at, expires_at)
        VALUES (${clientId}, ${nodeId}, clock_timestamp(), ${later(leaseMillis)})
        ON CONFLICT (client_id) DO UPDATE SET
          holder = CASE WHEN ${isFree} THEN excluded.holder ELSE held.holder END,
          began_at = CASE WHEN ${isFree} THEN excluded.began_at ELSE held.began_at END,
          expires_at = CASE WHEN ${isFree} THEN excluded.expires_at ELSE held.expires_at END,
          failure = CASE WHEN ${isFree} THEN NULL ELSE held.failure END,
          awaited = NOT ${isFree}
        RETURNING held.awaited, ${instant("held.began_at")} AS began_at, held.failure`),
      (rows) => {
        const { awaited, began_at, failure } = Arr.unsafeGet(rows, 0)
        return awaited ? heldOrFailed(failure) : { _tag: "Acquired", beganAt: BigInt(began_at) }
      }
    )
  },

  /** Renews a lease; `false` if another node has acquired it since, or if its fetch has failed. */
  renew: ({ beganAt, clientId }: Lease): Effect.Effect<boolean, CacheError> =>
    Effect.map(
      timeout("elect")(sql`UPDATE ${leases} SET expires_at = ${later(leaseMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
            AND failure IS NULL
          RETURNING 1`),
      (rows) => rows.length > 0
    ),

  release: ({ beganAt, clientId }: Lease): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout("elect")(releasing(clientId, ({ notify }) =>
        sql`WITH written AS (
          DELETE FROM ${leases} WHERE client_id = ${clientId} AND holder = ${nodeId}
            AND began_at = ${timestamp(beganAt)} AND failure IS NULL
          RETURNING awaited
        ) SELECT ${notify} FROM written WHERE awaited`))
    ),

  /** Leaves the failure of the fetch on the lease, for the nodes that wait. */
  fail: ({ beganAt, clientId }: Lease, failure: string): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout("elect")(releasing(clientId, ({ notify }) =>
        sql`WITH written AS (
          UPDATE ${leases} SET failure = ${failure}, expires_at = ${later(failureMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
          RETURNING awaited
        ) SELECT ${notify} FROM written WHERE awaited`))
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
