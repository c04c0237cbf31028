/**
 * The connections of node-postgres, and what their server says of them. A connection whose socket works can be of no use:
 * its server became a replica, or its session lost what was prepared on it. The socket alone does not show that.
 */
import pg from "pg"
import { endsConnection, readOnlyState } from "./sqlErrors.js"

/** A connection that remembers why it must not be used again. */
class JudgedClient extends pg.Client {
  /** The error that ends the use of this connection, once its server has reported it. */
  lost: Error | undefined

  constructor(config?: pg.ClientConfig) {
    super(config)
    // `query` of the host and of `PgClient` have callbacks of their own. Here every error of the server arrives first.
    this.connection.on("errorMessage", (error: Error) => {
      if (endsConnection(error)) this.lost ??= error
    })
  }
}

/** The parameters by which a server of Postgres 14 and later reports that it is read-only, also when it becomes so. */
const readOnlyParameters = new Set(["in_hot_standby", "default_transaction_read_only"])

/**
 * A connection to the primary. A replica answers reads, with documents that may have been evicted on the primary, so it
 * is never used. A server that turns read-only reports it before the result of the next statement.
 */
export class PrimaryClient extends JudgedClient {
  constructor(config?: pg.ClientConfig) {
    super(config)
    this.connection.on("parameterStatus", (status: { parameterName: string; parameterValue: string }) => {
      if (readOnlyParameters.has(status.parameterName) && status.parameterValue === "on") {
        this.lost ??= Object.assign(
          new Error(`the server is read-only, so it is not the primary (${status.parameterName} is on)`),
          { code: readOnlyState }
        )
      }
    })
  }
}

/**
 * A connection to a pooler, which chooses the server itself. The parameters that it reports may be those of an earlier
 * server, so they say nothing.
 */
export class PooledClient extends JudgedClient {
  // The pooler invents the process id. `pg_cancel_backend` would not reach this statement, and might reach another one.
  get processID(): undefined {
    return undefined
  }
  set processID(_: unknown) {}
}

/** Why a connection must not be used again; `undefined` if it can be. */
export const lostBy = (client: pg.ClientBase): Error | undefined =>
  client instanceof JudgedClient ? client.lost : undefined
