import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Cache, CacheError, Entry, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import type { AcceptedDocument } from "../../ClientMetadata.js"
import * as Lifetime from "../lifetime.js"
import { MemoryStore } from "../memoryStore.js"
import type { Handlers } from "./notifications.js"
import { entryUnder, type Find } from "./reads.js"

/** What is on its way from the database into memory, and whether a change has overtaken it. */
class Fill {
  overtaken = false
}

/**
 * A memory tier in front of a cache: what was read or written is remembered for its remaining lifetime, counted on the
 * node's own monotonic clock, and forgotten when another node announces a change. It answers only while it has surely
 * heard of every change, or for a short time after a read.
 */
export const make = (
  behind: Cache["Type"],
  find: Find,
  options: {
    readonly maxEntries: number
    readonly unheardNanos: bigint
    readonly nanos: () => bigint
    readonly heardUntil: () => bigint
  }
): { readonly cache: Cache["Type"]; readonly handlers: Omit<Handlers, "released"> } => {
  const { heardUntil, nanos } = options
  const memory = new MemoryStore(options.maxEntries)
  const fills = new Map<string, Set<Fill>>()

  // A write whose caller gave it up may still be committed, however late, and its announcement is all that tells of it.
  // From then on this node heeds its own announcements: each write costs a read more, and nothing else.
  let heedsOwn = false

  const changed = (clientId: string) => {
    memory.delete(clientId)
    for (const fill of fills.get(clientId) ?? []) fill.overtaken = true
  }

  const allChanged = () => {
    memory.clear()
    for (const filling of fills.values()) {
      for (const fill of filling) fill.overtaken = true
    }
  }

  /** Runs what brings a document from the database, and remembers it unless a change was announced meanwhile. */
  const filling = <A>(
    clientId: string,
    effect: Effect.Effect<A, CacheError>,
    remember: (result: A, startedAt: bigint) => void,
    failed?: () => void
  ): Effect.Effect<A, CacheError> =>
    // Who leaves between the two would be on the books for ever.
    Effect.uninterruptibleMask((restore) => {
      const fill = new Fill()
      const startedAt = nanos()
      const others = fills.get(clientId)
      if (others === undefined) fills.set(clientId, new Set([fill]))
      else others.add(fill)
      return Effect.onExit(restore(effect), (exit) =>
        Effect.sync(() => {
          const filling = fills.get(clientId)
          filling?.delete(fill)
          if (filling?.size === 0) fills.delete(clientId)
          if (exit._tag === "Failure") failed?.()
          else if (!fill.overtaken) remember(exit.value, startedAt)
        }))
    })

  const remember = (document: AcceptedDocument, fetchedAt: Instant, startedAt: bigint, millis: {
    readonly remaining: number
    readonly lifetime: number
  }) => {
    memory.set(document.clientId, {
      document,
      fetchedAt,
      // Counted from before the question was sent, so that memory never outlives the row.
      expiresAt: startedAt + BigInt(Math.floor(millis.remaining * 1_000_000)),
      heldUntil: startedAt + options.unheardNanos,
      lifetimeMillis: millis.lifetime,
      withdrawn: false
    })
  }

  const peek = (clientId: string, ruleset: string): Entry | undefined => {
    const remembered = memory.get(clientId)
    if (remembered?.document === undefined || remembered.document.ruleset !== ruleset) return undefined
    const now = nanos()
    if (now >= remembered.expiresAt || (now >= heardUntil() && now >= remembered.heldUntil)) return undefined
    return {
      document: remembered.document,
      tier: "memory",
      remainingMillis: Number(remembered.expiresAt - now) / 1_000_000,
      lifetimeMillis: remembered.lifetimeMillis,
      fetchedAt: remembered.fetchedAt
    }
  }

  const findAndRemember: Find = (clientId) =>
    filling(clientId, find(clientId), (found, startedAt) => {
      if (Option.isNone(found) || found.value.document === undefined) return
      const { document, fetchedAt, lifetimeMillis, remainingMillis } = found.value
      remember(document, fetchedAt, startedAt, { remaining: remainingMillis, lifetime: lifetimeMillis })
    })

  const forgetting = <A>(forget: () => void, effect: Effect.Effect<A, CacheError>): Effect.Effect<A, CacheError> =>
    // Before, so that nobody here reads it while the database is asked; and after, for what was filled meanwhile.
    Effect.onExit(Effect.zipRight(Effect.sync(forget), effect), (exit) =>
      Effect.sync(() => {
        forget()
        if (exit._tag === "Failure") heedsOwn = true
      }))

  const cache: Cache["Type"] = {
    ...behind,
    peek,
    get: (clientId: ClientId, ruleset) =>
      Effect.suspend(() => {
        const entry = peek(clientId, ruleset)
        return entry === undefined
          ? Effect.map(findAndRemember(clientId), entryUnder(ruleset))
          : Effect.succeed(Option.some(entry))
      }),
    put: (document, options) =>
      filling(document.clientId, behind.put(document, options), (stored, startedAt) => {
        const lifetime = Lifetime.toMillis(options.timeToLive)
        if (stored) remember(document, options.fetchedAt, startedAt, { remaining: lifetime, lifetime })
        // A later document is in the database, so what is remembered, or is about to be, may be as old as this one.
        else changed(document.clientId)
      }, () => {
        changed(document.clientId)
        heedsOwn = true
      }),
    supersede: (clientId, fetchedAt) => forgetting(() => changed(clientId), behind.supersede(clientId, fetchedAt)),
    evict: (clientId) => forgetting(() => changed(clientId), behind.evict(clientId)),
    evictAll: forgetting(allChanged, behind.evictAll)
  }
  return { cache, handlers: { changed, allChanged, heedsOwn: () => heedsOwn } }
}
