/** Who pays for a fetch: its site, its domain and its requester, each within limits of its own (FET-20, FET-23). */
import { isIP } from "node:net"
import type { ClientId } from "../../ClientId.js"
import { networkOf } from "../addressNetwork.js"
import { domainOf, siteOf } from "../rules/site.js"
import type { Account } from "./accounts.js"
import { Accounts } from "./accounts.js"
import { BoundedTable } from "./boundedTable.js"
import type { Charge, Limit, RateLimit } from "./meter.js"
import { charge, countOnly, half, limitOf } from "./meter.js"

/** A fetch that asks for a permit. */
export interface Request {
  readonly clientId: ClientId
  /** What is known of the client. With `site` or `nothing`, it was never accepted. */
  readonly known: "confirmed" | "accepted" | "site" | "nothing"
  readonly requester: string | undefined
}

export interface Payers {
  readonly site: Account
  readonly domain: Account
  readonly requester: Account | undefined
  /** Whether the client was never accepted. */
  readonly isNewcomer: boolean
  readonly charges: ReadonlyArray<Charge>
}

export interface Shares {
  /** Maximum number of concurrent fetches of all sites. */
  readonly concurrency: number
  readonly concurrencyPerSite: number
  /** The rate limit of a site. */
  readonly rateLimit: RateLimit
  readonly maxTrackedKeys: number
}

/** How long a site or domain is remembered for an accepted client. */
const acceptedMillis = 3_600_000

/** An address pays with its network. Any other name of a requester has no meaning here. */
const requesterName = (requester: string): string => isIP(requester) === 0 ? requester : networkOf(requester)

export class PayerTable {
  readonly sites: Accounts
  readonly requesters: Accounts
  readonly #domains: Accounts
  // Apart from the accounts: while it is full, it takes no room from them, and further sites are just not remembered.
  readonly #accepted: BoundedTable<string, number>
  readonly #limits: Record<"site" | "domain" | "requester" | "newSite" | "newDomain", Limit>

  constructor({ concurrency, concurrencyPerSite, maxTrackedKeys, rateLimit }: Shares) {
    this.sites = new Accounts(maxTrackedKeys)
    this.#domains = new Accounts(maxTrackedKeys)
    this.requesters = new Accounts(maxTrackedKeys)
    this.#accepted = new BoundedTable(maxTrackedKeys, (until, now) => now < until)
    const domainRate = { ...rateLimit, limit: rateLimit.limit * 4 }
    const site = limitOf("site", concurrencyPerSite, rateLimit)
    const domain = limitOf("domain", concurrencyPerSite * 2, domainRate)
    const requester = limitOf("requester", Math.max(1, Math.floor(concurrency / 4)), domainRate)
    this.#limits = { site, domain, requester, newSite: half(site), newDomain: half(domain) }
  }

  of({ clientId, known, requester }: Request, now: number): Payers {
    const siteName = siteOf(clientId)
    const domainName = domainOf(clientId)
    if (known !== "nothing") {
      this.#remember(siteName, now)
      if (domainName !== siteName) this.#remember(domainName, now)
    }
    const isNewcomer = known === "site" || known === "nothing"
    const site = this.sites.of(siteName, now)
    const domain = this.#domains.of(domainName, now)
    const account = requester === undefined ? undefined : this.requesters.of(requesterName(requester), now)
    const limits = this.#limits
    const charges = [charge(site.all, limits.site), charge(domain.all, limits.domain)]
    if (account !== undefined) charges.push(charge(account.all, limits.requester))
    if (isNewcomer) {
      charges.push(
        this.#ofNewcomer(site, siteName, limits.newSite, now),
        this.#ofNewcomer(domain, domainName, limits.newDomain, now)
      )
    }
    return { site, domain, requester: account, isNewcomer, charges }
  }

  /** Of a site with an accepted client, the others have half. Otherwise that client could be starved by paths of its host. */
  #ofNewcomer(account: Account, name: string, limit: Limit, now: number): Charge {
    const hasAccepted = now < (this.#accepted.get(name) ?? now)
    return hasAccepted ? charge(account.newcomers, limit) : countOnly(account.newcomers, limit)
  }

  #remember(name: string, now: number): void {
    this.#accepted.set(name, now + acceptedMillis, now)
  }
}
