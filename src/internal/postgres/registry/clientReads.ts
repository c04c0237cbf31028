/**
 * The reads of clients. Those of `recall` are batched, and have a memory tier that trusts a row for less than a second. So
 * what one node does with a client counts on every node within a second, without a notification (REG-16).
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Instant } from "../../../Cache.js"
import type { ClientId } from "../../../ClientId.js"
import type { ApprovalRequest, RegistryError } from "../../../ClientRegistry.js"
import type { ClientRecord } from "../../registry/clientRecord.js"
import * as Record from "../../registry/clientRecord.js"
import * as Stored from "../../registry/documentRecord.js"
import * as BatchedQuery from "../batchedQuery.js"
import type { OwnPool } from "../pool.js"
import * as PreparedQuery from "../preparedQuery.js"
import * as ReadBatcher from "../readBatcher.js"
import type { Start, Timeout } from "../statementTimeout.js"
import * as ClientRows from "./clientRows.js"
import type { RecallMemory } from "./recallMemory.js"
import * as Requests from "./requests.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"
import { seconds, textOf } from "./statements.js"

/** The record of a client as it counts at an instant of the database. */
export interface Found {
  readonly record: ClientRecord
  readonly now: Instant
}

// The text of an equal document is sent once.
const columns = `client_id, CASE WHEN consented_digest IS DISTINCT FROM accepted_digest THEN consented END,
  consented_digest, accepted, accepted_digest, ${ClientRows.columns}`

type Row = readonly [
  clientId: string,
  consented: unknown,
  consentedDigest: unknown,
  accepted: unknown,
  acceptedDigest: unknown,
  ...ClientRows.Columns
]

export const make = (
  { clients, requests, sql }: Statements,
  pool: OwnPool["Type"] | undefined,
  { forgetAfter, tables }: Settings,
  timeout: Timeout<RegistryError>,
  memory: RecallMemory
): {
  /** Reads a client for `recall`. */
  readonly find: (clientId: string) => Effect.Effect<Found, RegistryError>
  /** Returns whether a client is confirmed, without reading its documents. */
  readonly isConfirmed: (clientId: string) => Effect.Effect<boolean, RegistryError>
  /** Reads a client and its request, past the memory tier. */
  readonly show: (
    clientId: ClientId
  ) => Effect.Effect<Found & { readonly request: ApprovalRequest | undefined }, RegistryError>
} => {
  const query = (name: string, condition: string): PreparedQuery.Query => ({
    name: `${tables.channel}_recall_${name}`,
    text: sql`SELECT ${sql.literal(columns)} FROM ${clients} WHERE client_id = ${sql.literal(condition)}`.compile()[0]
  })
  const one = query("one", "$1")
  const many = query("many", "ANY($1::text[])")

  const rows = (query: PreparedQuery.Query, values: Array<unknown>): Start<PreparedQuery.Rows> =>
    pool === undefined
      // A span for a batch has more than one caller, and costs more than the rest of a read.
      ? timeout.forked(Effect.withTracerEnabled(sql.unsafe(query.text, values).values, false))
      : PreparedQuery.start(pool, query, values)

  const decode = ([clientId, consentedText, consentedDigest, acceptedText, acceptedDigest, ...rest]: Row) => {
    const document = (text: unknown, digest: unknown) => {
      const [read, expected] = [textOf(text), textOf(digest)]
      return read === undefined || expected === undefined
        ? undefined
        : memory.document(clientId, read, expected) ?? Stored.read(read, expected)
    }
    const accepted = document(acceptedText, acceptedDigest)
    const consented = consentedDigest === acceptedDigest ? accepted : document(consentedText, consentedDigest)
    return ClientRows.decode(rest, { consented, accepted })
  }

  const read = ReadBatcher.make<ClientRows.Read<Stored.StoredDocument>, RegistryError>(
    (clientIds, done) => {
      const found = clientIds.length === 1 ? rows(one, [...clientIds]) : rows(many, [clientIds])
      timeout.start(
        "recall",
        found,
        // The query selects the columns of a `Row`.
        (exit) =>
          done(
            Exit.map(
              exit,
              (rows) => new Map((rows as unknown as ReadonlyArray<Row>).map((row) => [row[0], decode(row)]))
            )
          )
      )
    },
    {
      concurrency: 2,
      minKeys: 8,
      maxKeys: 100,
      timeoutMillis: timeout.timeoutMillis,
      onTimeout: () => timeout.onTimeout("recall")
    }
  )

  const counting = ({ now, record }: Found): Found => ({ now, record: Record.at(record, now, forgetAfter) })

  /** What memory has of a client that is confirmed. Of any other client, it may be older than a consent. */
  const remembered = (clientId: string): Found | undefined => {
    const known = memory.get(clientId)
    const found = known === undefined ? undefined : counting(known)
    return found?.record.consent === undefined ? undefined : found
  }

  const readConfirmed = BatchedQuery.make(sql, pool, timeout, "isConfirmed", {
    name: `${tables.channel}_confirmed`,
    text: sql`SELECT client_id FROM ${clients} WHERE client_id = ANY($1::text[]) AND consented_at IS NOT NULL
      AND used_at > clock_timestamp() - ${sql.literal(`${forgetAfter}::float8 * interval '1 microsecond'`)}`
      .compile()[0],
    values: (clientIds) => [clientIds],
    decode: () => true
  })

  const isConfirmed = (clientId: string): Effect.Effect<boolean, RegistryError> =>
    Effect.suspend(() =>
      remembered(clientId) === undefined
        ? Effect.map(readConfirmed(clientId), Option.isSome)
        : Effect.succeed(true)
    )

  const find = (clientId: string): Effect.Effect<Found, RegistryError> =>
    Effect.suspend(() => {
      const known = remembered(clientId)
      if (known !== undefined) return Effect.succeed(known)
      const reading = memory.reading(clientId)
      return Effect.map(
        Effect.onExit(read(clientId), () => Effect.sync(() => memory.end(clientId, reading))),
        Option.match({
          onNone: () => ({ record: Record.empty, now: 0n }),
          onSome: (found) => {
            const counted = counting(found)
            if (counted.record.consent !== undefined) memory.set(clientId, reading, found)
            return counted
          }
        })
      )
    })

  const show = (clientId: ClientId) =>
    Effect.map(
      timeout("show")(
        sql`SELECT ${sql.literal(Requests.columns)}, ${sql.literal(seconds("clock_timestamp()"))}, client.*
          FROM (SELECT) AS always LEFT JOIN ${requests} AS request ON request.client_id = ${clientId}
          LEFT JOIN (SELECT ${sql.literal(columns)} FROM ${clients}) AS client ON client.client_id = ${clientId}`.values
      ),
      (rows) => {
        const [by, at, now, ...row] = Arr.unsafeGet(rows, 0)
        const request = Requests.decode(clientId, by, at)
        // The query selects the columns of a `Row`.
        const found = row[0] === null ? ClientRows.absent(now) : decode(row as unknown as Row)
        return { ...counting(found), request }
      }
    )

  return { find, isConfirmed, show }
}
