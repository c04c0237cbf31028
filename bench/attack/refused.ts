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

/** A look at a database on which nothing else writes: it assigns a transaction id to what writes, and to nothing else. */
const observed = async <A>(
  databaseUrl: string,
  server: Server,
  use: (counts: () => Promise<{ readonly transactions: number; readonly notifications: number }>) => Promise<A>
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

/** Holds the turns of a site, and then requests more of it than may wait. */
export const refused = (databaseUrl: string, server: Server, count: number): Promise<ReadonlyArray<Row>> =>
  observed(databaseUrl, server, async (counts) => {
    const held = new Tally()
    const tally = new Tally()
    // What a node writes about itself after its start and its first request, it has written by then.
    await server.resolve("https://usual.example/client.json")
    await seconds(8)
    const before = await counts()
    const holding = inTurn(holders, holders, (index) => held.of(server.resolve(ofOneSite("hang", index))))
    await seconds(0.5)
    const from = await counts()
    await inTurn(64, count, (index) => tally.of(server.resolve(ofOneSite("missing", index))))
    const to = await counts()
    await holding
    const throttled = [...tally.outcomes].reduce(
      (sum, [outcome, count]) => sum + (outcome.startsWith("Throttled") ? count : 0),
      0
    )
    const rows = (["transactions", "notifications"] as const).map((what) =>
      atMost(
        `${what === "transactions" ? "transaction ids" : what} of ${count} refused requests`,
        to[what] - from[what],
        0,
        `against ${from[what] - before[what]} of ${holders} that are permitted; ${tally.text} answered`
      )
    )
    return rows.map((row) => ({ ...row, holds: row.holds && throttled === count }))
  })
