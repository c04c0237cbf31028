/** The tests that PgBouncer in transaction mode cannot pass, each with its reason. */

const notifications = "it needs LISTEN, which needs a session of its own"
const slow = "each round takes the second after which memory asks again, since it hears of no change"
const sessions = "it looks into the sessions of a client that has them for itself"
const refused = "it makes a client without the option `pooler`, which PgBouncer refuses"
const users = "PgBouncer knows one user only"
const cancels = "it needs a statement of a plain `PgClient` to be cancelled, which a pooler prevents"

export const leftOut: ReadonlyArray<readonly [test: string, reason: string]> = [
  ["SWP-04: a batch that times out is tried again at half its size", cancels],
  ["a wrong password", refused],
  ["an unknown user", refused],
  ["a missing database", refused],
  ["a user with these privileges only", users],
  ["run in an existing schema as a user that may not create schemas", users],
  ["the statements and the grants are enough for a cache", users],
  ["the statements need no right to create schemas if the schema exists", users],
  ["without a privilege that it needs", users],
  ["CAC-15: a role without rights to the tables", users],
  ["connects through the sockets of `stream`, also to listen", notifications],
  ["reads its options from Config", refused],
  ["reads from the database of its own client, with two clients in one program", refused],
  ["queues no statement behind another on a connection", refused],
  ["layerTiered closes every connection when its scope closes", notifications],
  ["prepares the reads once on each connection", sessions],
  ["CAC-16: leaves nothing on a session that a pooler shares", sessions],
  ["and writes reach nodes that connect directly", refused],
  ["CAC-09: with a pooler, a write that timed out keeps its connection", sessions],
  ["a caller that timed out waiting for a connection no longer counts as waiting", refused],
  ["PostgresClient.layer with blocked statements", sessions],
  ["a statement on a connection of the pool", sessions],
  ["what one node puts or evicts, the other forgets within a second", notifications],
  ["also after its LISTEN connection was terminated", notifications],
  ["CAC-12: a node whose connection is cut without notice reports itself as not listening", notifications],
  ["also while the connections that listen are being killed", notifications],
  ["a node handles its own", notifications],
  ["without a free connection calls fail in time, memory answers for a second", notifications],
  ["what one evicts or refreshes all others have seen within a second", slow],
  ["what one evicts together with all else the others have seen within a second", slow],
  ["makes one fetch for all nodes that read a client in the last part of its lifetime", notifications]
]

const escaped = leftOut.map(([test]) => test.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))

/** The names of all other tests, as `vitest --testNamePattern` takes them. */
export const pattern = `^(?!.*(${escaped.join("|")}))`
