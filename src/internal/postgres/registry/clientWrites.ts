/**
 * The writes of clients. Each reads the row, changes its record, and writes it back in one statement if nobody else has
 * written it since. So no transaction is open between two statements, whatever is between this node and the database.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Instant } from "../../../Cache.js"
import { RegistryError } from "../../../ClientRegistry.js"
import type { ClientRecord } from "../../registry/clientRecord.js"
import * as Record from "../../registry/clientRecord.js"
import type { Run } from "../statementTimeout.js"
import * as ClientRows from "./clientRows.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"
import { textOf } from "./statements.js"

/** A document that stands in the row, or with its text, one to put there. */
export interface Written {
  readonly digest: string
  readonly text?: string | undefined
}

/** Each round at least one writer wins, so this many writers of one client at once would have to be faster. */
const maxRounds = 100

/** From this round on, writers wait a moment, so that they do not meet again. */
const politeRounds = 4

/** Changes the record of a client. A transition that returns its own record writes nothing. */
export type Change = (
  operation: RegistryError["operation"],
  clientId: string,
  transition: (record: ClientRecord<Written>, now: Instant) => ClientRecord<Written>
) => Effect.Effect<void, RegistryError>

interface Found extends ClientRows.Read<Written> {
  /** `undefined` if there is no row. */
  readonly revision: string | undefined
}

// A damaged text has no digest here, so that the next write replaces it.
const digestIfIntact = (document: "consented" | "accepted") =>
  `CASE WHEN ${document}_digest = encode(sha256(convert_to(${document}, 'UTF8')), 'hex') THEN ${document}_digest END`

const columns = [
  "revision::text",
  digestIfIntact("consented"),
  digestIfIntact("accepted"),
  ClientRows.columns
].join(", ")

type Row = readonly [revision: unknown, consented: unknown, accepted: unknown, ...ClientRows.Columns]

const decode = ([revision, consented, accepted, ...rest]: Row): Found => {
  const written = (column: unknown): Written | undefined => {
    const digest = textOf(column)
    return digest === undefined ? undefined : { digest }
  }
  return typeof revision === "string"
    ? { revision, ...ClientRows.decode(rest, { consented: written(consented), accepted: written(accepted) }) }
    : { revision: undefined, ...ClientRows.absent(rest[6]) }
}

export const make = (
  { clients, sql, timestamp }: Statements,
  { forgetAfter }: Settings,
  timeout: Run<RegistryError>
): Change => {
  // The instant of the database is read in any case, so there is a row in any case.
  const read = (clientId: string): Effect.Effect<Found, SqlError> =>
    Effect.map(
      sql`SELECT ${sql.literal(columns)} FROM (SELECT) AS always LEFT JOIN ${clients} ON client_id = ${clientId}`
        .values,
      // The query selects the columns of a `Row`.
      (rows) => decode(Arr.unsafeGet(rows, 0) as unknown as Row)
    )

  const document = (column: "consented" | "accepted", written: Written | undefined): Fragment =>
    written === undefined
      ? sql`NULL`
      : written.text === undefined
      ? sql.literal(`kept.${column}`)
      : sql`${written.text}`

  const insert = (clientId: string, record: ClientRecord<Written>, now: Instant) =>
    // The first revision of a row is no revision of an earlier row of the client.
    sql`INSERT INTO ${clients} AS kept (client_id, revision, consented, consented_digest, consented_at, used_at,
        accepted, accepted_digest, fetched_at, expires_at, withdrawals, evicted_at)
      VALUES (${clientId}, ${String(now)}::bigint, ${fields(record)}) ON CONFLICT DO NOTHING RETURNING 1`

  const fields = ({ accepted, consent, evictedAt, usedAt, withdrawals }: ClientRecord<Written>): Fragment =>
    sql`${document("consented", consent?.document)}, ${consent?.document.digest ?? null}, ${timestamp(consent?.at)}, ${
      timestamp(consent === undefined ? undefined : usedAt)
    }, ${document("accepted", accepted?.document)}, ${accepted?.document.digest ?? null}, ${
      timestamp(accepted?.fetchedAt)
    }, ${timestamp(accepted?.expiresAt)}, ${ClientRows.encodeWithdrawals(withdrawals)}::jsonb, ${
      timestamp(evictedAt === 0n ? undefined : evictedAt)
    }`

  const update = (clientId: string, revision: string, record: ClientRecord<Written>) =>
    sql`UPDATE ${clients} AS kept SET (revision, consented, consented_digest, consented_at, used_at,
        accepted, accepted_digest, fetched_at, expires_at, withdrawals, evicted_at) = ROW(kept.revision + 1, ${
      fields(record)
    }) WHERE client_id = ${clientId} AND revision = ${revision}::bigint RETURNING 1`

  const remove = (clientId: string, revision: string) =>
    sql`DELETE FROM ${clients} WHERE client_id = ${clientId} AND revision = ${revision}::bigint RETURNING 1`

  /** Returns whether nobody else has written the row since. */
  const write = (
    clientId: string,
    { now, revision }: Found,
    record: ClientRecord<Written>
  ): Effect.Effect<boolean, SqlError> => {
    const isEmpty = Record.isEmpty(record, now)
    if (revision === undefined) {
      return isEmpty ? Effect.succeed(true) : Effect.map(insert(clientId, record, now), Arr.isNonEmptyReadonlyArray)
    }
    return Effect.map(
      isEmpty ? remove(clientId, revision) : update(clientId, revision, record),
      Arr.isNonEmptyReadonlyArray
    )
  }

  return (operation, clientId, transition) => {
    const attempt = Effect.flatMap(timeout(operation)(read(clientId)), (found) => {
      const current = Record.at(found.record, found.now, forgetAfter)
      const next = transition(current, found.now)
      return next === current && !found.corrected
        ? Effect.succeed(true)
        : timeout(operation)(write(clientId, found, next))
    })
    const from = (round: number): Effect.Effect<void, RegistryError> =>
      Effect.flatMap(attempt, (done) => {
        if (done) return Effect.void
        if (round >= maxRounds) {
          return new RegistryError({ operation, cause: new Error("other calls changed the client each time") })
        }
        const next = Effect.suspend(() => from(round + 1))
        return round < politeRounds
          ? next
          : Effect.flatMap(Random.nextIntBetween(1, 10), (millis) => Effect.delay(next, millis))
      })
    return from(1)
  }
}
