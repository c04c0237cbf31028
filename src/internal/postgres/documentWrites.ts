import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Cache, CacheError } from "../../Cache.js"
import * as ClientId from "../../ClientId.js"
import * as metrics from "../metrics.js"
import * as Accepted from "../rules/acceptedDocument.js"
import { domainOf, siteOf } from "../rules/site.js"
import * as Lifetime from "../storedLifetime.js"
import type { Settings } from "./options.js"
import type { Statements } from "./sqlFragments.js"
import { deleteFound } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import type { TableBound } from "./tableBound.js"
import type { TableUsage } from "./tableUsage.js"

/** An instant later than this is damaged, or older than a correction of the database's clock. */
const clockErrorMillis = 60_000

/** Maximum number of documents that one write evicts from its site. More are there only after the limit was lowered. */
const maxOverflow = 100

/**
 * The writes of documents. Each is one round trip, and `put` makes a second one for the limit per site. Each adds to the
 * usage by how many bytes it changed the table.
 */
export const make = (
  statements: Statements,
  { maxPerSite, staleMillis }: Settings,
  timeout: Run<CacheError>,
  { bound, usage }: { readonly bound: TableBound; readonly usage: TableUsage }
): Pick<Cache["Type"], "now" | "put" | "supersede" | "withdraw" | "evict" | "evictAll"> => {
  const { bytesOfRow, bytesOfTexts, changing, clients, documents, fetchedAtOf, instant, isConfirmed } = statements
  const { later, sql, state, timestamp } = statements

  // An eviction of all clients at a future instant is older than a correction of the database's clock, and would stop all
  // fetches until then. It counts as one of now. Ignoring it instead would bring back what it evicted.
  const correctEviction = (operation: CacheError["operation"]): Effect.Effect<void, CacheError> =>
    Effect.asVoid(
      timeout(operation)(sql`UPDATE ${state} SET evicted_at = clock_timestamp()
        WHERE evicted_at > ${later(clockErrorMillis)}`)
    )

  // This runs after the write and not in it, because some databases change a table only once in a statement. It skips
  // rows that others are writing, and rows written since they were found. The next write deletes what this one leaves.
  // Of a site that is not full, only its place in the index is read.
  const evictOverflow = (site: string): Effect.Effect<void, CacheError> =>
    Effect.flatMap(
      timeout("put")(sql<{ client_id: string; fetched_at: string }>`
        SELECT stored.client_id, ${fetchedAtOf("stored")} AS fetched_at
        FROM ${documents} AS stored LEFT JOIN ${clients} AS client
          ON client.client_id = stored.client_id AND ${isConfirmed("client")}
        WHERE stored.site = ${site} AND stored.document IS NOT NULL
          AND EXISTS (SELECT FROM ${documents} WHERE site = ${site} AND document IS NOT NULL OFFSET ${maxPerSite})
        ORDER BY client.used_at IS NULL, client.used_at DESC, stored.fetched_at DESC, stored.client_id DESC
        OFFSET ${maxPerSite} LIMIT ${maxOverflow}`),
      (rows) =>
        rows.length === 0 ? Effect.void : Effect.map(
          timeout("put")(
            deleteFound(statements, rows.map((row) => ({ clientId: row.client_id, fetchedAt: row.fetched_at })))
          ),
          ({ bytes, count }) => {
            usage.add(-bytes)
            metrics.evictedFromSite.unsafeUpdate(count, [])
          }
        )
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
      const site = siteOf(clientId)
      const neverMatched = document.metadata.redirect_uris?.filter((uri) => !document.redirectUris.includes(uri)) ?? []
      const text = JSON.stringify(document.json)
      const judgement = JSON.stringify({
        authMethods: document.authMethods,
        neverMatched,
        warnings: document.warnings
      })
      const keptMillis = mustRevalidate ? 0 : staleMillis
      // Two writers of one row wait for each other, so the comparison sees what is stored last, and so does the difference.
      const stored = Effect.map(
        bound.writing(
          text.length + judgement.length,
          timeout("put")(changing(clientId, ({ notify, raise }) =>
            sql<{ difference: number }>`WITH written AS (
            INSERT INTO ${documents} AS kept (
              client_id, origin, site, domain, ruleset, document, judgement, bytes,
              fetched_at, expires_at, kept_until, withdrawn
            )
            SELECT ${clientId}, ${ClientId.origin(clientId)}, ${site}, ${domainOf(clientId)}, ${document.ruleset},
              given.document::jsonb, given.judgement::jsonb,
              ${bytesOfTexts("given.document", "given.judgement", "given.client_id")},
              begun.began_at, begun.expires_at,
              begun.expires_at + ${keptMillis}::float8 * interval '1 millisecond', ${mustRevalidate}
            FROM ${state} AS state, (
              SELECT ${timestamp(fetchedAt)} AS began_at, ${later(Lifetime.toMillis(timeToLive))} AS expires_at
            ) AS begun, (
              SELECT ${clientId}::text AS client_id, ${text}::text AS document, ${judgement}::text AS judgement
            ) AS given
            WHERE begun.began_at > state.evicted_at
            ON CONFLICT (client_id) DO UPDATE SET
              origin = excluded.origin, site = excluded.site, domain = excluded.domain, ruleset = excluded.ruleset,
              document = excluded.document, judgement = excluded.judgement,
              replaced_bytes = ${bytesOfRow("kept")}, bytes = excluded.bytes,
              fetched_at = excluded.fetched_at, expires_at = excluded.expires_at,
              kept_until = excluded.kept_until, withdrawn = excluded.withdrawn, withdrawn_for = excluded.withdrawn_for
            WHERE kept.fetched_at <= excluded.fetched_at OR kept.fetched_at > ${later(clockErrorMillis)}
            RETURNING bytes - coalesce(replaced_bytes, 0) AS difference
          )${raise} SELECT ${notify}, difference FROM written`))
        ),
        (rows) => rows.length > 0
      )
      return Effect.tap(stored, (isStored) =>
        isStored
          ? Effect.catchAll(evictOverflow(site), (error) =>
            Effect.logDebug(
              "Deleting the surplus documents of a site failed; the next write tries again",
              Cause.fail(error)
            ))
          : correctEviction("put"))
    },

    supersede: (clientId, fetchedAt) =>
      Effect.map(
        timeout("supersede")(changing(clientId, ({ notify, raise }) =>
          sql<{ current: boolean; freed: number | null }>`WITH written AS (
            UPDATE ${documents} AS kept SET
              replaced_bytes = ${bytesOfRow("kept")}, bytes = NULL,
              ruleset = '', document = NULL, judgement = NULL, fetched_at = ${timestamp(fetchedAt)},
              expires_at = tombstone.kept_until, kept_until = tombstone.kept_until
            FROM (SELECT ${later(Lifetime.tombstoneMillis)} AS kept_until) AS tombstone
            WHERE client_id = ${clientId} AND document IS NOT NULL AND fetched_at <= ${timestamp(fetchedAt)}
            RETURNING replaced_bytes
          )${raise} SELECT
            evicted_at < ${timestamp(fetchedAt)} AND NOT EXISTS (
              SELECT 1 FROM ${documents} WHERE client_id = ${clientId} AND fetched_at > ${timestamp(fetchedAt)}
            ) AS current,
            (SELECT ${notify} FROM written) AS notified,
            (SELECT replaced_bytes FROM written) AS freed
          FROM ${state}`)),
        (rows) => {
          const { current, freed } = Arr.unsafeGet(rows, 0)
          usage.add(-(freed ?? 0))
          return current
        }
      ).pipe(Effect.tap((current) =>
        current ? Effect.void : correctEviction("supersede")
      )),

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
          sql<{ freed: number }>`WITH written AS (
            INSERT INTO ${documents} AS kept (client_id, origin, ruleset, fetched_at, expires_at, kept_until)
            SELECT ${clientId}, ${ClientId.origin(clientId)}, '', clock_timestamp(), kept_until, kept_until
            FROM (SELECT ${later(Lifetime.tombstoneMillis)} AS kept_until) AS tombstone
            ON CONFLICT (client_id) DO UPDATE SET
              replaced_bytes = ${bytesOfRow("kept")}, bytes = NULL,
              ruleset = excluded.ruleset, document = NULL, judgement = NULL, fetched_at = excluded.fetched_at,
              expires_at = excluded.expires_at, kept_until = excluded.kept_until
            RETURNING coalesce(replaced_bytes, 0) AS freed
          )${raise} SELECT ${notify}, freed FROM written`)),
        (rows) => {
          usage.add(-Arr.unsafeGet(rows, 0).freed)
          countEviction()
        }
      ),

    // Every heartbeat reads the generation, so a notification is not needed. One that a stranger repeats would clear the
    // memory of every node.
    evictAll: Effect.map(
      timeout("evictAll")(sql`UPDATE ${state} SET evicted_at = clock_timestamp(), generation = generation + 1`),
      countEviction
    )
  }
}
