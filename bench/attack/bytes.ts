/** What is read from a server that sends session tickets without end. */
import { ofOneSite } from "../../test/support/attack/world.js"
import type { Row } from "../row.js"
import { atMost } from "../row.js"
import type { Server } from "./driver.js"
import { inTurn, Tally } from "./driver.js"

/** The default limit of a body, and what may come with it. */
const limit = 5120 + 65_536
const fetches = 20

export const bytes = async (server: Server): Promise<ReadonlyArray<Row>> => {
  const tally = new Tally()
  await inTurn(2, fetches, (index) => server.resolve(`https://usual${index}.example/client.json`))
  await inTurn(2, fetches, (index) => tally.of(server.resolve(ofOneSite("tickets", index))))
  const { attackers, origins } = (await server.status()).mostBytesRead
  return [atMost(
    "bytes read of a fetch from a server of endless session tickets",
    attackers,
    limit,
    `at most ${attackers} against ${origins} of an honest origin; of ${fetches} fetches ${tally.text} answered`
  )]
}
