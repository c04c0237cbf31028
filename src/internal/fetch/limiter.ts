/**
 * Bounds how much a stranger can make this server fetch: concurrency and rate, overall and per payer, and the back-off of a
 * client whose fetch failed. This is abuse control and not caching: no response is kept.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { ClientId } from "../../ClientId.js"
import type { Dialer } from "../../Dialer.js"
import type { FetchError } from "../../FetchError.js"
import { Throttled } from "../../FetchError.js"
import * as metrics from "../metrics.js"
import { top } from "./accounts.js"
import * as AddressShare from "./addressShare.js"
import type { BackoffLimits } from "./backoff.js"
import * as Backoff from "./backoff.js"
import * as Deadline from "./deadline.js"
import type { Ticket } from "./lane.js"
import { Lane } from "./lane.js"
import type { Request, Shares } from "./payers.js"
import { busy, Refusal } from "./refusal.js"
import * as ThrottleLog from "./throttleLog.js"
import type { Usage } from "./transport.js"

export interface Limits extends Shares {
  /** Maximum number of concurrent fetches of confirmed clients, which come on top of the others. */
  readonly confirmedConcurrency: number
  /** The longest wait for a permit. */
  readonly queueTimeoutMillis: number
  /** The timeout of a fetch, whose half makes a fetch slow. */
  readonly timeoutMillis: number
  readonly backoff: BackoffLimits
}

/** The permit of one fetch. */
export interface Permit {
  /** Runs the fetch, once, and records how it ended and what it cost. */
  readonly use: <A>(usage: Usage, fetch: Effect.Effect<A, FetchError | Refusal>) => Effect.Effect<A, FetchError>
  /** Returns the dialer of the fetch, which bounds the share of an address. */
  readonly dialer: (dial: Dialer["Type"]["dial"]) => Effect.Effect<Dialer["Type"]["dial"], never, Scope.Scope>
}

export interface Limiter {
  /** Waits for a permit, or fails with `Throttled`. The permit is returned when the scope closes. */
  readonly acquire: (request: Request) => Effect.Effect<Permit, Throttled, Scope.Scope>
}

/** Time on the thread that counts as one start. */
const millisPerStart = 20

// Monotonic, so that a pause does not change with the time of day.
const millisOf = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

export const make = (limits: Limits): Limiter => {
  const { queueTimeoutMillis, rateLimit, timeoutMillis } = limits
  const confirmed = new Lane("confirmed", { ...limits, concurrency: limits.confirmedConcurrency })
  const other = new Lane("other", limits)
  const backoff = Backoff.make(limits.backoff, limits.maxTrackedKeys)
  const addresses = AddressShare.make(Math.max(1, Math.floor(limits.concurrency / 2)))
  const log = ThrottleLog.make((now) => ({
    sites: top([confirmed.payers.sites, other.payers.sites], now),
    requesters: top([confirmed.payers.requesters, other.payers.requesters], now)
  }))

  const throttled = (clientId: ClientId, refusal: Refusal, now: number): Effect.Effect<never, Throttled> => {
    const { details, reason, retryAfterMillis } = refusal
    metrics.throttledBy(refusal).unsafeUpdate(1, [])
    return Effect.zipRight(
      log.record(refusal, now),
      new Throttled({ clientId, reason, retryAfterMillis, ...details })
    )
  }

  const wait = (ticket: Ticket): Effect.Effect<void, Refusal> =>
    Deadline.within(
      Effect.async<void, Refusal>((resume) => {
        ticket.onSettled = () => resume(ticket.refusal === undefined ? Effect.void : Effect.fail(ticket.refusal))
        if (ticket.state !== "waiting") ticket.onSettled()
      }),
      queueTimeoutMillis,
      () => busy("queue")
    )

  const permitOf = ({ clientId, known }: Request, lane: Lane, ticket: Ticket, clock: Clock.Clock): Permit => {
    const record = (exit: Exit.Exit<unknown, FetchError>, { handshakeMillis }: Usage, startedAt: number): void => {
      const now = millisOf(clock)
      backoff.record(clientId, exit, now)
      if (now - startedAt >= timeoutMillis / 2) lane.recordSlow(ticket, now)
      // After a pause of the whole process, the time may be of any length.
      const furtherStarts = Math.min(Math.ceil(handshakeMillis / millisPerStart) - 1, rateLimit.limit)
      if (furtherStarts > 0) lane.charge(ticket, furtherStarts, now)
    }
    return {
      use: (usage, fetch) =>
        Effect.suspend(() => {
          if (!lane.begin(ticket)) return Effect.dieMessage("A permit is for one fetch, until its scope closes")
          const startedAt = millisOf(clock)
          return fetch.pipe(
            Effect.catchIf(
              (error) => error instanceof Refusal,
              (refusal) => throttled(clientId, refusal, millisOf(clock))
            ),
            Effect.onExit((exit) => Effect.sync(() => record(exit, usage, startedAt)))
          )
        }),
      dialer: (dial) => known === "nothing" ? addresses.dialer(dial) : Effect.succeed(dial)
    }
  }

  return {
    acquire: (request) =>
      Effect.clockWith((clock) =>
        Effect.uninterruptibleMask((restore) => {
          const { clientId } = request
          const lane = request.known === "confirmed" ? confirmed : other
          const now = millisOf(clock)
          const ticket = backoff.refusalOf(clientId, now) ?? lane.enter(request, now)
          if (ticket instanceof Refusal) return throttled(clientId, ticket, now)
          const leave = Effect.sync(() => lane.leave(ticket, millisOf(clock)))
          // Another fetch of the same client may have failed during the wait.
          const waited = Effect.flatMap(restore(wait(ticket)), () => {
            const refusal = backoff.refusalOf(clientId, millisOf(clock))
            return refusal === undefined ? Effect.void : Effect.fail(refusal)
          })
          return (ticket.state === "running" ? Effect.void : Effect.onError(waited, () => leave)).pipe(
            Effect.zipRight(Effect.addFinalizer(() => leave)),
            Effect.as(permitOf(request, lane, ticket, clock)),
            Effect.catchAll((refusal) => throttled(clientId, refusal, millisOf(clock)))
          )
        })
      )
  }
}
