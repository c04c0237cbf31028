import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Cache, CacheError } from "../../Cache.js"
import { siteOf } from "../rules/site.js"
import * as BatchedQuery from "./batchedQuery.js"
import type { Settings } from "./options.js"
import type { OwnPool } from "./pool.js"
import type { Statements } from "./sqlFragments.js"
import type { Timeout } from "./statementTimeout.js"

const decode = ([, known]: ReadonlyArray<unknown>) => known === "accepted" || known === "site" ? known : "nothing"

/** Tells what the documents of the cluster, also the expired ones, say of a client that is to be fetched. */
export const make = (
  { documents, sql, state }: Statements,
  pool: OwnPool["Type"] | undefined,
  { tables }: Settings,
  timeout: Timeout<CacheError>
): Cache["Type"]["knows"] => {
  const documentWhere = (condition: string) =>
    sql`(SELECT 1 FROM ${documents} AS kept WHERE ${sql.literal(condition)} AND kept.document IS NOT NULL
      AND kept.fetched_at > (SELECT evicted_at FROM ${state}))`
  const read = BatchedQuery.make(sql, pool, timeout, "knows", {
    name: `${tables.channel}_knows`,
    text: sql`SELECT asked.client_id, CASE
        WHEN EXISTS ${documentWhere("kept.client_id = asked.client_id")} THEN 'accepted'
        WHEN EXISTS ${documentWhere("kept.site = asked.site")} THEN 'site'
        ELSE 'nothing'
      END FROM unnest($1::text[], $2::text[]) AS asked (client_id, site)`.compile()[0],
    values: (clientIds) => [clientIds, clientIds.map(siteOf)],
    decode
  })
  return (clientId) => Effect.map(read(clientId), Option.getOrElse(() => "nothing" as const))
}
