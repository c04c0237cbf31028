/** What handshakes with hostile servers of one site cost the event loop, beside as many with honest ones. */
import { ofOneSite } from "../../test/support/attack/world.js"
import type { Row } from "../row.js"
import { atMost } from "../row.js"
import type { Server } from "./driver.js"
import { atRate, inTurn, seconds, Tally } from "./driver.js"

export interface Size {
  readonly rounds: number
  readonly secondsPerRound: number
}

// As many as the limits of a site permit.
const perSecond = 2.9

const hostile = (index: number) => ofOneSite("slow-tls", index)
/** Hosts of another site, which complete the handshake and then do not have the document. */
const honest = (index: number) => `https://app${index}.example.org/missing.json`

export const tls = async (server: Server, { rounds, secondsPerRound }: Size): Promise<ReadonlyArray<Row>> => {
  const tallies = { hostile: new Tally(), honest: new Tally() }
  const active = { hostile: 0, honest: 0, idle: 0 }
  const count = Math.floor(perSecond * secondsPerRound)
  let next = 0
  const measured = async (name: keyof typeof active, work: () => Promise<unknown>) => {
    const before = (await server.status()).activeMillis
    await Promise.all([work(), seconds(secondsPerRound + 1)])
    active[name] += (await server.status()).activeMillis - before
  }
  const burst = (name: keyof typeof tallies, client: (index: number) => string) =>
    measured(name, () => atRate(perSecond, count, () => tallies[name].of(server.resolve(client(next++)))))

  // The code of a fetch is compiled while it runs for the first times.
  await inTurn(8, 300, (index) => server.resolve(`https://warm${index}.example/missing.json`))
  for (let round = 0; round < rounds; round++) {
    await measured("idle", () => Promise.resolve())
    await burst("honest", honest)
    await burst("hostile", hostile)
  }
  const [hostileMillis, honestMillis] = [active.hostile - active.idle, active.honest - active.idle]
  const each = (millis: number) => `${(millis / rounds / count).toFixed(1)} ms`
  return [atMost(
    "event loop for hostile TLS of one site, beside honest handshakes at the same rate",
    hostileMillis / honestMillis,
    2,
    `${each(hostileMillis)} against ${
      each(honestMillis)
    } a request, at ${perSecond} a second; ${tallies.hostile.text} against ${tallies.honest.text}`
  )]
}
