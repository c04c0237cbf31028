import type * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Instant } from "../Cache.js"
import { CacheError } from "../Cache.js"
import type { ClientId } from "../ClientId.js"
import type { AcceptedDocument, JsonObject } from "../ClientMetadata.js"
import { ClientMetadata } from "../ClientMetadata.js"
import { Issue } from "../Issue.js"
import * as Accepted from "./acceptedDocument.js"
import * as Lifetime from "./lifetime.js"
import * as metrics from "./metrics.js"
import type { Tables } from "./tables.js"

/** A row that is fresh and could be read, whatever rule set it was accepted under. */
export interface Found {
  readonly document: AcceptedDocument
  readonly fetchedAt: Instant
  readonly remainingMillis: number
}

interface Row {
  readonly client_id: string
  readonly ruleset: string
  readonly document: string
  readonly judgement: string
  readonly fetched_at: string
  readonly remaining: number
}

// What the validator found out beside the document itself, so that a read need not judge it again.
const Judgement = Schema.Struct({ authMethods: Schema.Array(Schema.String), warnings: Schema.Array(Issue) })
const decodeJudgement = Schema.decodeUnknownOption(Schema.parseJson(Judgement))
const decodeMetadata = Schema.decodeUnknownOption(Schema.parseJson(ClientMetadata), { onExcessProperty: "preserve" })

// A caller's transaction must not lend its clock to an expiry check, nor roll back what was stored.
const outsideTransactions = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<never>) => Context.omit(SqlClient.TransactionConnection)(context as Context.Context<any>)
  )

/** The statements of the Postgres cache, each one round trip and each bounded in time. */
export const make = (
  client: PgClient.PgClient,
  tables: Tables,
  options: { readonly timeout: Duration.DurationInput }
) => {
  const sql = client.withoutTransforms()
  const documents = sql(tables.documents)
  const state = sql(tables.state)

  const overdue = `no answer within ${Duration.format(Duration.decode(options.timeout))}`

  const bounded =
    (operation: CacheError["operation"]) => <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, CacheError> =>
      effect.pipe(
        outsideTransactions,
        Effect.mapError((cause) => new CacheError({ operation, cause })),
        // Cancelling a query can wait for a free connection, so it is left behind and not waited for.
        Effect.disconnect,
        Effect.timeoutFail({
          duration: options.timeout,
          onTimeout: () => new CacheError({ operation, cause: new Error(overdue) })
        })
      )

  const found = (row: Row): Option.Option<Found> =>
    Option.gen(function*() {
      const metadata = yield* decodeMetadata(row.document)
      if (metadata.client_id !== row.client_id) return yield* Option.none()
      const judgement = yield* decodeJudgement(row.judgement)
      return {
        document: Accepted.make({
          clientId: row.client_id as ClientId,
          json: metadata as unknown as JsonObject,
          authMethods: judgement.authMethods,
          warnings: judgement.warnings,
          ruleset: row.ruleset
        }),
        fetchedAt: BigInt(row.fetched_at),
        remainingMillis: row.remaining
      }
    })

  return {
    version: sql<{ version: number }>`SELECT version FROM ${state}`,

    now: bounded("now")(Effect.map(
      sql<{ now: string }>`SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS now`,
      (rows) => BigInt(rows[0]!.now)
    )),

    get: (clientId: ClientId): Effect.Effect<Option.Option<Found>, CacheError> =>
      Effect.map(
        // As text, so that no setting of the client's type parsers or name transforms reaches the document.
        bounded("get")(sql<Row>`SELECT client_id, ruleset, document::text, judgement::text,
            (extract(epoch FROM fetched_at) * 1000000)::bigint::text AS fetched_at,
            (extract(epoch FROM expires_at - now()) * 1000)::float8 AS remaining
          FROM ${documents}
          WHERE client_id = ${clientId} AND expires_at > now() AND document IS NOT NULL
            AND fetched_at > (SELECT evicted_at FROM ${state})`),
        ([row]) => {
          if (row === undefined) return Option.none()
          const read = found(row)
          if (Option.isNone(read)) metrics.damagedRows.unsafeUpdate(1, [])
          return read
        }
      ),

    put: (
      document: AcceptedDocument,
      { fetchedAt, timeToLive }: { readonly fetchedAt: Instant; readonly timeToLive: Duration.DurationInput }
    ): Effect.Effect<boolean, CacheError> => {
      const judgement = JSON.stringify({ authMethods: document.authMethods, warnings: document.warnings })
      return Effect.map(
        bounded("put")(sql`INSERT INTO ${documents} AS kept
            (client_id, ruleset, document, judgement, fetched_at, expires_at)
          SELECT ${document.clientId}, ${document.ruleset}, ${JSON.stringify(document.json)}::jsonb, ${judgement}::jsonb,
            begun.began_at, now() + ${Lifetime.toMillis(timeToLive)}::float8 * interval '1 millisecond'
          FROM (SELECT to_timestamp(${String(fetchedAt)}::float8 / 1000000) AS began_at) AS begun, ${state} AS state
          WHERE begun.began_at > state.evicted_at
          ON CONFLICT (client_id) DO UPDATE SET
            ruleset = excluded.ruleset, document = excluded.document, judgement = excluded.judgement,
            fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
          WHERE kept.fetched_at <= excluded.fetched_at
          RETURNING true`),
        (rows) => rows.length > 0
      )
    },

    evict: (clientId: ClientId): Effect.Effect<void, CacheError> =>
      Effect.asVoid(bounded("evict")(sql`INSERT INTO ${documents}
          (client_id, ruleset, fetched_at, expires_at)
        VALUES (${clientId}, '', clock_timestamp(), now() + ${Lifetime.evictionMillis} * interval '1 millisecond')
        ON CONFLICT (client_id) DO UPDATE SET
          ruleset = excluded.ruleset, document = NULL, judgement = NULL,
          fetched_at = excluded.fetched_at, expires_at = excluded.expires_at`)),

    evictAll: Effect.asVoid(bounded("evictAll")(sql`UPDATE ${state} SET evicted_at = clock_timestamp()`)),

    /** The moment a sweep takes as its boundary, once for all its batches (SWP-01). */
    boundary: bounded("sweep")(Effect.map(
      sql<{ boundary: string }>`SELECT now()::text AS boundary`,
      (rows) => rows[0]!.boundary
    )),

    /** Deletes one batch of what expired before the boundary. Rows that someone is writing are skipped (SWP-04). */
    sweepBatch: (boundary: string, batchSize: number): Effect.Effect<number, CacheError> =>
      Effect.map(
        bounded("sweep")(sql`DELETE FROM ${documents} WHERE client_id = ANY(ARRAY(
            SELECT client_id FROM ${documents}
            WHERE expires_at < ${boundary}::timestamptz
            ORDER BY expires_at LIMIT ${batchSize}
            FOR UPDATE SKIP LOCKED
          )) RETURNING 1`),
        (rows) => rows.length
      )
  }
}
