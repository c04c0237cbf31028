import * as Metric from "effect/Metric"

const resolves = Metric.counter("cimd_resolves_total", {
  description: "Resolved documents by source. Coalesced callers count once.",
  incremental: true
})

export const memoryHits = Metric.tagged(resolves, "source", "memory")
export const postgresHits = Metric.tagged(resolves, "source", "postgres")
export const staleHits = Metric.tagged(resolves, "source", "stale")
export const origins = Metric.tagged(resolves, "source", "origin")
export const pins = Metric.tagged(resolves, "source", "pin")

export const misses = Metric.counter("cimd_misses_total", {
  description: "Resolves that found no fresh document in the cache",
  incremental: true
})

const evictions = Metric.counter("cimd_evictions_total", {
  description: "Documents removed before their expiry, by reason",
  incremental: true
})
/** Calls of `evict` and `evictAll`, not documents. */
export const evictedByCall = Metric.tagged(evictions, "reason", "call")
export const evictedFromMemory = Metric.tagged(evictions, "reason", "memory_full")
export const evictedFromSite = Metric.tagged(evictions, "reason", "site_full")
export const evictedFromTable = Metric.tagged(evictions, "reason", "table_full")

export const memoryBytes = Metric.gauge("cimd_memory_bytes", {
  description: "Bytes of memory that the documents in memory take"
})

export const tableBytes = Metric.gauge("cimd_table_bytes", {
  description: "Bytes that the live documents in Postgres take, as this node last read it"
})

export const coalesced = Metric.counter("cimd_coalesced_total", {
  description: "Callers that waited for a resolve or fetch of another caller, on this node or another",
  incremental: true
})

const unservable = Metric.counter("cimd_unservable_rows_total", {
  description: "Rows read as a miss because they are damaged, or refused by the rules of this node (CAC-11)",
  incremental: true
})
export const damagedRows = Metric.tagged(unservable, "reason", "damaged")
export const refusedRows = Metric.tagged(unservable, "reason", "ruleset")

export const sweptRows = Metric.counter("cimd_swept_rows_total", {
  description: "Rows that sweeps removed, leases included",
  incremental: true
})

const registryClients = Metric.gauge("cimd_registry_clients", {
  description: "Clients of the registry after its last sweep, by state: confirmed, or evicted and not confirmed"
})
export const confirmedClients = Metric.tagged(registryClients, "state", "confirmed")
export const evictedClients = Metric.tagged(registryClients, "state", "evicted")

const sweeps = Metric.counter("cimd_sweeps_total", { description: "Sweeps, by outcome", incremental: true })
export const sweepsDone = Metric.tagged(sweeps, "outcome", "done")
export const sweepsFailed = Metric.tagged(sweeps, "outcome", "failed")

export const listening = Metric.gauge("cimd_listening", {
  description: "1 while the LISTEN connection receives the notifications of other nodes, otherwise 0"
})

const notifications = Metric.counter("cimd_lost_notifications_total", {
  description: "Notifications that did not fit in the server's queue (full), or were not made by a node (foreign)",
  incremental: true
})
export const unsentNotifications = Metric.tagged(notifications, "reason", "full")
export const foreignNotifications = Metric.tagged(notifications, "reason", "foreign")

/** Tag values are few and fixed, so each counter is made once. */
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
    description: "Fetches from origins by outcome: `success`, or the tag of the error",
    incremental: true
  }),
  "outcome"
)

export const timeoutsOf = tagged(
  Metric.counter("cimd_fetch_timeouts_total", {
    description: "Fetches that timed out, by the phase that they were in",
    incremental: true
  }),
  "phase"
)

const throttled = Metric.counter("cimd_throttled_total", {
  description: "Fetches that a limit of this node stopped, by the reason of Throttled and the scope of the limit",
  incremental: true
})
const throttledFor = {
  failed: tagged(Metric.tagged(throttled, "reason", "failed"), "scope"),
  rate: tagged(Metric.tagged(throttled, "reason", "rate"), "scope"),
  busy: tagged(Metric.tagged(throttled, "reason", "busy"), "scope")
}
export const throttledBy = ({ reason, scope }: {
  readonly reason: "failed" | "rate" | "busy"
  readonly scope: "site" | "domain" | "requester" | "address" | "queue" | "node" | "client"
}): Metric.Metric.Counter<number> => throttledFor[reason](scope)

const fetchPermits = Metric.gauge("cimd_fetch_permits", {
  description: "Permits to fetch that are in use, by lane: those of confirmed clients, and all others"
})
const fetchWaiting = Metric.gauge("cimd_fetch_waiting", { description: "Fetches that wait for a permit, by lane" })
const trackedSites = Metric.gauge("cimd_tracked_sites", {
  description: "Sites that the limits of fetches keep track of, by lane"
})

export interface FetchGauges {
  readonly permits: Metric.Metric.Gauge<number>
  readonly waiting: Metric.Metric.Gauge<number>
  readonly trackedSites: Metric.Metric.Gauge<number>
}

export const fetchGauges = (lane: "confirmed" | "other"): FetchGauges => ({
  permits: Metric.tagged(fetchPermits, "lane", lane),
  waiting: Metric.tagged(fetchWaiting, "lane", lane),
  trackedSites: Metric.tagged(trackedSites, "lane", lane)
})

export const publicSuffixListTimestamp = Metric.gauge("cimd_public_suffix_list_timestamp_seconds", {
  description: "The date of the Public Suffix List that decides about sites, in Unix seconds; it is this or a later one"
})

export const refusalsOf = tagged(
  Metric.counter("cimd_refusals_total", {
    description: "Failed calls of resolve and refresh, by the tag of the error",
    incremental: true
  }),
  "error"
)

export const recallsOf = tagged(
  Metric.counter("cimd_recalls_total", {
    description:
      "Calls of recall by outcome: `origin` or `pin`, `expired` for an origin's document past its lifetime, " +
      "the reason of NotRecalled, or the tag of any other error",
    incremental: true
  }),
  "outcome"
)

export const decisionsOf = tagged(
  Metric.counter("cimd_decisions_total", {
    description: "Decisions of the operator that this node made, by kind",
    incremental: true
  }),
  "decision"
)

/** Measured for a client of `PostgresClient.layer` only, since Effect's own client hides its pool. */
export const poolWaiting = Metric.gauge("cimd_pool_waiting", {
  description: "Statements waiting for a free connection of the pool"
})
