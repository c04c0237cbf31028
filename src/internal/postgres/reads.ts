import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CacheError, Entry } from "../../Cache.js"
import type { ClientId } from "../../ClientId.js"
import * as metrics from "../metrics.js"
import type { PostgresStore } from "./documents.js"
import * as Batcher from "./readBatcher.js"
import type { Damaged, Found } from "./row.js"

/** Looks up the fresh document of a client. */
export type Find = (clientId: ClientId) => Effect.Effect<Option.Option<Found | Damaged>, CacheError>

/** Reads that come together are one query; two may be under way, so that a slow one does not hold up all. */
export const make = (store: PostgresStore): Find =>
  Batcher.make(store.getFresh, { concurrency: 2, minKeys: 8, maxKeys: 500, patience: store.patience })

/** What a row gives to who judges by a rule set: nothing if it is damaged, or was accepted under another (CAC-11). */
export const servable = (ruleset: string) => (found: Option.Option<Found | Damaged>): Option.Option<Entry> =>
  Option.flatMap(found, (found) => {
    if (found.document === undefined || found.document.ruleset !== ruleset) return Option.none()
    const { document, fetchedAt, lifetimeMillis, remainingMillis } = found
    return Option.some({ document, tier: "postgres" as const, remainingMillis, lifetimeMillis, fetchedAt })
  })

/** The same for a read that a caller asked for. What it does not get is counted. */
export const entryUnder = (ruleset: string) => (found: Option.Option<Found | Damaged>): Option.Option<Entry> => {
  const entry = servable(ruleset)(found)
  if (Option.isSome(found) && Option.isNone(entry)) {
    const rows = found.value.document === undefined ? metrics.damagedRows : metrics.otherRulesetRows
    rows.unsafeUpdate(1, [])
  }
  return entry
}
