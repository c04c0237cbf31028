import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Cache, CacheError } from "../../Cache.js"
import * as ClientId from "../../ClientId.js"
import type { Statements } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"

/** Tells what the documents of the cluster, also the expired ones, say of a client that is to be fetched. */
export const make = (
  { documents, sql, state }: Statements,
  timeout: Run<CacheError>
): Cache["Type"]["knows"] => {
  const accepted = sql`document IS NOT NULL AND fetched_at > (SELECT evicted_at FROM ${state})`
  const ofSite = (clientId: ClientId.ClientId) => sql`origin = ${ClientId.origin(clientId)}`
  return (clientId) =>
    Effect.map(
      timeout("knows")(sql<{ known: "accepted" | "site" | "nothing" }>`SELECT CASE
        WHEN EXISTS (SELECT 1 FROM ${documents} WHERE client_id = ${clientId} AND ${accepted}) THEN 'accepted'
        WHEN EXISTS (SELECT 1 FROM ${documents} WHERE ${ofSite(clientId)} AND ${accepted}) THEN 'site'
        ELSE 'nothing'
      END AS known`),
      (rows) => Arr.unsafeGet(rows, 0).known
    )
}
