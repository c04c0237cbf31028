import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fetcher from "../Fetcher.js"
import * as HostPolicy from "../HostPolicy.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Resolver from "../Resolver.js"
import * as Validator from "../Validator.js"
import type { Answer } from "./answer.js"
import { WrongCall } from "./answer.js"
import * as Database from "./database.js"
import * as Failure from "./failure.js"
import * as Issues from "./issues.js"

const sources = {
  memory: "the memory of this process",
  origin: "the client's origin",
  postgres: "the cache in Postgres"
} as const

const toAnswer = ({ document, source, stale }: Resolver.Resolution, millis: number): Answer => ({
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
    `answered by ${sources[source]} in ${millis} ms${stale ? ", past its lifetime" : ""}`
  ]
})

const hostPolicy = (allowLoopback: boolean) =>
  allowLoopback
    // The command is no authorization server; the issuer says that it runs on this machine for its developer.
    ? Layer.orDie(HostPolicy.layer({ development: { issuer: "https://localhost" } }))
    : HostPolicy.layerPublic

/** What a call asks for. */
export interface Question {
  readonly clientId: string
  readonly allowLoopback: boolean
  /** Certificate authorities in PEM form. */
  readonly ca: string | undefined
  readonly database: Database.Choice
}

/** Resolves a client once, over the cache of the database that was chosen. */
export const answer = ({ allowLoopback, ca, clientId, database }: Question): Effect.Effect<Answer, WrongCall> =>
  Effect.gen(function*() {
    const resolver = yield* Resolver.Resolver
    const start = yield* Clock.currentTimeMillis
    const resolution = yield* resolver.resolve(clientId)
    return toAnswer(resolution, (yield* Clock.currentTimeMillis) - start)
  }).pipe(
    Effect.provide(
      Resolver.layer().pipe(
        Layer.provide(Layer.mergeAll(
          Layer.mapError(
            Fetcher.layer({ ca }),
            ({ message }) => new WrongCall({ message: `--ca: ${message}` })
          ),
          Validator.layer(),
          Layer.provide(PostgresCache.layer(Database.tableNames(database)), Database.layer(database))
        )),
        Layer.provide(hostPolicy(allowLoopback))
      )
    ),
    Failure.orAnswer
  )
