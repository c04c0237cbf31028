import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Cache, CacheError, Entry, Instant } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import { MemoryStore } from "../memoryStore.js"
import * as StoredDocument from "../storedDocument.js"
import * as Lifetime from "../storedLifetime.js"
import type { Handlers } from "./notifications.js"
import { entryFor, type Find } from "./reads.js"

/** A read or write of the database whose result memory may keep, unless a change invalidates it first. */
class Pending {
  invalidated = false
}

/**
 * A memory tier in front of a cache. It keeps what was read or written for its remaining lifetime, counted on the node's
 * own monotonic clock, and forgets it when another node notifies a change. It serves an entry only while this node
 * certainly receives every notification, or for a short time after the read.
 */
export const make = (
  behind: Cache["Type"],
  find: Find,
  options: {
    readonly maxBytes: number
    readonly disconnectedTtlNanos: bigint
    readonly nanos: () => bigint
    readonly connectedUntil: () => bigint
  }
): { readonly cache: Cache["Type"]; readonly handlers: Omit<Handlers, "released"> } => {
  const { connectedUntil, nanos } = options
  const memory = new MemoryStore(options.maxBytes)
  const pending = new Map<string, Set<Pending>>()

  // The write of an interrupted caller may still be committed, however late, and only its notification says so. After
  // the first one, this node handles its own notifications as well, which costs one more read per write.
  let handlesOwn = false

  const changed = (clientId: string) => {
    memory.delete(clientId)
    for (const one of pending.get(clientId) ?? []) one.invalidated = true
  }

  const allChanged = () => {
    memory.clear()
    for (const ofClient of pending.values()) {
      for (const one of ofClient) one.invalidated = true
    }
  }

  /** Runs a read or write of the database. `remember` receives the result unless a change invalidated it. */
  const tracked = <A>(
    clientId: string,
    effect: Effect.Effect<A, CacheError>,
    remember: (result: A, startedAt: bigint) => void,
    failed?: () => void
  ): Effect.Effect<A, CacheError> =>
    // An interruption between registering and `onExit` would leak the entry.
    Effect.uninterruptibleMask((restore) => {
      const one = new Pending()
      const startedAt = nanos()
      const others = pending.get(clientId)
      if (others === undefined) pending.set(clientId, new Set([one]))
      else others.add(one)
      return Effect.onExit(restore(effect), (exit) =>
        Effect.sync(() => {
          const ofClient = pending.get(clientId)
          ofClient?.delete(one)
          if (ofClient?.size === 0) pending.delete(clientId)
          if (exit._tag === "Failure") failed?.()
          else if (!one.invalidated) remember(exit.value, startedAt)
        }))
    })

  const remember = (stored: StoredDocument.StoredDocument, fetchedAt: Instant, startedAt: bigint, millis: {
    readonly remaining: number
    readonly lifetime: number
  }) => {
    // Counted from before the statement was sent, so that memory never outlives the row.
    const expiresAt = startedAt + BigInt(Math.floor(millis.remaining * 1_000_000))
    memory.set(stored.clientId, {
      stored,
      fetchedAt,
      expiresAt,
      keptUntil: expiresAt,
      trustedUntil: startedAt + options.disconnectedTtlNanos,
      lifetimeMillis: millis.lifetime,
      withdrawn: false,
      withdrawnFor: []
    })
  }

  const peek = (clientId: string, ruleset: string): Entry | undefined => {
    const remembered = memory.get(clientId)
    const document = remembered?.stored?.under(ruleset)
    if (remembered === undefined || document === undefined) return undefined
    const now = nanos()
    if (now >= remembered.expiresAt || (now >= connectedUntil() && now >= remembered.trustedUntil)) return undefined
    return {
      document,
      tier: "memory",
      remainingMillis: Number(remembered.expiresAt - now) / 1_000_000,
      lifetimeMillis: remembered.lifetimeMillis,
      fetchedAt: remembered.fetchedAt
    }
  }

  const readAndRemember: Find = (clientId) =>
    tracked(clientId, find(clientId), (found, startedAt) => {
      if (Option.isNone(found) || found.value.stored === undefined) return
      const { fetchedAt, lifetimeMillis, remainingMillis, stored } = found.value
      remember(stored, fetchedAt, startedAt, { remaining: remainingMillis, lifetime: lifetimeMillis })
    })

  const forgetting = <A>(forget: () => void, effect: Effect.Effect<A, CacheError>): Effect.Effect<A, CacheError> =>
    // Before the statement, so that this node serves nothing old while it runs. After it, for reads that ended in between.
    Effect.onExit(Effect.zipRight(Effect.sync(forget), effect), (exit) =>
      Effect.sync(() => {
        forget()
        if (exit._tag === "Failure") handlesOwn = true
      }))

  const cache: Cache["Type"] = {
    ...behind,
    peek,
    get: (clientId: ClientId, reader) =>
      Effect.suspend(() => {
        const entry = peek(clientId, reader.ruleset)
        return entry === undefined
          ? Effect.flatMap(readAndRemember(clientId), (found) => {
            const read = entryFor(reader)(found)
            const accepted = Option.getOrUndefined(found)?.stored?.accepted
            return accepted?.ruleset === reader.ruleset
              ? read
              : Effect.tap(read, () => Effect.sync(() => memory.weigh(clientId)))
          })
          : Effect.succeed(Option.some(entry))
      }),
    put: (document, options) =>
      tracked(document.clientId, behind.put(document, options), (isStored, startedAt) => {
        const lifetime = Lifetime.toMillis(options.timeToLive)
        if (isStored) {
          remember(StoredDocument.of(document), options.fetchedAt, startedAt, { remaining: lifetime, lifetime })
        } else {
          // The database has a later document, so what memory has, or is about to have, may be as old as this one.
          changed(document.clientId)
        }
      }, () => {
        changed(document.clientId)
        handlesOwn = true
      }),
    supersede: (clientId, fetchedAt) => forgetting(() => changed(clientId), behind.supersede(clientId, fetchedAt)),
    evict: (clientId) => forgetting(() => changed(clientId), behind.evict(clientId)),
    evictAll: forgetting(allChanged, behind.evictAll)
  }
  return { cache, handlers: { changed, allChanged, handlesOwn: () => handlesOwn } }
}
