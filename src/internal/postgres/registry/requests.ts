/** The requests for an approval. */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { ClientId } from "../../../ClientId.js"
import type { ApprovalRequest, RegistryError } from "../../../ClientRegistry.js"
import { requestBounds } from "../../registry/options.js"
import { siteOf } from "../../rules/site.js"
import { transactionDefectsToFailures } from "../sqlErrors.js"
import type { Run } from "../statementTimeout.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"
import { instantOf, seconds, textOf } from "./statements.js"

export const columns = `request.requested_by, ${seconds("request.requested_at")}`

/** Reads a request. Returns `undefined` for a client without one. */
export const decode = (clientId: ClientId, by: unknown, at: unknown): ApprovalRequest | undefined => {
  const [user, asked] = [textOf(by), instantOf(at)]
  return user === undefined || asked === undefined ? undefined : { clientId, by: user, at: asked }
}

export const make = (
  { decisions, requests, sql }: Statements,
  { tables, timeoutMillis }: Settings,
  timeout: Run<RegistryError>
) => {
  // The server ends the transaction of a node that is gone, because others wait for its lock.
  const lock = sql`SELECT set_config('lock_timeout', ${`${timeoutMillis}ms`}, true),
    set_config('statement_timeout', ${`${timeoutMillis}ms`}, true),
    set_config('idle_in_transaction_session_timeout', ${`${timeoutMillis}ms`}, true),
    pg_advisory_xact_lock(hashtext(${`${tables.channel} requests`}))`

  /** Inserts a request, unless there is one or a decision on the client. */
  const insert = (clientId: string, by: string) =>
    sql`INSERT INTO ${requests} (client_id, site, requested_by, requested_at)
      SELECT ${clientId}, ${siteOf(clientId)}, ${by}, clock_timestamp()
      WHERE NOT EXISTS (SELECT 1 FROM ${decisions} WHERE subject = ${clientId})
      ON CONFLICT (client_id) DO NOTHING RETURNING 1`

  const find = (clientId: string) => sql`SELECT 1 FROM ${requests} WHERE client_id = ${clientId}`

  // Each insertion adds one, so one is the surplus. It is the oldest of its site, or of the fullest site.
  const trim = (site: string) =>
    sql`DELETE FROM ${requests} WHERE client_id IN (
        SELECT client_id FROM ${requests} WHERE site = ${site} ORDER BY turn DESC OFFSET ${requestBounds.perSite}
      )`

  const trimAll = sql`DELETE FROM ${requests} WHERE (SELECT count(*) > ${requestBounds.total} FROM ${requests})
      AND client_id = (
        SELECT client_id FROM (
          SELECT client_id, turn, count(*) OVER (PARTITION BY site) AS size, min(turn) OVER (PARTITION BY site) AS oldest
          FROM ${requests}
        ) AS ranked ORDER BY size DESC, oldest, turn LIMIT 1
      )`

  return {
    record: (clientId: ClientId, by: string): Effect.Effect<"recorded" | "decided", RegistryError> =>
      timeout("requestApproval")(transactionDefectsToFailures(sql.withTransaction(
        Effect.gen(function*() {
          yield* lock
          if (!Arr.isNonEmptyReadonlyArray(yield* insert(clientId, by))) {
            return (yield* find(clientId)).length === 0 ? "decided" : "recorded"
          }
          yield* trim(siteOf(clientId))
          yield* trimAll
          return "recorded"
        })
      ))),
    /** The requests, the oldest first. */
    all: Effect.map(
      timeout("requests")(
        sql`SELECT client_id, ${sql.literal(columns)} FROM ${requests} AS request ORDER BY turn`.values
      ),
      (rows): ReadonlyArray<ApprovalRequest> =>
        rows.flatMap(([clientId, by, at]) => decode(clientId as ClientId, by, at) ?? [])
    )
  }
}
