/**
 * What an attacker costs others. Each line is measured beside the same load without the attack, in one run.
 *
 * The attacker has one site, and each of its hosts has its own address on loopback. The server has a process of its own and
 * default settings, with real TLS, real sockets and a real Postgres. The honest origins have another process, and so have
 * the hosts of the attacker. It needs Linux, where every address of 127.0.0.0/8 can be listened on. Run it with
 * `npm run bench:attack`. `-- tls bytes` runs these lines only, and `-- --quick` is for development, too short for its limits.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Migrations } from "effect-cimd"
import { Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import type { Places } from "../test/support/attack/network.js"
import { bytes } from "./attack/bytes.js"
import type { Server } from "./attack/driver.js"
import { withPlaces, withServer } from "./attack/driver.js"
import { load } from "./attack/load.js"
import { memory } from "./attack/memory.js"
import { refused } from "./attack/refused.js"
import { tls } from "./attack/tls.js"
import type { Row } from "./row.js"
import { print } from "./row.js"

const sizes = {
  full: {
    load: {
      confirmed: { idle: 1500, attacked: 5000, many: 1500 },
      // 50 a second occupied the thread for 92 to 98 % of the time without an attack, on two cores.
      perSecond: { confirmed: 25, fresh: 5, attacks: 100 }
    },
    tls: { rounds: 3, secondsPerRound: 5 },
    documents: 10_000,
    refused: 2000
  },
  quick: {
    load: {
      confirmed: { idle: 50, attacked: 200, many: 75 },
      perSecond: { confirmed: 5, fresh: 1, attacks: 20 }
    },
    tls: { rounds: 1, secondsPerRound: 5 },
    documents: 400,
    refused: 500
  }
}

const withDatabase = <A>(
  server: Effect.Effect<Redacted.Redacted, unknown, Scope.Scope>,
  use: (databaseUrl: string) => Promise<A>
): Promise<A> =>
  Effect.gen(function*() {
    const database = yield* Effect.flatMap(server, Postgres.database)
    yield* Effect.provide(Migrations.run(), PgClient.layer({ url: database, maxConnections: 1 }))
    return yield* Effect.promise(() => use(Redacted.value(database)))
  }).pipe(Effect.scoped, Effect.runPromise)

type Line = (places: Places, size: typeof sizes.full) => Promise<ReadonlyArray<Row>>

const onPostgres = <A>(
  places: Places,
  use: (server: Server, databaseUrl: string) => Promise<A>,
  server: Effect.Effect<Redacted.Redacted, unknown, Scope.Scope> = Postgres.url
) => withDatabase(server, (databaseUrl) => withServer({ ...places, databaseUrl }, (server) => use(server, databaseUrl)))

const lines: { readonly [name: string]: Line } = {
  load: (places, size) => onPostgres(places, (server) => load(server, size.load)),
  tls: (places, size) => onPostgres(places, (server) => tls(server, size.tls)),
  memory: (places, size) => memory((use) => withServer(places, use), size.documents),
  bytes: (places) => withServer(places, bytes),
  refused: (places, size) =>
    onPostgres(
      places,
      (server, databaseUrl) => refused(databaseUrl, server, size.refused),
      // Its own processes write transactions, too.
      Postgres.embedded({ settings: { autovacuum: "off" } })
    )
}

/** The rows of the attack. Defaults to all lines. */
export const attack = (
  names: ReadonlyArray<string> = Object.keys(lines),
  size: typeof sizes.full = sizes.full
): Promise<ReadonlyArray<Row>> =>
  withPlaces(async (places) => {
    const rows: Array<Row> = []
    for (const name of names) rows.push(...await lines[name]?.(places, size) ?? [])
    return rows
  })

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, json: { type: "boolean" } }
  })
  const unknown = positionals.filter((name) => lines[name] === undefined)
  if (unknown.length > 0) throw new Error(`There is no line ${unknown.join(", ")}`)
  print(await attack(positionals.length === 0 ? undefined : positionals, values.quick ? sizes.quick : sizes.full))
}
