/**
 * Decisions. Each is made in one statement, if no other was made since this node last asked. So decisions are serial, what
 * this node knows decides whether one can be made, and no transaction is open between two statements.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { AuditEntry } from "../../../ClientRegistry.js"
import { InvalidDecision, RegistryError } from "../../../ClientRegistry.js"
import * as metrics from "../../metrics.js"
import type { DecisionWrites, Puts } from "../../registry/decisionCalls.js"
import type { Standing } from "../../registry/decisionIndex.js"
import type { DecisionOptions } from "../../registry/decisionOptions.js"
import type { Slot, StandingDecisions } from "../../registry/standingDecisions.js"
import type { Run } from "../statementTimeout.js"
import type { DecisionFeed } from "./decisionFeed.js"
import * as DecisionRows from "./decisionRows.js"
import type { Statements } from "./statements.js"
import { seconds } from "./statements.js"

/** In each round, one node wins. A node makes its own decisions one by one. */
const maxRounds = 100

export const make = (
  { audit, clients, decisions, requests, sql, state }: Statements,
  timeout: Run<RegistryError>,
  feed: DecisionFeed
): Effect.Effect<DecisionWrites<InvalidDecision | RegistryError>> =>
  Effect.map(Effect.makeSemaphore(1), (one) => {
    /**
     * Makes a decision, with what it changes, if the generation is still the given one. The changes select from `decided`,
     * which has one row then and otherwise none.
     */
    const statement = (
      generation: bigint,
      { by, reason }: DecisionOptions,
      { decision, digest, subject }: Pick<AuditEntry, "decision" | "digest" | "subject">,
      changes: Fragment
    ): Effect.Effect<DecisionRows.EntryRow | undefined, SqlError> =>
      Effect.map(
        sql`WITH decided AS (
            UPDATE ${state} SET decision_generation = decision_generation + 1
            WHERE decision_generation = ${String(generation)}::bigint
            RETURNING decision_generation AS generation, clock_timestamp() AS at,
              coalesce(${by ?? null}::text, session_user::text) AS by
          ), audit AS (
            INSERT INTO ${audit} (generation, decision, subject, decided_by, decided_at, reason, digest)
            SELECT generation, ${decision}, ${subject}, by, at, ${reason}, ${digest ?? null} FROM decided
            RETURNING *
          ), ${changes}
          SELECT ${sql.literal(DecisionRows.entryColumns)} FROM audit`.values,
        // The statement selects the columns of an `EntryRow`.
        (rows) => rows[0] as unknown as DecisionRows.EntryRow | undefined
      )

    const putting = (slot: Slot, subject: string, reason: string, puts: Puts): Fragment => {
      const document = puts.decision === "pinned" ? puts.document : undefined
      // A pattern is the subject of no request.
      return sql`changed AS (
          INSERT INTO ${decisions}
            (subject, slot, decision, document, digest, decided_by, decided_at, reason, generation)
          SELECT ${subject}, ${slot}, ${puts.decision}, ${document?.text ?? null}, ${document?.digest ?? null},
            by, at, ${reason}, generation FROM decided
          ON CONFLICT (subject, slot) DO UPDATE SET
            decision = excluded.decision, document = excluded.document, digest = excluded.digest,
            decided_by = excluded.decided_by, decided_at = excluded.decided_at, reason = excluded.reason,
            generation = excluded.generation
        ), answered AS (
          DELETE FROM ${requests} USING decided WHERE client_id = ${subject}
        )`
    }

    const ending = (slot: Slot, subject: string): Fragment =>
      sql`changed AS (DELETE FROM ${decisions} USING decided WHERE subject = ${subject} AND slot = ${slot})`

    // The same as `evict` of a record. It depends on nothing in the row, so the revision need not be read.
    const evicting = (clientId: string): Fragment =>
      sql`changed AS (
          INSERT INTO ${clients} AS kept (client_id, revision, evicted_at)
          SELECT ${clientId}, ${sql.literal(seconds("at"))}::bigint * 1000000, at FROM decided
          ON CONFLICT (client_id) DO UPDATE SET
            revision = kept.revision + 1, accepted = NULL, accepted_digest = NULL, fetched_at = NULL, expires_at = NULL,
            withdrawals = '[]', evicted_at = excluded.evicted_at
        )`

    /** Makes a decision. `check` returns the result if nothing needs to change, and otherwise `undefined`. */
    const decide = <A, E>(
      entry: Pick<AuditEntry, "decision" | "digest" | "subject">,
      options: DecisionOptions,
      check: (decisions: StandingDecisions) => Effect.Effect<A, E> | undefined,
      changes: Fragment,
      standing: (entry: AuditEntry) => Standing | undefined
    ): Effect.Effect<A | undefined, E | RegistryError> => {
      const round = (count: number): Effect.Effect<A | undefined, E | RegistryError> =>
        Effect.flatMap(feed.current("decide"), ({ decisions, generation }) => {
          const decided = check(decisions)
          if (decided !== undefined) return decided
          return Effect.flatMap(
            // It is applied if the caller is interrupted as well. Otherwise the next question of the feed applies it.
            Effect.uninterruptible(Effect.tap(
              timeout("decide")(statement(generation, options, entry, changes)),
              (row) => {
                const made = row === undefined ? undefined : DecisionRows.readEntry(row)
                if (row === undefined || made === undefined) return Effect.void
                metrics.decisionsOf(made.decision).unsafeUpdate(1, [])
                return feed.apply({ generation: BigInt(row[0]), entry: made, standing: standing(made) })
              }
            )),
            (row) => {
              if (row !== undefined) return Effect.succeed(undefined)
              if (count >= maxRounds) {
                return new RegistryError({
                  operation: "decide",
                  cause: new Error("other nodes made a decision each time")
                })
              }
              return Effect.flatMap(
                // Longer with each round, so that a node which is slower than the others has its turn as well.
                Random.nextIntBetween(0, 2 * Math.min(count, 25)),
                (millis) => Effect.delay(Effect.suspend(() => round(count + 1)), millis)
              )
            }
          )
        })
      return one.withPermits(1)(round(1))
    }

    return {
      enforce: (decision, slot, subject, options, puts) => {
        const standing = ({ at, by, reason }: Pick<AuditEntry, "at" | "by" | "reason">): Standing => ({
          subject,
          by,
          at,
          reason,
          ...puts
        })
        return Effect.asVoid(decide(
          { decision, subject, digest: puts.decision === "pinned" ? puts.document.digest : undefined },
          options,
          (decisions) => {
            const issues = decisions.issuesOf(standing({ at: 0n, by: "", reason: "" }))
            return issues.length === 0 ? undefined : new InvalidDecision({ issues })
          },
          putting(slot, subject, options.reason, puts),
          standing
        ))
      },
      end: (decision, slot, subject, options) =>
        Effect.map(
          decide(
            { decision, subject, digest: undefined },
            options,
            (decisions) => decisions.get(slot, subject) === undefined ? Effect.succeed(false) : undefined,
            ending(slot, subject),
            () => undefined
          ),
          (result) => result ?? true
        ),
      evict: (clientId, options) =>
        Effect.asVoid(decide(
          { decision: "evict", subject: clientId, digest: undefined },
          options,
          () => undefined,
          evicting(clientId),
          () => undefined
        ))
    }
  })
