import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { Cache, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import * as metrics from "../metrics.js"
import type { Claimed, Lease, PostgresLeases } from "./leases.js"
import { type Find, servable } from "./reads.js"

/** A holder that gives no sign of life for this long is taken to be dead. */
const leaseMillis = 3000

/** Waits until a client's lease may have been given up, or for so long at most. */
export type WaitForRelease = (clientId: ClientId, atMostMillis: number) => Effect.Effect<void>

const onlyWait: WaitForRelease = (_, atMostMillis) => Effect.sleep(atMostMillis)

const keep = (leases: PostgresLeases, lease: Lease) =>
  leases.renew(lease, leaseMillis).pipe(
    Effect.catchAll((error) =>
      Effect.as(Effect.logDebug("The lease on a fetch was not renewed", Cause.fail(error)), true)
    ),
    // Who has lost the lease goes on: its document is stored unless a later one is.
    Effect.repeat(Schedule.spaced(leaseMillis / 3).pipe(Schedule.whileInput((held: boolean) => held))),
    Effect.delay(leaseMillis / 3)
  )

/** Elections by a lease in a row: of the nodes that miss one client, one fetches and the others wait for its result. */
export const make =
  (leases: PostgresLeases, find: Find, wait: WaitForRelease = onlyWait): Cache["Type"]["elect"] =>
  (clientId, ruleset, options) =>
    Effect.gen(function*() {
      const minRemainingMillis = Duration.toMillis(options?.minRemaining ?? 0)
      let following: Instant | undefined = undefined
      let pause = 25
      while (true) {
        const claimed: Claimed = yield* Effect.acquireRelease(
          leases.claim(clientId, leaseMillis, following),
          (claimed) =>
            claimed._tag === "Won"
              // A lease that is not given up runs out.
              ? Effect.ignore(leases.release({ clientId, beganAt: claimed.beganAt }))
              : Effect.void
        )
        if (claimed._tag === "Held" && claimed.failure !== undefined && claimed.beganAt === following) {
          return { _tag: "Failed", failure: claimed.failure } as const
        }
        if (claimed._tag === "Held") {
          if (following === undefined) metrics.coalesced.unsafeUpdate(1, [])
          following = claimed.beganAt
          yield* wait(clientId, pause * (yield* Random.nextRange(0.8, 1.2)))
          pause = Math.min(pause * 2, 500)
        }
        // Also after winning: the last holder may have stored its document between our look-up and our claim.
        const entry = servable(ruleset)(yield* find(clientId))
        if (Option.isSome(entry) && entry.value.remainingMillis > minRemainingMillis) {
          return { _tag: "Found", entry: entry.value } as const
        }
        if (claimed._tag === "Won") {
          const lease = { clientId, beganAt: claimed.beganAt }
          yield* Effect.forkScoped(keep(leases, lease))
          return {
            _tag: "Elected",
            fetchedAt: lease.beganAt,
            fail: (failure: string) => Effect.ignore(leases.fail(lease, failure))
          } as const
        }
      }
    })
