import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CacheError, Entry } from "../Cache.js"
import type { ClientId } from "../ClientId.js"
import * as Batcher from "./batcher.js"
import * as metrics from "./metrics.js"
import type { Found, PostgresStore } from "./postgresStore.js"

/** Looks up the fresh document of a client. */
export type Find = (clientId: ClientId) => Effect.Effect<Option.Option<Found>, CacheError>

/** Reads that come together are one query; two may be under way, so that a slow one does not hold up all. */
export const make = (store: PostgresStore): Find =>
  Batcher.make(store.getFresh, { concurrency: 2, minKeys: 8, maxKeys: 500, patience: store.patience })

/** What a row gives to who judges by a rule set: nothing, and a count, if it was accepted under another (CAC-11). */
export const entryUnder = (ruleset: string) => (found: Option.Option<Found>): Option.Option<Entry> =>
  Option.flatMap(found, ({ document, fetchedAt, lifetimeMillis, remainingMillis }) => {
    if (document.ruleset === ruleset) {
      return Option.some({ document, tier: "postgres" as const, remainingMillis, lifetimeMillis, fetchedAt })
    }
    metrics.otherRulesetRows.unsafeUpdate(1, [])
    return Option.none()
  })
