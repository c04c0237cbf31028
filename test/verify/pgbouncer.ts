/** Debian's PgBouncer in transaction mode, in front of a server of Postgres. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { connect } from "node:net"
import * as Path from "node:path"
import * as Debian from "./debian.js"

const accepts = (port: number) =>
  Effect.async<boolean>((resume) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => resume(Effect.succeed(true)))
    socket.once("error", () => resume(Effect.succeed(false)))
    return Effect.sync(() => socket.destroy())
  })

/** Starts a PgBouncer, and returns its loopback port. `poolSize` is its number of sessions for a database. */
export const start = (
  server: Redacted.Redacted,
  options: { readonly poolSize: number }
): Effect.Effect<number, never, Scope.Scope> =>
  Effect.gen(function*() {
    const program = yield* Debian.program("/usr/sbin/pgbouncer", "pgbouncer")
    const folder = yield* Debian.folder
    const port = yield* Effect.orDie(Debian.freePort)
    const { password, port: serverPort, username } = new URL(Redacted.value(server))
    const users = Path.join(folder, "users.txt")
    yield* Debian.write(users, `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`)
    const settings = Path.join(folder, "pgbouncer.ini")
    yield* Debian.write(
      settings,
      `[databases]
* = host=127.0.0.1 port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${options.poolSize}
max_client_conn = 1000
server_idle_timeout = 5
`
    )
    const { output } = yield* Debian.start(program, [settings])
    yield* Effect.repeat(Effect.delay(accepts(port), "20 millis"), { until: (accepts) => accepts }).pipe(
      Effect.timeout("10 seconds"),
      Effect.orDieWith(() => new Error(`PgBouncer did not start. ${output()}`))
    )
    return port
  })
