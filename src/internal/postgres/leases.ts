import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { CacheError, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import type { Statements } from "./statements.js"
import type { Bounded } from "./timeout.js"

/** The state of a lease after a claim on it. */
export type Claimed =
  | { readonly _tag: "Won"; readonly beganAt: Instant }
  | { readonly _tag: "Held"; readonly beganAt: Instant; readonly failure: string | undefined }

/** A lease as its holder knows it. */
export interface Lease {
  readonly clientId: ClientId
  readonly beganAt: Instant
}

/** How long the failure of a fetch is left for the nodes that waited for it. Nobody else is answered with it. */
const failureMillis = 5000

/** Leases on the fetches of clients, by which the nodes of a cluster elect who fetches. */
export const make = (
  { announcement, instant, later, leases, nodeId, sql, timestamp }: Statements,
  bounded: Bounded
) => ({
  /**
   * Takes the lease on a client's fetch if nobody holds it, if its holder gave no sign of life, or if the fetch of its
   * holder failed and the caller did not wait for that one (`following` says which it waited for).
   */
  claim: (
    clientId: ClientId,
    leaseMillis: number,
    following: Instant | undefined
  ): Effect.Effect<Claimed, CacheError> =>
    Effect.map(
      bounded("elect")(sql<{ won: string | null; began_at: string | null; failure: string | null }>`WITH won AS (
            INSERT INTO ${leases} AS held (client_id, holder, began_at, expires_at)
            VALUES (${clientId}, ${nodeId}, clock_timestamp(), ${later(leaseMillis)})
            ON CONFLICT (client_id) DO UPDATE SET
              holder = excluded.holder, began_at = excluded.began_at, expires_at = excluded.expires_at, failure = NULL
            WHERE held.expires_at <= clock_timestamp() OR (
              held.failure IS NOT NULL AND held.began_at IS DISTINCT FROM ${
        following === undefined ? sql`NULL` : timestamp(following)
      }
            )
            RETURNING ${instant("began_at")} AS began_at
          )
          SELECT (SELECT began_at FROM won) AS won, ${instant("held.began_at")} AS began_at, held.failure
          FROM (SELECT 1) AS one LEFT JOIN ${leases} AS held ON held.client_id = ${clientId}`),
      (rows): Claimed => {
        const { began_at, failure, won } = Arr.unsafeGet(rows, 0)
        return won !== null
          ? { _tag: "Won", beganAt: BigInt(won) }
          // Without a row the lease was taken in the same moment: the next look shows it.
          : { _tag: "Held", beganAt: BigInt(began_at ?? "0"), failure: failure ?? undefined }
      }
    ),

  /** `false` if another node has taken the lease meanwhile. */
  renew: ({ beganAt, clientId }: Lease, leaseMillis: number): Effect.Effect<boolean, CacheError> =>
    Effect.map(
      bounded("elect")(sql`UPDATE ${leases} SET expires_at = ${later(leaseMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
          RETURNING 1`),
      (rows) => rows.length > 0
    ),

  release: ({ beganAt, clientId }: Lease): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      bounded("elect")(sql`WITH released AS (
          DELETE FROM ${leases} WHERE client_id = ${clientId} AND holder = ${nodeId}
            AND began_at = ${timestamp(beganAt)} AND failure IS NULL
          RETURNING 1
        ) SELECT ${announcement("released", clientId)} FROM released`)
    ),

  fail: ({ beganAt, clientId }: Lease, failure: string): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      bounded("elect")(sql`WITH failed AS (
          UPDATE ${leases} SET failure = ${failure}, expires_at = ${later(failureMillis)}
          WHERE client_id = ${clientId} AND holder = ${nodeId} AND began_at = ${timestamp(beganAt)}
          RETURNING 1
        ) SELECT ${announcement("released", clientId)} FROM failed`)
    )
})

export type PostgresLeases = ReturnType<typeof make>
