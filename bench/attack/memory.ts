/** The heap of a server with a memory cache that has resolved the documents which take the most memory. */
import type { Row } from "../row.js"
import { atMost } from "../row.js"
import type { Server } from "./driver.js"
import { inTurn, Tally } from "./driver.js"

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** Fetches a quarter of the documents at a time, and returns how far the heap had grown at most after one. */
const grown = async (server: Server, count: number, client: (index: number) => string) => {
  const tally = new Tally()
  const before = await server.collected()
  let [heap, external] = [0, 0]
  for (let quarter = 0; quarter < 4; quarter++) {
    await inTurn(16, count / 4, (index) => tally.of(server.resolve(client(quarter * count / 4 + index))))
    const now = await server.collected()
    heap = Math.max(heap, now.heapBytes - before.heapBytes)
    external = Math.max(external, now.externalBytes - before.externalBytes)
  }
  return { heap, external, tally }
}

export const memory = async (
  withFreshServer: <A>(use: (server: Server) => Promise<A>) => Promise<A>,
  count: number
): Promise<ReadonlyArray<Row>> => {
  const usual = await withFreshServer((server) =>
    grown(server, Math.ceil(count / 5), (index) => `https://usual${index}.example/client.json`)
  )
  const worst = await withFreshServer((server) =>
    grown(server, count, (index) => `https://worst${index}.example/worst.json`)
  )
  const text = ({ external, heap, tally }: typeof worst) =>
    `${megabytes(heap)} and ${megabytes(external)} outside of the heap, ${tally.text} answered`
  const row = atMost(
    `megabytes of heap after ${count} of the worst documents`,
    worst.heap / 1e6,
    100,
    `${text(worst)}; usual documents: ${text(usual)}`
  )
  // Two of the five kinds have too many values to be accepted.
  return [{ ...row, holds: row.holds && worst.tally.answered === count * 3 / 5 }]
}
