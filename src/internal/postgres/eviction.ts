/**
 * What is evicted from a table that is full: first what has expired, then strangers by the share of their site, then
 * confirmed clients. The lifetime of a document never decides, because a stranger chooses it (CAC-26).
 */
import type { Fragment } from "@effect/sql/Statement"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { CacheError } from "../../Cache.js"
import * as metrics from "../metrics.js"
import type { Settings } from "./options.js"
import type { FoundRow, Statements } from "./sqlFragments.js"
import { deleteFound } from "./sqlFragments.js"
import type { Run } from "./statementTimeout.js"
import { inBatches, isState, isTimeout, pauseMillis, withoutPlaces } from "./sweepBatches.js"
import type { TableUsage } from "./tableUsage.js"

/** An eviction goes on until the table has this part of its bound. */
const target = 0.95
/** Maximum number of documents that are found at once, since their client ids are in memory. */
const maxFound = 100_000
const batchSize = 1000

/** A site's rows are compared by steps, so that sites that take about as much are evicted by the age of their rows. */
const maxSiteStep = 65_536
const minSiteStep = 4096
/** A site of a small table must not have a large part of it within its first step. */
const stepsPerTable = 16_384
/** A domain, such as one that gives each of its customers a site, has the share of so many sites. */
const sitesPerDomain = 16

/**
 * A large table is judged by samples of its pages, of about so many rows: to sort all rows of a table of 1 GiB takes longer
 * than a statement may. Each sample gives up its part of what is evicted, by the same order.
 */
const rowsPerSample = 50_000
/** A table that takes too long to measure is measured in part. */
const minPercent = 0.1
const partOfPercent = 8

/** Which documents are evicted, and in what order. */
const makeVictims = (
  { bytesOfRow, clients, documents, fetchedAtOf, isConfirmed, sql }: Statements,
  { maxTableBytes }: Pick<Settings, "maxTableBytes">
) => {
  const siteStep = Math.min(Math.max(Math.floor(maxTableBytes / stepsPerTable), minSiteStep), maxSiteStep)
  // Rows of nodes of version 2 have no site, and are charged to their host.
  const host = sql.literal("substring(stored.origin FROM '^https://([^/]*?)(?::[0-9]+)?$')")

  const sampled = (percent: number): Fragment =>
    percent < 100 ? sql`${documents} AS stored TABLESAMPLE SYSTEM (${percent})` : sql`${documents} AS stored`

  /** The bytes of a site or a domain up to a row, the newest fetch first, in steps. */
  const steps = (of: "site" | "domain", size: number): Fragment =>
    sql`sum(size) OVER (PARTITION BY ${sql.literal(of)} ORDER BY fetched_at DESC, client_id ROWS UNBOUNDED PRECEDING)
      / ${Math.max(Math.floor(size), 1)}::bigint`

  /** The first documents of an order that take so many bytes. */
  const upTo = (bytes: number, rows: Fragment, order: Fragment) =>
    sql<{ client_id: string; fetched_at: string }>`SELECT client_id, ${fetchedAtOf("victim")} AS fetched_at FROM (
        SELECT client_id, fetched_at, size, row_number() OVER ranks AS rank, sum(size) OVER ranks AS sum
        FROM (${rows} ORDER BY ${order} LIMIT ${maxFound}) AS candidate
        WINDOW ranks AS (ORDER BY ${order} ROWS UNBOUNDED PRECEDING)
      ) AS victim WHERE sum - size < ${Math.ceil(bytes)}::bigint ORDER BY rank`

  return {
    sampled,

    /** Strangers: those of the site or domain with the highest step first, and of these the oldest fetch. */
    strangers: (bytes: number, percent: number) =>
      upTo(
        (bytes * percent) / 100,
        sql`SELECT client_id, fetched_at, size, greatest(${steps("site", (siteStep * percent) / 100)}, ${
          steps("domain", (sitesPerDomain * siteStep * percent) / 100)
        }) AS step
        FROM (
          SELECT stored.client_id, stored.fetched_at, ${bytesOfRow("stored")} AS size,
            coalesce(stored.site, ${host}, '') AS site, coalesce(stored.domain, stored.site, ${host}, '') AS domain
          FROM ${sampled(percent)} LEFT JOIN ${clients} AS client
            ON client.client_id = stored.client_id AND ${isConfirmed("client")}
          WHERE stored.document IS NOT NULL AND client.client_id IS NULL
          OFFSET 0 -- Otherwise the documents themselves would be sorted.
        ) AS live`,
        sql`step DESC, fetched_at, client_id`
      ),

    /** Confirmed clients: those that were not used for the longest time first. */
    confirmed: (bytes: number) =>
      upTo(
        bytes,
        sql`SELECT stored.client_id, stored.fetched_at, ${bytesOfRow("stored")} AS size, client.used_at
          FROM ${clients} AS client JOIN ${documents} AS stored ON stored.client_id = client.client_id
          WHERE stored.document IS NOT NULL AND ${isConfirmed("client")}`,
        sql`used_at, client_id`
      )
  }
}

interface Measured {
  readonly bytes: number
  readonly rows: number
}

/** What was found in a part of the table. */
interface Victims {
  readonly rows: ReadonlyArray<{ readonly client_id: string; readonly fetched_at: string }>
  readonly percent: number
}

export const make = (
  statements: Statements,
  settings: Settings,
  {
    expired,
    sweepTimeout,
    timeout,
    usage
  }: {
    readonly timeout: Run<CacheError>
    readonly sweepTimeout: Run<CacheError>
    readonly usage: TableUsage
    /** Deletes documents that have expired, up to a number, and returns how many. */
    readonly expired: (batchSize: number) => Effect.Effect<number, CacheError>
  }
): {
  /** Measures the table, and evicts what it has beyond its bound. Returns the number of evicted documents. */
  readonly relieve: Effect.Effect<number, CacheError>
} => {
  const { bytesOfRow, later, sql } = statements
  const { maxTableBytes, sweepTimeoutMillis } = settings
  const victims = makeVictims(statements, settings)

  // A node that crashed holds its claim for no longer than a statement may take.
  const claimMillis = sweepTimeoutMillis + 2000
  const usageTable = statements.usage

  /** One node at a time measures and evicts. A claim in the far future is older than a correction of the database's clock. */
  const claim = Effect.map(
    timeout("sweep")(sql`INSERT INTO ${usageTable} AS known (claimed_until) VALUES (${later(claimMillis)})
      ON CONFLICT (singleton) DO UPDATE SET claimed_until = excluded.claimed_until
      WHERE known.claimed_until NOT BETWEEN clock_timestamp() AND ${later(2 * claimMillis)} RETURNING 1`),
    (rows) => rows.length > 0
  )
  const renew = timeout("sweep")(sql`UPDATE ${usageTable} SET claimed_until = ${later(claimMillis)}`)
  const release = timeout("sweep")(sql`UPDATE ${usageTable} SET claimed_until = '-infinity'`)

  // The sum and the reported bytes are of one snapshot. What is reported later is added to the corrected bytes.
  const measureIn = (percent: number): Effect.Effect<Measured, CacheError> =>
    Effect.zipRight(
      renew,
      sweepTimeout("sweep")(sql<{ bytes: number; rows: number; known: number }>`
        SELECT known.bytes::float8 AS known, found.bytes * ${100 / percent}::float8 AS bytes,
          found.rows * ${100 / percent}::float8 AS rows
        FROM ${usageTable} AS known, (
          SELECT coalesce(sum(${bytesOfRow("stored")}), 0)::float8 AS bytes, count(*)::float8 AS rows
          FROM ${victims.sampled(percent)} WHERE stored.document IS NOT NULL
        ) AS found`)
    ).pipe(
      Effect.flatMap(([found = { bytes: 0, rows: 0, known: 0 }]) =>
        Effect.as(usage.correct(Math.round(found.bytes - found.known)), found)
      ),
      Effect.catchIf(
        (error) => isTimeout(error) && percent > minPercent,
        () => Effect.delay(measureIn(percent / partOfPercent), pauseMillis)
      )
    )
  const measure = Effect.zipRight(usage.report, measureIn(100))

  const deleteBatch = (batch: ReadonlyArray<FoundRow>) =>
    Effect.uninterruptible(Effect.gen(function*() {
      const deleted = yield* sweepTimeout("sweep")(deleteFound(statements, batch))
      metrics.evictedFromTable.unsafeUpdate(deleted.count, [])
      usage.add(-deleted.bytes)
      yield* usage.report
      return deleted
    }))

  const deleteAll = (rows: ReadonlyArray<{ readonly client_id: string; readonly fetched_at: string }>) =>
    Effect.gen(function*() {
      let [count, bytes] = [0, 0]
      for (const batch of Arr.chunksOf(rows, batchSize)) {
        yield* renew
        const deleted = yield* deleteBatch(batch.map((row) => ({ clientId: row.client_id, fetchedAt: row.fetched_at })))
        count += deleted.count
        bytes += deleted.bytes
      }
      return { count, bytes }
    })

  /** The strangers of a part of the table. A part that takes too long is made smaller. */
  const findStrangers = (bytes: number, percent: number): Effect.Effect<Victims, CacheError> =>
    Effect.zipRight(renew, sweepTimeout("sweep")(victims.strangers(bytes, percent))).pipe(
      Effect.map((rows) => ({ rows, percent })),
      Effect.catchIf(
        (error) => isTimeout(error) && percent > minPercent,
        () => Effect.delay(findStrangers(bytes, percent / partOfPercent), pauseMillis)
      ),
      Effect.catchIf(
        (error) => percent < 100 && isState(error, withoutPlaces),
        () => findStrangers(bytes, 100)
      )
    )

  const evict = (from: Measured) =>
    Effect.gen(function*() {
      const goal = target * maxTableBytes
      const excess = from.bytes - goal
      let percent = Math.min((100 * rowsPerSample) / from.rows, 100)
      let bytes = from.bytes
      let evicted = 0
      while (bytes > goal) {
        const found: Victims = yield* findStrangers(percent < 100 ? excess : bytes - goal, percent)
        percent = found.percent
        if (found.rows.length === 0 && percent < 100) {
          // The sample may have missed the last strangers.
          percent = 100
          continue
        }
        const rows = found.rows.length > 0
          ? found.rows
          : yield* sweepTimeout("sweep")(victims.confirmed(bytes - goal))
        const deleted = yield* deleteAll(rows)
        // Other sessions write all that was found.
        if (deleted.count === 0) break
        evicted += deleted.count
        bytes -= deleted.bytes
      }
      return evicted
    })

  const pass = Effect.gen(function*() {
    // Another node may have done it before this one got its claim.
    const { bytes, due } = yield* usage.report
    if (bytes <= maxTableBytes && !due) return 0
    let measured = yield* measureIn(100)
    if (measured.bytes > maxTableBytes && (yield* inBatches(10 * batchSize, expired)) > 0) measured = yield* measure
    return measured.bytes > maxTableBytes ? yield* evict(measured) : 0
  })

  return {
    relieve: Effect.flatMap(
      claim,
      (isClaimed) => isClaimed ? Effect.ensuring(pass, Effect.ignore(release)) : Effect.as(usage.report, 0)
    )
  }
}
