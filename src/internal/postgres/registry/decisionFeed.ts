/**
 * The decisions in the memory of a node. The node asks four times a second for what was decided since, in one statement and
 * over the pool, so it needs no notification and no session of its own. What it knows is trusted for less than a second
 * after the start of the question. Then it says nothing, so a node that cannot ask admits nobody (REG-14, REG-16).
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Instant } from "../../../Cache.js"
import type { AuditEntry } from "../../../ClientRegistry.js"
import { RegistryError } from "../../../ClientRegistry.js"
import { effects } from "../../registry/decisionCalls.js"
import type { Admission, Standing } from "../../registry/decisionIndex.js"
import { StandingDecisions } from "../../registry/standingDecisions.js"
import type { Timeout } from "../statementTimeout.js"
import * as DecisionRows from "./decisionRows.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"
import { instantOf, seconds } from "./statements.js"

const pollMillis = 250

/** How long an answer is trusted, from the start of the question. The rest of a second is for the caller's own work. */
const trustNanos = 900_000_000n

const pageSize = 5000
const batchSize = 500

/** A decision that was made, as every node applies it. */
export interface Made {
  readonly generation: bigint
  readonly entry: AuditEntry
  /** What the decision put into force; `undefined` if it put nothing there, or if a later one has replaced it. */
  readonly standing: Standing | undefined
}

export interface DecisionFeed {
  /** Returns what the decisions say about a client while they are trusted. */
  readonly peek: (clientId: string) => Admission | undefined
  /** Waits until the decisions are trusted. */
  readonly trusted: (operation: RegistryError["operation"]) => Effect.Effect<StandingDecisions, RegistryError>
  /** Returns the decisions as they are at a moment after the call. */
  readonly current: (
    operation: RegistryError["operation"]
  ) => Effect.Effect<{ readonly decisions: StandingDecisions; readonly generation: bigint }, RegistryError>
  /** Applies a decision of this node, unless the feed was faster. */
  readonly apply: (made: Made) => Effect.Effect<void>
  /** Estimates the instant of the database, without asking it. */
  readonly now: () => Instant
}

interface Run {
  readonly startedAt: bigint
  readonly result: Deferred.Deferred<void, RegistryError>
}

/** The last decision that a node has applied. */
interface Known {
  readonly generation: bigint
  readonly lastAt: Instant | undefined
}

type PollRow = readonly [
  generation: string,
  last: unknown,
  now: unknown,
  document: unknown,
  slot: unknown,
  standing: unknown,
  ...entry: DecisionRows.EntryRow | ReadonlyArray<null>
]

/** Reads all decisions, then asks for new ones until the scope closes. Each decision is published once. */
export const make = (
  { audit, decisions: table, sql, state }: Statements,
  { admission: mode }: Settings,
  timeout: Timeout<RegistryError>,
  { nanos, publish }: {
    readonly nanos: () => bigint
    readonly publish: (entry: AuditEntry) => Effect.Effect<void>
  }
): Effect.Effect<DecisionFeed, RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    let decisions = new StandingDecisions(mode)
    let generation = 0n
    /** When the decision of the generation was made. It tells a history from another one, as after a restore. */
    let lastAt: Instant | undefined
    let trustedUntil = 0n
    let clock = { database: 0n, own: 0n }
    let running: Run | undefined

    /** Runs a query four times a second, for which spans would be of no use. */
    const rows = (query: Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError>) =>
      timeout("admission")(Effect.withTracerEnabled(query, false))

    const standingOf = (row: DecisionRows.StandingRow): Effect.Effect<Standing, RegistryError> =>
      Effect.try({
        try: () => DecisionRows.readStanding(row),
        catch: (cause) => new RegistryError({ operation: "admission", cause })
      })

    /** Reads everything. Decisions that are made meanwhile may be among it, and are applied again after it. */
    const load = Effect.gen(function*() {
      const [head] = yield* rows(
        sql`SELECT decision_generation::text, (SELECT ${
          sql.literal(seconds("decided_at"))
        } FROM ${audit} WHERE generation = decision_generation) FROM ${state}`.values
      )
      const loaded = new StandingDecisions(mode)
      let after: readonly [subject: string, slot: string] = ["", ""]
      while (true) {
        const page = (yield* rows(
          sql`SELECT ${sql.literal(DecisionRows.standingColumns)} FROM ${table}
            WHERE (subject, slot) > (${after[0]}, ${after[1]}) ORDER BY subject, slot LIMIT ${pageSize}`.values
          // The query selects the columns of a `StandingRow`.
        )) as unknown as ReadonlyArray<DecisionRows.StandingRow>
        for (const row of page) {
          const standing = yield* standingOf(row)
          if (DecisionRows.isSlot(row[1])) loaded.set(standing, row[1])
        }
        const last = page.at(-1)
        if (last === undefined || page.length < pageSize) break
        after = [last[0], last[1]]
      }
      decisions = loaded
      generation = BigInt(String(head?.[0] ?? 0))
      lastAt = instantOf(head?.[1] ?? null)
    })

    const apply = ({ entry, generation: made, standing }: Made): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (made !== generation + 1n) return Effect.void
        generation = made
        lastAt = entry.at
        const { puts, slot } = effects[entry.decision]
        if (standing !== undefined && slot !== undefined) decisions.set(standing, slot)
        else if (slot !== undefined && puts === undefined) decisions.delete(slot, entry.subject)
        return publish(entry)
      })

    // What a decision has put into force is joined if it is still there. If it is not, a later row says what replaced it.
    const since = (generation: bigint) =>
      rows(
        sql`SELECT state.decision_generation::text,
          (SELECT ${sql.literal(seconds("decided_at"))} FROM ${audit} WHERE generation = ${String(generation)}::bigint),
          ${sql.literal(seconds("clock_timestamp()"))}, entry.*
        FROM ${state} AS state LEFT JOIN LATERAL (
          SELECT standing.document, standing.slot, standing.decision AS standing, ${
          sql.literal(DecisionRows.entryColumns)
        } FROM ${audit} AS audit
          LEFT JOIN ${table} AS standing ON standing.subject = audit.subject AND standing.generation = audit.generation
          WHERE audit.generation > ${String(generation)}::bigint AND state.decision_generation > ${
          String(generation)
        }::bigint
          ORDER BY audit.generation LIMIT ${batchSize}
        ) AS entry ON true ORDER BY entry.generation::bigint`.values
      ) as Effect.Effect<
        // The query selects the columns of a `PollRow`.
        ReadonlyArray<PollRow>,
        RegistryError
      >

    const madeOf = (row: PollRow): Effect.Effect<Made | undefined, RegistryError> => {
      const [, , , document, slot, standing] = row
      const entryRow = row.slice(6) as unknown as DecisionRows.EntryRow
      const entry = DecisionRows.readEntry(entryRow)
      if (entry === undefined) return Effect.succeed(undefined)
      const made = { generation: BigInt(entryRow[0]), entry }
      if (typeof slot !== "string") return Effect.succeed({ ...made, standing: undefined })
      const [, , subject, by, at, reason, digest] = entryRow
      return Effect.map(
        standingOf([subject, slot, standing, document, digest, by, at, reason]),
        (standing) => ({ ...made, standing })
      )
    }

    /** Applies an answer. Returns whether it continues what this node knew as it asked, without a gap. */
    const applyAll = (asked: Known, answer: ReadonlyArray<PollRow>, latest: bigint, then: Instant | undefined) =>
      Effect.gen(function*() {
        // As after a restore, or after a failover to a server that had not received the last decisions. Decisions of this
        // node may have been applied since it asked, and say nothing about that.
        if (latest < asked.generation) return false
        if (then !== undefined && asked.lastAt !== undefined && then !== asked.lastAt) return false
        const before = generation
        for (const row of answer) {
          if (row[6] === null) break
          const made = yield* madeOf(row)
          if (made === undefined || made.generation > generation + 1n) return false
          yield* apply(made)
        }
        return generation >= latest || generation > before
      })

    /** Asks once, or more often while there is more than fits into one answer. */
    const poll: Effect.Effect<void, RegistryError> = Effect.gen(function*() {
      while (true) {
        const startedAt = nanos()
        const asked: Known = { generation, lastAt }
        const answer = yield* since(generation)
        const [head] = answer
        if (head === undefined) return yield* stateless
        const latest = BigInt(head[0])
        if (!(yield* applyAll(asked, answer, latest, instantOf(head[1])))) yield* load
        else if (generation >= latest) {
          trustedUntil = startedAt + trustNanos
          clock = { database: instantOf(head[2]) ?? 0n, own: startedAt }
          return
        }
      }
    })

    const stateless = new RegistryError({ operation: "admission", cause: new Error("the table of the state is empty") })

    /** Joins the question that is being asked, or asks. It outlives the callers that wait for its answer. */
    const join: Effect.Effect<bigint, RegistryError> = Effect.suspend(() => {
      const run = running ?? { startedAt: nanos(), result: Deferred.unsafeMake<void, RegistryError>(FiberId.none) }
      const awaited = Effect.as(Deferred.await(run.result), run.startedAt)
      if (run === running) return awaited
      running = run
      const asked = Effect.map(Effect.forkIn(Effect.exit(Effect.interruptible(poll)), scope), (fiber) =>
        // An observer runs even if the fiber ended before its first step, as in a scope that is closed.
        fiber.addObserver((exit) => {
          running = undefined
          Deferred.unsafeDone(run.result, Exit.flatten(exit))
        }))
      return Effect.zipRight(Effect.uninterruptible(asked), awaited)
    })

    const naming = (operation: RegistryError["operation"]) => <A>(effect: Effect.Effect<A, RegistryError>) =>
      Effect.mapError(effect, ({ cause }) => new RegistryError({ operation, cause }))

    /** Waits for an answer to a question that was asked after this moment. */
    const refreshed = Effect.suspend(() => {
      const since = nanos()
      return Effect.flatMap(join, (startedAt) => startedAt >= since ? Effect.void : Effect.asVoid(join))
    })

    yield* load
    yield* poll

    let failing = false
    yield* join.pipe(
      Effect.matchCauseEffect({
        onSuccess: () => {
          if (!failing) return Effect.void
          failing = false
          return Effect.logInfo("Reading the decisions of the client registry works again")
        },
        onFailure: (cause) => {
          if (failing || Cause.isInterruptedOnly(cause)) return Effect.void
          failing = true
          return Effect.logWarning(
            "Reading the decisions of the client registry fails, so no client is admitted",
            cause
          )
        }
      }),
      Effect.repeat(Schedule.spaced(pollMillis)),
      Effect.delay(pollMillis),
      Effect.forkScoped
    )

    return {
      peek: (clientId) => nanos() < trustedUntil ? decisions.index.admission(clientId) : undefined,
      trusted: (operation) =>
        Effect.suspend(() =>
          nanos() < trustedUntil ? Effect.succeed(decisions) : Effect.map(naming(operation)(refreshed), () => decisions)
        ),
      current: (operation) => Effect.map(naming(operation)(refreshed), () => ({ decisions, generation })),
      apply,
      now: () => clock.database + (nanos() - clock.own) / 1000n
    }
  })
