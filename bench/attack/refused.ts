/** The transactions and notifications that requests cost which the limits refuse. */
import pg from "pg"
import * as TableNames from "../../dist/src/internal/postgres/tableNames.js"
import { ofOneSite } from "../../test/support/attack/world.js"
import type { Row } from "../row.js"
import { atMost } from "../row.js"
import type { Server } from "./driver.js"
import { inTurn, seconds, Tally } from "./driver.js"

/** As many as fetch at once from one site. */
const holders = 4

interface Counts {
  readonly transactions: number
  readonly notifications: number
}

/** A look at a database on which nothing else writes: it assigns a transaction id to what writes, and to nothing else. */
const observed = async <A>(
  databaseUrl: string,
  server: Server,
  use: (counts: () => Promise<Counts>) => Promise<A>
): Promise<A> => {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  let notifications = 0
  client.on("notification", () => notifications++)
  await client.query(`LISTEN ${pg.escapeIdentifier(TableNames.defaults.channel)}`)
  /** Transactions so far, without those of heartbeats, which go on all the time. */
  const counts = async () => {
    for (;;) {
      const before = await server.status()
      const { rows: [row] } = await client.query("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS id")
      const after = await server.status()
      const { done, sent } = before.heartbeats
      if (sent === done && after.heartbeats.sent === sent) {
        return { transactions: Number(row.id) - sent, notifications }
      }
      await seconds(0.02)
    }
  }
  try {
    return await use(counts)
  } finally {
    await client.end()
  }
}

const rounds = 4

/** Holds the permits of a site, and then requests more of it than may wait, a few times. */
export const refused = (databaseUrl: string, server: Server, count: number): Promise<ReadonlyArray<Row>> =>
  observed(databaseUrl, server, async (counts) => {
    const refused = new Tally()
    const cost = {
      permitted: { transactions: 0, notifications: 0 },
      refused: { transactions: 0, notifications: 0 }
    }
    const add = (name: keyof typeof cost, from: Counts, to: Counts) => {
      cost[name].transactions += to.transactions - from.transactions
      cost[name].notifications += to.notifications - from.notifications
    }
    // What a node writes about itself after its start and its first request, it has written by then.
    await server.resolve("https://usual.example/client.json")
    await seconds(8)
    for (let round = 0; round < rounds; round++) {
      const before = await counts()
      const holding = inTurn(holders, holders, (index) => server.resolve(ofOneSite("hang", round * holders + index)))
      await seconds(0.5)
      const from = await counts()
      await inTurn(
        64,
        count / rounds,
        (index) => refused.of(server.resolve(ofOneSite("missing", round * count + index)))
      )
      const to = await counts()
      await holding
      add("permitted", before, from)
      add("refused", from, to)
    }
    let throttled = 0
    for (const [outcome, count] of refused.outcomes) if (outcome.startsWith("Throttled")) throttled += count
    return (["transactions", "notifications"] as const).map((what) => {
      const row = atMost(
        `${what === "transactions" ? "transaction ids" : what} of ${count} refused requests`,
        cost.refused[what],
        0,
        `against ${cost.permitted[what]} of ${rounds * holders} that are permitted; ${refused.text} answered`
      )
      return { ...row, holds: row.holds && throttled === count }
    })
  })
