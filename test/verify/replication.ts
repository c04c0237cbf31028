/** A primary of Debian's Postgres 15 and its synchronous standby. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Path from "node:path"
import * as Debian from "./debian.js"

const bin = "/usr/lib/postgresql/15/bin"
const standbyName = "standby"

export interface Server {
  readonly port: number
  /** The URL of its database for a port, which may be that of a proxy. */
  readonly url: (port?: number) => Redacted.Redacted
  /** Runs SQL on the server itself. */
  readonly sql: <A>(use: (sql: PgClient.PgClient) => Effect.Effect<A, unknown>) => Effect.Effect<A>
  /** Ends the server with SIGKILL. */
  readonly kill: Effect.Effect<void>
}

const server = (
  data: string,
  password: string,
  settings: Readonly<Record<string, string>>
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* Effect.orDie(Debian.freePort)
    const flags = Object.entries({ listen_addresses: "127.0.0.1", unix_socket_directories: "", ...settings })
    const { kill, output } = yield* Debian.start(Path.join(bin, "postgres"), [
      "-D",
      data,
      "-p",
      String(port),
      ...flags.flatMap(([name, value]) => ["-c", `${name}=${value}`])
    ])
    const url = (at = port) => Redacted.make(`postgresql://postgres:${password}@127.0.0.1:${at}/postgres`)
    const sql: Server["sql"] = (use) =>
      Effect.provide(
        Effect.flatMap(PgClient.PgClient, use),
        Layer.fresh(PgClient.layer({ url: url(), maxConnections: 1 }))
      )
        .pipe(Effect.orDie)
    yield* sql((sql) => sql`SELECT 1`).pipe(
      Effect.sandbox,
      Effect.retry(Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(300))),
      Effect.orDieWith(() => new Error(`Postgres did not start. ${output()}`))
    )
    return { port, url, sql, kill }
  })

export interface World {
  readonly primary: Server
  readonly standby: Server
}

/** A primary that acknowledges a commit once its standby has it on disk, and that standby. */
export const make: Effect.Effect<World, never, Scope.Scope> = Effect.gen(
  function*() {
    yield* Debian.program(Path.join(bin, "postgres"), "postgresql-15")
    const folder = yield* Debian.folder
    const password = randomBytes(16).toString("hex")
    const [passwordFile, passFile] = [Path.join(folder, "password"), Path.join(folder, "pgpass")]
    const [primaryData, standbyData] = [Path.join(folder, "primary"), Path.join(folder, "standby")]
    yield* Debian.write(passwordFile, `${password}\n`)
    yield* Debian.write(passFile, `127.0.0.1:*:*:postgres:${password}\n`)
    yield* Debian.run(Path.join(bin, "initdb"), [
      "--pgdata",
      primaryData,
      "--username=postgres",
      "--auth=scram-sha-256",
      `--pwfile=${passwordFile}`,
      "--encoding=UTF8"
    ])
    const primary = yield* server(primaryData, password, { synchronous_standby_names: standbyName })
    const source =
      `host=127.0.0.1 port=${primary.port} user=postgres passfile=${passFile} application_name=${standbyName}`
    yield* Debian.run(Path.join(bin, "pg_basebackup"), [
      "--pgdata",
      standbyData,
      "--dbname",
      source,
      "--write-recovery-conf",
      "--checkpoint=fast"
    ])
    const standby = yield* server(standbyData, password, {})
    yield* primary.sql((sql) => sql`SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'`).pipe(
      Effect.delay("50 millis"),
      Effect.repeat({ until: (rows) => rows.length === 1 }),
      Effect.timeout("20 seconds"),
      Effect.orDie
    )
    return { primary, standby }
  }
)

/** Makes a standby the primary, and waits until it is. */
export const promote = (standby: Server): Effect.Effect<void> =>
  Effect.asVoid(standby.sql((sql) => sql`SELECT pg_promote(true, 30)`))

/** Makes a server read-only without ending its connections. */
export const demote = (primary: Server): Effect.Effect<void> =>
  primary.sql((sql) =>
    Effect.gen(function*() {
      yield* sql`ALTER SYSTEM SET default_transaction_read_only = on`
      yield* sql`SELECT pg_reload_conf()`
    })
  )
