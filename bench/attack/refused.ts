/** The transactions and notifications that requests cost which the limits refuse. */
import pg from "pg"
import * as TableNames from "../../dist/src/internal/postgres/tableNames.js"
import { ofOneSite } from "../../test/support/attack/world.js"
import type { Row } from "../row.js"
import { atMost } from "../row.js"
import type { Server } from "./driver.js"
import { inTurn, seconds, Tally } from "./driver.js"

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

/** Requests of a moment in which none is permitted. The rate limit permits another one every 333 ms. */
const atOnce = 50

/** Uses up the rate of a site, and then requests more of it at once, until so many were refused. */
export const refused = (databaseUrl: string, server: Server, count: number): Promise<ReadonlyArray<Row>> =>
  observed(databaseUrl, server, async (counts) => {
    let next = 0
    const request = (tally: Tally) => tally.of(server.resolve(ofOneSite("missing", next++)))
    const measured = async (requests: number) => {
      const tally = new Tally()
      const from = await counts()
      await inTurn(requests, requests, () => request(tally))
      const to = await counts()
      return {
        tally,
        transactions: to.transactions - from.transactions,
        notifications: to.notifications - from.notifications
      }
    }
    // What a node writes about itself after its start and its first request, it has written by then.
    await server.resolve("https://usual.example/client.json")
    await seconds(8)
    const permitted = await measured(30)
    const all = new Tally()
    const cost = { transactions: 0, notifications: 0 }
    for (let tries = 0; all.asked < count && tries < 4 * count / atOnce; tries++) {
      // Takes the starts that were restored in between.
      await inTurn(4, 4, () => request(new Tally()))
      const { notifications, tally, transactions } = await measured(atOnce)
      // On a busy machine a start may be restored during the moment.
      if (tally.throttled < atOnce) continue
      all.add(tally)
      cost.transactions += transactions
      cost.notifications += notifications
    }
    return (["transactions", "notifications"] as const).map((what) => {
      const row = atMost(
        `${what === "transactions" ? "transaction ids" : what} of ${count} refused requests`,
        cost[what],
        0,
        `${all.text} answered; against ${permitted[what]} of 30 (${permitted.tally.text} answered)`
      )
      return { ...row, holds: row.holds && all.asked >= count }
    })
  })
