/**
 * The permits of one lane, and the queue for them (FET-15, FET-22).
 *
 * Written by hand, because the semaphore and the `RateLimiter` of effect queue without a bound and first come, first
 * served, so a single site could fill the queue, and the latter delays a fetch that has to fail with a retry time.
 */
import * as metrics from "../metrics.js"
import * as Meter from "./meter.js"
import type { Payers, Request, Shares } from "./payers.js"
import { PayerTable } from "./payers.js"
import type { Refusal } from "./refusal.js"
import { busy } from "./refusal.js"

/** A fetch that waits for a permit, or has one. */
export interface Ticket extends Payers {
  state: "waiting" | "running" | "over"
  /** Whether the fetch has begun, so that its start is not taken back. */
  begun: boolean
  /** Why a waiter lost its place. */
  refusal: Refusal | undefined
  /** Called when a waiter receives its permit or loses its place. */
  onSettled: () => void
}

/** How long a site or domain counts as slow after a slow fetch. */
const slowMillis = 60_000

export class Lane {
  readonly payers: PayerTable
  /** In the order of their arrival. */
  readonly #waiting = new Set<Ticket>()
  readonly #running = new Set<Ticket>()
  readonly #permits: number
  #grants = 0

  readonly #gauges: metrics.FetchGauges

  constructor(name: "confirmed" | "other", shares: Shares) {
    this.payers = new PayerTable(shares)
    this.#permits = shares.concurrency
    this.#gauges = metrics.fetchGauges(name)
  }

  /** Returns a ticket that has a permit or waits for one, or the refusal. */
  enter(request: Request, now: number): Ticket | Refusal {
    const payers = this.payers.of(request, now)
    for (const charge of payers.charges) {
      const refusal = Meter.refusalOf(charge, now)
      if (refusal !== undefined) return refusal
    }
    const ticket: Ticket = { ...payers, state: "waiting", begun: false, refusal: undefined, onSettled: () => {} }
    for (const charge of ticket.charges) {
      Meter.start(charge, 1, now)
      charge.meter.waiting++
    }
    this.#waiting.add(ticket)
    this.#grant(now)
    this.#show()
    if (this.#waiting.size <= this.#permits * Meter.waitersPerPermit) return ticket
    const loser = this.#loser(now) ?? ticket
    this.leave(loser, now)
    loser.refusal = busy("queue")
    loser.onSettled()
    return ticket.refusal ?? ticket
  }

  /** Returns a permit, or ends a wait. What the fetch did not begin costs nothing. */
  leave(ticket: Ticket, now: number): void {
    const { state } = ticket
    if (state === "over") return
    ticket.state = "over"
    const tickets = state === "running" ? this.#running : this.#waiting
    tickets.delete(ticket)
    for (const charge of ticket.charges) {
      charge.meter[state]--
      if (!ticket.begun) Meter.takeBack(charge, now)
    }
    this.#grant(now)
    this.#show()
  }

  /** Begins the fetch of a ticket. Returns `false` if it has no permit, or has begun before. */
  begin(ticket: Ticket): boolean {
    const begins = ticket.state === "running" && !ticket.begun
    ticket.begun = true
    return begins
  }

  /** Adds starts to those of a fetch that occupied the thread as long as several. */
  charge({ charges }: Ticket, starts: number, now: number): void {
    for (const charge of charges) {
      if (charge.limit.scope !== "requester") Meter.start(charge, starts, now)
    }
  }

  /** Records that a fetch took long. What newcomers cause does not count against accepted clients. */
  recordSlow({ domain, isNewcomer, site }: Ticket, now: number): void {
    const until = now + slowMillis
    if (isNewcomer) {
      site.newcomers.slowUntil = until
      domain.newcomers.slowUntil = until
    } else {
      site.all.slowUntil = until
    }
  }

  #show(): void {
    const { permits, trackedSites, waiting } = this.#gauges
    permits.unsafeUpdate(this.#running.size, [])
    waiting.unsafeUpdate(this.#waiting.size, [])
    trackedSites.unsafeUpdate(this.payers.sites.count, [])
  }

  #grant(now: number): void {
    while (this.#waiting.size > 0 && this.#running.size < this.#permits) {
      const next = this.#next(now)
      if (next === undefined) return
      this.#waiting.delete(next)
      this.#running.add(next)
      next.state = "running"
      next.site.lastPermit = ++this.#grants
      for (const { meter } of next.charges) {
        meter.waiting--
        meter.running++
      }
      next.onSettled()
    }
  }

  /**
   * Returns the waiter that receives the next permit. Sites that were slow lately wait behind the others, and together
   * never have more than half of the permits. Then the site with the fewest permits comes first, then the one that was
   * granted one longest ago. A domain may have twice as many. Within a site, accepted clients come before newcomers.
   */
  #next(now: number): Ticket | undefined {
    let next: Ticket | undefined
    let nextIsSlow = false
    let slowPermits: number | undefined
    for (const ticket of this.#waiting) {
      if (!ticket.charges.every(Meter.mayRun)) continue
      const slow = isSlow(ticket, now)
      if (slow && (slowPermits ??= this.#slowPermits(now)) <= 0) continue
      if (next === undefined || comesBefore(ticket, slow, next, nextIsSlow)) {
        next = ticket
        nextIsSlow = slow
      }
    }
    return next
  }

  #slowPermits(now: number): number {
    let free = Math.max(1, Math.floor(this.#permits / 2))
    for (const ticket of this.#running) {
      if (isSlow(ticket, now)) free--
    }
    return free
  }

  /**
   * Returns the waiter that loses its place in a full queue: the newest of the site with the most waiters, where a domain
   * may have twice as many. So a site with many waiters takes no place from one with few. Of sites with equally many, a
   * slow one loses first. Within a site, newcomers lose before accepted clients.
   */
  #loser(now: number): Ticket | undefined {
    let loser: Ticket | undefined
    for (const ticket of this.#waiting) {
      if (loser === undefined || losesBefore(ticket, loser, now)) loser = ticket
    }
    return loser
  }
}

/** A domain may have twice as much as a site. */
const permitsOf = ({ domain, site }: Ticket): number => Math.max(site.all.running, domain.all.running / 2)
const waitersOf = ({ domain, site }: Ticket): number => Math.max(site.all.waiting, domain.all.waiting / 2)

/** Of two equal tickets, the one that arrived first comes before. */
const comesBefore = (a: Ticket, aIsSlow: boolean, b: Ticket, bIsSlow: boolean): boolean => {
  const order = Number(aIsSlow) - Number(bIsSlow) || permitsOf(a) - permitsOf(b) ||
    a.site.lastPermit - b.site.lastPermit || Number(a.isNewcomer) - Number(b.isNewcomer)
  return order < 0
}

/** Of two equal tickets, the one that arrived last loses. */
const losesBefore = (later: Ticket, earlier: Ticket, now: number): boolean => {
  const order = waitersOf(earlier) - waitersOf(later) || Number(isSlow(earlier, now)) - Number(isSlow(later, now)) ||
    Number(earlier.isNewcomer) - Number(later.isNewcomer)
  return order <= 0
}

/** Whether a fetch of this site took long lately. The domain counts for newcomers only. */
const isSlow = ({ domain, isNewcomer, site }: Ticket, now: number): boolean =>
  now < site.all.slowUntil ||
  (isNewcomer && (now < site.newcomers.slowUntil || now < domain.newcomers.slowUntil))
