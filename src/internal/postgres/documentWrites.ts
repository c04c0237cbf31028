import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Cache, CacheError } from "../../Cache.js"
import * as ClientId from "../../ClientId.js"
import * as metrics from "../metrics.js"
import * as Accepted from "../rules/acceptedDocument.js"
import * as Lifetime from "../storedLifetime.js"
import type { Settings } from "./options.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"

/** An instant later than this is damaged, or older than a correction of the database's clock. */
const clockErrorMillis = 60_000

/** Maximum number of documents that one write evicts from its origin. More are there only after the limit was lowered. */
const maxOverflow = 100

/** The writes of documents. Each is one round trip, and `put` makes a second one for the limit per origin. */
export const make = (
  { changing, deleteUnlocked, documents, instant, later, sql, state, timestamp }: Statements,
  { maxPerOrigin, staleMillis }: Settings,
  timeout: Run<CacheError>
): Pick<Cache["Type"], "now" | "put" | "supersede" | "withdraw" | "evict" | "evictAll"> => {
  // An eviction of all clients at a future instant is older than a correction of the database's clock, and would stop all
  // fetches until then. It counts as one of now. Ignoring it instead would bring back what it evicted.
  const correctEviction = (operation: CacheError["operation"]): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout(operation)(sql`UPDATE ${state} SET evicted_at = clock_timestamp()
        WHERE evicted_at > ${later(clockErrorMillis)}`)
    )

  // This runs after the write and not in it, because some databases change a table only once in a statement. It skips
  // rows that others are writing, and rows written since they were found. The next write deletes what this one leaves.
  const evictOverflow = (clientId: ClientId.ClientId, origin: string): Effect.Effect<void, CacheError> =>
    Effect.flatMap(
      timeout("put")(sql<{ client_id: string; kept_until: string }>`
        SELECT client_id, ${instant("kept_until")} AS kept_until FROM (
          SELECT client_id, kept_until FROM ${documents}
          WHERE origin = ${origin} AND document IS NOT NULL AND client_id <> ${clientId}
          ORDER BY kept_until DESC OFFSET ${maxPerOrigin - 1} LIMIT ${maxOverflow}
        ) AS overflow ORDER BY overflow.kept_until DESC`),
      ([last, ...others]) => {
        if (last === undefined) return Effect.void
        const overflow = sql.in("client_id", [last, ...others].map((row) => row.client_id))
        return Effect.map(
          timeout("put")(deleteUnlocked(
            documents,
            "kept_until",
            sql`${overflow} AND document IS NOT NULL AND kept_until <= ${timestamp(BigInt(last.kept_until))}`,
            maxOverflow
          )),
          (count) => {
            metrics.evictedFromOrigin.unsafeUpdate(count, [])
          }
        )
      }
    )

  const countEviction = () => {
    metrics.evictedByCall.unsafeUpdate(1, [])
  }

  return {
    now: timeout("now")(Effect.map(
      sql<{ now: string }>`SELECT ${instant("clock_timestamp()")} AS now`,
      (rows) => BigInt(Arr.unsafeGet(rows, 0).now)
    )),

    put: (document, { fetchedAt, mustRevalidate = false, timeToLive }) => {
      Accepted.assertAccepted(document)
      const { clientId } = document
      const origin = ClientId.origin(clientId)
      const neverMatched = document.metadata.redirect_uris?.filter((uri) => !document.redirectUris.includes(uri)) ?? []
      const judgement = JSON.stringify({
        authMethods: document.authMethods,
        neverMatched,
        warnings: document.warnings
      })
      const keptMillis = mustRevalidate ? 0 : staleMillis
      // Two writers of one row wait for each other, so the comparison sees what is stored last.
      const stored = Effect.map(
        timeout("put")(changing(clientId, ({ notify, raise }) =>
          sql`WITH written AS (
            INSERT INTO ${documents} AS kept
              (client_id, origin, ruleset, document, judgement, fetched_at, expires_at, kept_until, withdrawn)
            SELECT ${clientId}, ${origin}, ${document.ruleset},
              ${JSON.stringify(document.json)}::jsonb, ${judgement}::jsonb,
              begun.began_at, begun.expires_at,
              begun.expires_at + ${keptMillis}::float8 * interval '1 millisecond', ${mustRevalidate}
            FROM ${state} AS state, (
              SELECT ${timestamp(fetchedAt)} AS began_at, ${later(Lifetime.toMillis(timeToLive))} AS expires_at
            ) AS begun
            WHERE begun.began_at > state.evicted_at
            ON CONFLICT (client_id) DO UPDATE SET
              origin = excluded.origin, ruleset = excluded.ruleset, document = excluded.document,
              judgement = excluded.judgement, fetched_at = excluded.fetched_at, expires_at = excluded.expires_at,
              kept_until = excluded.kept_until, withdrawn = excluded.withdrawn, withdrawn_for = excluded.withdrawn_for
            WHERE kept.fetched_at <= excluded.fetched_at OR kept.fetched_at > ${later(clockErrorMillis)}
            RETURNING 1
          )${raise} SELECT ${notify} FROM written`)),
        (rows) => rows.length > 0
      )
      return Effect.tap(stored, (isStored) =>
        isStored
          ? Effect.catchAll(evictOverflow(clientId, origin), (error) =>
            Effect.logDebug(
              "Deleting the surplus documents of an origin failed; the next write tries again",
              Cause.fail(error)
            ))
          : correctEviction("put"))
    },

    supersede: (clientId, fetchedAt) =>
      Effect.map(
        timeout("supersede")(changing(clientId, ({ notify, raise }) =>
          sql<{ current: boolean }>`WITH written AS (
            UPDATE ${documents} SET
              ruleset = '', document = NULL, judgement = NULL, fetched_at = ${timestamp(fetchedAt)},
              expires_at = tombstone.kept_until, kept_until = tombstone.kept_until
            FROM (SELECT ${later(Lifetime.tombstoneMillis)} AS kept_until) AS tombstone
            WHERE client_id = ${clientId} AND document IS NOT NULL AND fetched_at <= ${timestamp(fetchedAt)}
            RETURNING 1
          )${raise} SELECT
            evicted_at < ${timestamp(fetchedAt)} AND NOT EXISTS (
              SELECT 1 FROM ${documents} WHERE client_id = ${clientId} AND fetched_at > ${timestamp(fetchedAt)}
            ) AS current,
            (SELECT ${notify} FROM written) AS notified
          FROM ${state}`)),
        (rows) => Arr.unsafeGet(rows, 0).current
      ).pipe(Effect.tap((current) => current ? Effect.void : correctEviction("supersede"))),

    // Other nodes may keep expired documents even if this one does not.
    withdraw: (clientId, { fetchedAt, ruleset }) =>
      Effect.asVoid(
        timeout("withdraw")(sql`UPDATE ${documents} SET ${
          ruleset === undefined
            ? sql`withdrawn = true, kept_until = expires_at`
            : sql`withdrawn_for = array_append(array_remove(withdrawn_for, ${ruleset}), ${ruleset})`
        } WHERE client_id = ${clientId} AND fetched_at <= ${timestamp(fetchedAt)} AND kept_until > expires_at`)
      ),

    evict: (clientId) =>
      Effect.map(
        timeout("evict")(changing(clientId, ({ notify, raise }) =>
          sql`WITH written AS (
            INSERT INTO ${documents} (client_id, origin, ruleset, fetched_at, expires_at, kept_until)
            SELECT ${clientId}, ${ClientId.origin(clientId)}, '', clock_timestamp(), kept_until, kept_until
            FROM (SELECT ${later(Lifetime.tombstoneMillis)} AS kept_until) AS tombstone
            ON CONFLICT (client_id) DO UPDATE SET
              ruleset = excluded.ruleset, document = NULL, judgement = NULL, fetched_at = excluded.fetched_at,
              expires_at = excluded.expires_at, kept_until = excluded.kept_until
            RETURNING 1
          )${raise} SELECT ${notify} FROM written`)),
        countEviction
      ),

    // Every heartbeat reads the generation, so a notification is not needed. One that a stranger repeats would clear the
    // memory of every node.
    evictAll: Effect.map(
      timeout("evictAll")(sql`UPDATE ${state} SET evicted_at = clock_timestamp(), generation = generation + 1`),
      countEviction
    )
  }
}
