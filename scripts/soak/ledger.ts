/**
 * What the soak knows to be true, and what it holds every answer and every request to. The invariants are those that
 * `scripts/soak.ts` lists.
 */
import type { Moment, Tally } from "../../test/cluster/protocol.js"
import { moment } from "../../test/cluster/protocol.js"

/** A time in which something went on. It has no end while it does. */
interface Span {
  readonly from: Moment
  to: Moment
}

export interface Settings {
  /** How long a document lives, in milliseconds. */
  readonly lifetimeMillis: number
  readonly callMillis: number
}

/** Within it every node must have heard of a write. */
const heardMillis = 1000
/** How much earlier than its lifetime says a document may be fetched again, for clocks and for overtaken refreshes. */
const earlyMillis = 2000
/** A request may come to the origin so long after its fetch began, which a write in between has made void. */
const onItsWayMillis = 1000
/** A fetch and what it stores are done by then, or have failed. */
const fetchMillis = 8000
/** The pauses after some failures of a client in a row, which last on after its origin is mended. */
const pauseMillis = 16_000
/** How long a terminated connection may still be met. */
const faultMillis = 1000
/** Nothing that is older has to be remembered. */
const memoryMillis = 120_000

const overlap = (spans: ReadonlyArray<Span>, from: Moment, to: Moment) =>
  spans.some((span) => span.from <= to && span.to >= from)

/** Honest clients that an attack must not cost their answers, and the share of these that they get at least. */
const leastShares = { confirmed: 0.999, new: 0.95 }
export type Party = keyof typeof leastShares

const fetchErrors = new Set([
  "UnexpectedStatus",
  "FetchTimeout",
  "ResponseTruncated",
  "TlsFailed",
  "InvalidDocument",
  "UnexpectedRedirect"
])

interface Client {
  version: number
  /** When each version was replaced. */
  readonly replacedAt: Map<number, Moment>
  /** From when on no answer may be older than a version. */
  floors: Array<{ readonly from: Moment; readonly version: number }>
  /** Evictions and refreshes. */
  writes: Array<Span>
  /** The times in which its origin failed. */
  broken: Array<Span>
  lastRequest: { readonly at: Moment; readonly node: string; readonly succeeded: boolean } | undefined
}

export const make = (clientIds: ReadonlyArray<string>, settings: Settings, violated: (what: string) => void) => {
  const { callMillis, lifetimeMillis } = settings
  const clients = new Map<string, Client>(clientIds.map((clientId) => [clientId, {
    version: 1,
    replacedAt: new Map(),
    floors: [],
    writes: [],
    broken: [],
    lastRequest: undefined
  }]))
  const shares = { confirmed: { asked: 0, answered: 0 }, new: { asked: 0, answered: 0 } }
  const deaths = new Map<string, Moment>()
  let faults: Array<Span> = []
  const counts: Record<string, number> = {}
  let slowestMillis = 0

  const count = (what: string, by = 1) => {
    counts[what] = (counts[what] ?? 0) + by
  }

  const clientOf = (clientId: string): Client => {
    const client = clients.get(clientId)
    if (client === undefined) throw new Error(`${clientId} is not of this soak`)
    return client
  }

  const recent = (spans: ReadonlyArray<Span>) => spans.filter(({ to }) => to > moment() - memoryMillis)

  const begin = (spans: Array<Span>): Span => {
    const span = { from: moment(), to: Number.POSITIVE_INFINITY }
    spans.push(span)
    return span
  }

  /** An eviction or refresh of some clients. What it says when it is done holds from then on. */
  const write = (clientIds: ReadonlyArray<string>) => {
    const written = clientIds.map((clientId) => {
      const client = clientOf(clientId)
      client.writes = recent(client.writes)
      return { client, version: client.version, span: begin(client.writes) }
    })
    return {
      done: (at: Moment) => {
        for (const { client, span, version } of written) {
          span.to = moment()
          client.floors.push({ from: at + heardMillis, version })
          if (client.floors.length > 50) client.floors.shift()
        }
      },
      /** It failed, or its node was killed: it may have been done, and may yet be. */
      failed: () => {
        for (const { span } of written) span.to = moment() + faultMillis
      }
    }
  }

  /** The floor of a client for a call that begins now. */
  const floor = (client: Client, at: Moment) =>
    Math.max(0, ...client.floors.filter(({ from }) => from < at).map(({ version }) => version))

  return {
    version: (clientId: string) => clientOf(clientId).version,

    /** From now on the origin serves the next version. */
    publish: (clientId: string) => {
      const client = clientOf(clientId)
      client.replacedAt.set(client.version, moment())
      client.version++
      count("versions")
    },

    write,

    /** The origin of a client fails until the answer is called. */
    breaks: (clientId: string): () => void => {
      const client = clientOf(clientId)
      client.broken = recent(client.broken)
      const span = begin(client.broken)
      count("broken origins")
      return () => {
        // A request that it took and never answers ends later.
        span.to = moment() + fetchMillis
      }
    },

    /** Connections to Postgres are terminated until the answer is called. */
    fault: (): () => void => {
      faults = recent(faults)
      const span = begin(faults)
      count("faults of Postgres")
      return () => {
        span.to = moment() + faultMillis
      }
    },

    kill: (node: string) => {
      deaths.set(node, moment())
      count("killed nodes")
    },
    wasKilled: (node: string) => deaths.has(node),

    request: (clientId: string, node: string, succeeded: boolean) => {
      const client = clientOf(clientId)
      const at = moment()
      const last = client.lastRequest
      client.lastRequest = { at, node, succeeded }
      count("requests at the origin")
      if (last === undefined || !last.succeeded || at - last.at > lifetimeMillis - earlyMillis) return
      const died = deaths.get(last.node) ?? Number.POSITIVE_INFINITY
      if (died < last.at + fetchMillis) return
      if (overlap(client.writes, last.at - onItsWayMillis, at) || overlap(faults, last.at, last.at + fetchMillis)) {
        return
      }
      violated(`${clientId} was fetched by ${node} ${Math.round(at - last.at)} ms after ${last.node} had fetched it`)
    },

    answers: (clientId: string, node: string, began: Moment, tally: Tally) => {
      const client = clientOf(clientId)
      const ended = moment()
      count("batches of calls")
      slowestMillis = Math.max(slowestMillis, tally.slowestMillis)
      if (tally.slowestMillis > callMillis) {
        violated(`${node} took ${Math.round(tally.slowestMillis)} ms for ${clientId}`)
      }
      for (const [source, callers] of Object.entries(tally.sources)) count(`answers from ${source}`, callers)
      for (const [name, callers] of Object.entries(tally.versions)) {
        const version = Number(name)
        const least = floor(client, began)
        if (version < least) violated(`${node} answered ${clientId} with ${version}, after ${least} was written`)
        if (version > client.version) violated(`${node} answered ${clientId} with ${version}, which does not exist`)
        const replacedAt = client.replacedAt.get(version) ?? began
        if (replacedAt + lifetimeMillis + fetchMillis < began) {
          violated(`${node} answered ${clientId} with ${version}, replaced ${Math.round(began - replacedAt)} ms before`)
        }
        count("answers", callers)
      }
      for (const [tag, callers] of Object.entries(tally.errors)) {
        count(`errors ${tag}`, callers)
        const expected = tag === "CacheError" || tag === "RegistryError"
          ? overlap(faults, began, ended)
          : tag === "Throttled"
          // Those that the limits of a node refuse count for the share of new clients.
          ? tally.throttled["failed"] === undefined || overlap(client.broken, began - pauseMillis, ended)
          : fetchErrors.has(tag) && overlap(client.broken, began, ended)
        if (!expected) violated(`${node} answered ${clientId} with ${tag}, and nothing was wrong: ${tally.cause}`)
      }
    },

    /** Honest clients whose origins never fail. Calls during a fault of Postgres do not count. */
    honest: (party: Party, clientId: string, node: string, began: Moment, tally: Tally) => {
      const of = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((sum, by) => sum + by, 0)
      const answered = of(tally.sources)
      const failed = of(tally.errors)
      if (tally.throttled["failed"] !== undefined) {
        violated(`${node} booked a failure on the ${party} client ${clientId}, whose origin never fails`)
      }
      if (tally.slowestMillis > callMillis) {
        violated(`${node} took ${Math.round(tally.slowestMillis)} ms for the ${party} client ${clientId}`)
      }
      if (overlap(faults, began, moment())) return
      shares[party].asked += answered + failed
      shares[party].answered += answered
      count(`answers of ${party} clients`, answered)
      for (const [tag, callers] of Object.entries(tally.errors)) count(`errors of ${party} clients ${tag}`, callers)
      for (const [reason, callers] of Object.entries(tally.throttled)) {
        count(`errors of ${party} clients Throttled ${reason}`, callers)
      }
    },

    /** Clients of the attacker. Whatever they get, they get in time. */
    attack: (clientId: string, node: string, tally: Tally) => {
      count("requests of the attacker")
      count("answers of the attacker", Object.values(tally.sources).reduce((sum, by) => sum + by, 0))
      if (tally.slowestMillis > callMillis) {
        violated(`${node} took ${Math.round(tally.slowestMillis)} ms for ${clientId}`)
      }
    },

    /** Holds the shares that honest clients got to what they must be. */
    checkShares: () => {
      for (const [party, least] of Object.entries(leastShares)) {
        const { answered, asked } = shares[party as Party]
        const share = answered / asked
        counts[`share of ${party} clients`] = Number(share.toFixed(4))
        if (!(share >= least)) violated(`${answered} of ${asked} calls of ${party} clients were answered`)
      }
    },

    /** Something else than a call, with the tag of its error. */
    operation: (node: string, what: string, began: Moment, error: string | null | undefined) => {
      if (error === null || error === undefined) return
      count(`errors of ${what}`)
      if (error !== "CacheError" || !overlap(faults, began, moment())) {
        violated(`${node} answered to ${what} with ${error}, and nothing was wrong`)
      }
    },

    count,
    summary: () => ({ ...counts, slowestMillis: Math.round(slowestMillis) })
  }
}
