/** When clients were used: gathered, so that many tokens cost few writes. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { RegistryError } from "../../../ClientRegistry.js"
import type { Run } from "../statementTimeout.js"
import type { Settings } from "./settings.js"
import type { Statements } from "./statements.js"

const flushMillis = 1000
const intervalNanos = 60_000_000_000n
const intervalMicros = 60_000_000n
const maxClients = 10_000

/** Returns `used`. What it gathered is written every second, and when the scope closes. */
export const make = (
  { clients, interval, sql }: Statements,
  { forgetAfter }: Settings,
  timeout: Run<RegistryError>,
  nanos: () => bigint
): Effect.Effect<(clientId: string) => void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const pending = new Set<string>()
    /** When this node last wrote a use of a client, the oldest first. */
    const written = new Map<string, bigint>()

    // Two nodes lock the rows in one order. Of all nodes, one writes a use of a client in a minute.
    const write = (clientIds: ReadonlyArray<string>) =>
      timeout("confirm")(sql`UPDATE ${clients} SET used_at = clock_timestamp(), revision = revision + 1
        WHERE client_id = ANY(ARRAY(
          SELECT client_id FROM ${clients} WHERE client_id = ANY(${clientIds}::text[])
            AND used_at < clock_timestamp() - ${interval(intervalMicros)}
            AND used_at > clock_timestamp() - ${interval(forgetAfter)}
          ORDER BY client_id FOR NO KEY UPDATE
        )) AND used_at < clock_timestamp() - ${interval(intervalMicros)}
          AND used_at > clock_timestamp() - ${interval(forgetAfter)}`)

    const forgetOld = (now: bigint) => {
      for (const [clientId, at] of written) {
        if (written.size <= maxClients && now - at < intervalNanos) break
        written.delete(clientId)
      }
    }

    const flush = Effect.suspend(() => {
      const now = nanos()
      forgetOld(now)
      if (pending.size === 0) return Effect.void
      const clientIds = [...pending]
      return Effect.matchCauseEffect(write(clientIds), {
        // What was not written stays for the next time.
        onFailure: (cause) =>
          Effect.logDebug("Writing the uses of clients failed; the next turn tries again", Cause.squash(cause)),
        onSuccess: () =>
          Effect.sync(() => {
            for (const clientId of clientIds) {
              pending.delete(clientId)
              written.set(clientId, now)
            }
          })
      })
    })

    yield* Effect.addFinalizer(() => flush)
    yield* Effect.forkScoped(Effect.repeat(Effect.delay(flush, flushMillis), Schedule.forever))

    return (clientId) => {
      const at = written.get(clientId)
      if (at !== undefined && nanos() - at < intervalNanos) return
      // Beyond the bound, a later use of the client counts.
      if (pending.size < maxClients) pending.add(clientId)
    }
  })
