import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fetcher from "../Fetcher.js"
import * as HostPolicy from "../HostPolicy.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Resolver from "../Resolver.js"
import * as Validator from "../Validator.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Issues from "./issues.js"
import type { Result } from "./output.js"
import { UsageError } from "./output.js"

const sources = {
  memory: "the memory of this process",
  origin: "the client's origin",
  postgres: "the cache in Postgres"
} as const

const toResult = ({ document, source, stale }: Resolver.Resolution, millis: number): Result => ({
  json: {
    ok: true,
    clientId: document.clientId,
    source,
    stale,
    millis,
    authMethods: document.authMethods,
    warnings: document.warnings.map(Issues.toJson),
    metadata: document.json
  },
  lines: [
    ...Issues.toLines(document.warnings),
    ...Object.entries(document.json).map(([member, value]) => `  ${member}: ${JSON.stringify(value)}`),
    `accepted: ${document.clientId}`,
    `source: ${sources[source]}, in ${millis} ms${stale ? ", after its lifetime" : ""}`
  ]
})

const hostPolicy = (allowLoopback: boolean) =>
  allowLoopback
    // The command has no issuer of its own. This one states that it runs on the developer's machine. No client can be at
    // its port (ADR-08), so its origin refuses none (ADR-11).
    ? Layer.orDie(HostPolicy.layer({ development: { issuer: "https://localhost:9" } }))
    : HostPolicy.layerPublic

/** The client to resolve, and how. */
interface Request {
  readonly clientId: string
  readonly allowLoopback: boolean
  /** Certificate authorities in PEM format. */
  readonly ca: string | undefined
  readonly database: Database.Choice
}

/** Resolves a client once, with the cache in the chosen database. */
export const resolveClient = ({ allowLoopback, ca, clientId, database }: Request): Effect.Effect<Result, UsageError> =>
  Effect.gen(function*() {
    const resolver = yield* Resolver.Resolver
    const start = yield* Clock.currentTimeMillis
    const resolution = yield* resolver.resolve(clientId)
    return toResult(resolution, (yield* Clock.currentTimeMillis) - start)
  }).pipe(
    Effect.provide(
      Resolver.layer().pipe(
        Layer.provide(Layer.mergeAll(
          Layer.mapError(
            Fetcher.layer({ ca }),
            ({ message }) => new UsageError({ message: `--ca: ${message}` })
          ),
          Validator.layer(),
          Layer.provide(PostgresCache.layer(Database.tableNames(database)), Database.layer(database))
        )),
        Layer.provide(hostPolicy(allowLoopback))
      )
    ),
    ErrorResult.orResult
  )
