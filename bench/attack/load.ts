/**
 * Confirmed clients whose documents have expired, and new clients of other sites, first alone and then beside an attack.
 * Their rates are the same in both. No answer waits for a request: each is sent at its time.
 */
import type { Kind } from "../../test/support/attack/world.js"
import { ofManySites, ofOneSite } from "../../test/support/attack/world.js"
import type { Row } from "../row.js"
import { atLeast, atMost, unlimited } from "../row.js"
import type { Server } from "./driver.js"
import { atRate, inTurn, Tally } from "./driver.js"

export interface Size {
  readonly confirmed: { readonly idle: number; readonly attacked: number; readonly many: number }
  readonly perSecond: { readonly confirmed: number; readonly fresh: number; readonly attacks: number }
}

const turns: ReadonlyArray<Kind> = ["hang", "slow-tls", "tickets", "missing"]
/** Requests a second of an attacker with many sites, one after the other. */
const manyPerSecond = [10, 30, 100]

const limits = { confirmed: 0.999, fresh: 0.95, median: 2 }

const sites = 650
const confirmedClient = (index: number) =>
  `https://c${Math.floor(index / sites)}.app${index % sites}.example/client.json`
const newClient = (index: number) => `https://new${index}.example/late/client.json`

interface Load {
  readonly confirmed: Tally
  readonly fresh: Tally
  readonly attack: Tally
  /** The part of the time in which the event loop was busy. */
  readonly busy: number
}

const runner = (server: Server, perSecond: Size["perSecond"]) => {
  let confirmed = 0
  let fresh = 0
  let attacks = 0
  return async (
    seconds: number,
    attack?: { readonly perSecond: number; readonly client: (index: number) => string }
  ) => {
    const tallies = { confirmed: new Tally(), fresh: new Tally(), attack: new Tally() }
    const before = (await server.status()).activeMillis
    const start = performance.now()
    await Promise.all([
      atRate(
        perSecond.confirmed,
        perSecond.confirmed * seconds,
        () => tallies.confirmed.of(server.resolve(confirmedClient(confirmed++)))
      ),
      atRate(perSecond.fresh, perSecond.fresh * seconds, () => tallies.fresh.of(server.resolve(newClient(fresh++)))),
      atRate(
        attack?.perSecond ?? 1,
        (attack?.perSecond ?? 0) * seconds,
        () => tallies.attack.of(server.resolve(attack?.client(attacks++) ?? ""))
      )
    ])
    const busy = ((await server.status()).activeMillis - before) / (performance.now() - start)
    return { ...tallies, busy } satisfies Load
  }
}

const merged = (tallies: ReadonlyArray<Tally>): Tally => {
  const all = new Tally()
  for (const tally of tallies) all.add(tally)
  return all
}

const parts = <A>(loads: ReadonlyArray<readonly [A, Load]>, text: (load: Load) => string): string =>
  loads.map(([name, load]) => `${name} ${text(load)}`).join("; ")

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`

/** What gives way first while the attack grows. */
const firstToGiveWay = (idle: Load, loads: ReadonlyArray<readonly [number, Load]>): string => {
  for (const [perSecond, { confirmed, fresh }] of loads) {
    const worst = fresh.share < limits.fresh
      ? `the share of new clients: ${fresh.text}`
      : fresh.median > limits.median * idle.fresh.median
      ? `the time of new clients: ${fresh.median.toFixed(0)} ms`
      : confirmed.share < limits.confirmed
      ? `the share of confirmed clients: ${confirmed.text}`
      : undefined
    if (worst !== undefined) return `first gives way, at ${perSecond} requests a second, ${worst}`
  }
  return `nothing gave way, at up to ${manyPerSecond.at(-1)} requests a second`
}

export const load = async (server: Server, size: Size): Promise<ReadonlyArray<Row>> => {
  const { confirmed, perSecond } = size
  const run = runner(server, perSecond)
  const warmup = 5 * perSecond.confirmed
  const total = warmup + confirmed.idle + confirmed.attacked + confirmed.many
  await inTurn(16, total, (index) => server.confirm(confirmedClient(index)))
  await run(5)

  const idle = await run(confirmed.idle / perSecond.confirmed)
  const attacked: Array<readonly [Kind, Load]> = []
  for (const kind of turns) {
    const seconds = confirmed.attacked / turns.length / perSecond.confirmed
    attacked.push([kind, await run(seconds, { perSecond: perSecond.attacks, client: (i) => ofOneSite(kind, i) })])
  }
  const many: Array<readonly [number, Load]> = []
  for (const rate of manyPerSecond) {
    const seconds = confirmed.many / manyPerSecond.length / perSecond.confirmed
    many.push([rate, await run(seconds, { perSecond: rate, client: (i) => ofManySites("hang", i) })])
  }

  const all = {
    confirmed: merged(attacked.map(([, load]) => load.confirmed)),
    fresh: merged(attacked.map(([, load]) => load.fresh)),
    manyConfirmed: merged(many.map(([, load]) => load.confirmed)),
    manyFresh: merged(many.map(([, load]) => load.fresh))
  }
  const reason = firstToGiveWay(idle, many)
  return [
    atLeast(
      "share of confirmed clients with expired documents answered under attack",
      all.confirmed.share,
      limits.confirmed,
      `${all.confirmed.text} against ${idle.confirmed.text}; busy ${percent(idle.busy)}, then ${
        parts(attacked, ({ busy }) => percent(busy))
      }`
    ),
    atLeast(
      "share of new clients of other sites answered under attack",
      all.fresh.share,
      limits.fresh,
      `${all.fresh.text} against ${idle.fresh.text}; of the attack ${parts(attacked, ({ attack }) => attack.text)}`
    ),
    atMost(
      "time of new clients under attack, beside the same without it",
      all.fresh.median / idle.fresh.median,
      limits.median,
      `${all.fresh.median.toFixed(0)} ms against ${idle.fresh.median.toFixed(0)} ms; ${
        parts(attacked, ({ fresh }) => `${fresh.median.toFixed(0)} ms`)
      }`
    ),
    unlimited(
      "share of confirmed clients answered while 1,000 sites attack",
      all.manyConfirmed.share,
      `${all.manyConfirmed.text}; ${reason}`
    ),
    unlimited(
      "share of new clients answered while 1,000 sites attack",
      all.manyFresh.share,
      parts(many, ({ fresh }) => `a second: ${fresh.text}`)
    ),
    unlimited(
      "time of new clients while 1,000 sites attack, beside the same without it",
      all.manyFresh.median / idle.fresh.median,
      parts(
        many,
        ({ attack, busy, fresh }) =>
          `a second: ${fresh.median.toFixed(0)} ms, busy ${percent(busy)}, of the attack ${attack.text}`
      )
    )
  ]
}
