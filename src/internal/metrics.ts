import * as Metric from "effect/Metric"

const resolves = Metric.counter("cimd_resolves_total", {
  description: "Documents answered with, by where they came from; callers that share one count once",
  incremental: true
})

export const memoryHits = Metric.tagged(resolves, "source", "memory")
export const postgresHits = Metric.tagged(resolves, "source", "postgres")
export const staleHits = Metric.tagged(resolves, "source", "stale")
export const origins = Metric.tagged(resolves, "source", "origin")

/** Clients that no tier had a fresh document of. */
export const misses = Metric.counter("cimd_misses_total", {
  description: "Resolved client identifiers that the cache had no fresh document of",
  incremental: true
})

const evictions = Metric.counter("cimd_evictions_total", {
  description: "Documents given up before a sweep would take them, by reason",
  incremental: true
})
/** By a call of `evict` or `evictAll`, each counted once. */
export const evictedByCall = Metric.tagged(evictions, "reason", "call")
export const evictedFromMemory = Metric.tagged(evictions, "reason", "memory_full")
export const evictedFromOrigin = Metric.tagged(evictions, "reason", "origin_full")
export const evictedFromTable = Metric.tagged(evictions, "reason", "table_full")

/** Callers that were answered by work another caller had begun, and nodes that waited for another's. */
export const coalesced = Metric.counter("cimd_coalesced_total", {
  description: "Callers that waited for work which another caller had begun, here or on another node",
  incremental: true
})

/** Rows that were there and could not be served (CAC-11). */
const unservable = Metric.counter("cimd_unservable_rows_total", {
  description: "Rows that are a miss because they are damaged or were accepted under another rule set",
  incremental: true
})
export const damagedRows = Metric.tagged(unservable, "reason", "damaged")
export const otherRulesetRows = Metric.tagged(unservable, "reason", "ruleset")

export const sweptRows = Metric.counter("cimd_swept_rows_total", {
  description: "Rows that sweeps removed, leases as well",
  incremental: true
})

const sweeps = Metric.counter("cimd_sweeps_total", { description: "Sweeps, by outcome", incremental: true })
export const sweepsDone = Metric.tagged(sweeps, "outcome", "done")
export const sweepsFailed = Metric.tagged(sweeps, "outcome", "failed")

/** 1 while the announcements of other nodes are heard, else 0. */
export const listening = Metric.gauge("cimd_listening", {
  description: "Whether this node hears the announcements of other nodes"
})

/** The tags are few and fixed, so each of their counters is made once. */
const tagged = (counter: Metric.Metric.Counter<number>, key: string) => {
  const known = new Map<string, Metric.Metric.Counter<number>>()
  return (value: string): Metric.Metric.Counter<number> => {
    const counted = known.get(value) ?? Metric.tagged(counter, key, value)
    known.set(value, counted)
    return counted
  }
}

export const fetchesOf = tagged(
  Metric.counter("cimd_fetches_total", {
    description: "Fetches from clients' origins, by outcome: success, or the tag of the error",
    incremental: true
  }),
  "outcome"
)

export const refusalsOf = tagged(
  Metric.counter("cimd_refusals_total", {
    description: "Calls of resolve and refresh that failed, by the tag of the error",
    incremental: true
  }),
  "error"
)

/** Those of a client that `PostgresCache.layerClient` made; Effect's own client hides its pool. */
export const poolWaiting = Metric.gauge("cimd_pool_waiting", {
  description: "Statements that wait for a free connection to the database"
})
