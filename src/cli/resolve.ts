import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fetcher from "../Fetcher.js"
import * as HostPolicy from "../HostPolicy.js"
import * as PostgresCache from "../PostgresCache.js"
import * as Resolver from "../Resolver.js"
import * as Validator from "../Validator.js"
import * as Answer from "./answer.js"
import * as Database from "./database.js"
import * as Failure from "./failure.js"
import * as Input from "./input.js"
import * as Issues from "./issues.js"

const sources = {
  memory: "the memory of this process",
  origin: "the client's origin",
  postgres: "the cache in Postgres"
} as const

const toAnswer = ({ document, source }: Resolver.Resolution, millis: number): Answer.Answer => ({
  json: {
    ok: true,
    clientId: document.clientId,
    source,
    millis,
    authMethods: document.authMethods,
    warnings: document.warnings.map(Issues.toJson),
    metadata: document.json
  },
  lines: [
    ...Issues.toLines(document.warnings),
    ...Object.entries(document.json).map(([member, value]) => `  ${member}: ${JSON.stringify(value)}`),
    `accepted: ${document.clientId}`,
    `answered by ${sources[source]} in ${millis} ms`
  ]
})

const readPem = (
  file: Option.Option<string>
): Effect.Effect<string | undefined, Answer.WrongCall, FileSystem.FileSystem> =>
  Option.match(file, {
    onNone: () => Effect.succeed(undefined),
    onSome: (name) =>
      Effect.flatMap(Input.read(name), (bytes) => {
        const text = new TextDecoder().decode(bytes)
        return text.includes("-----BEGIN CERTIFICATE-----")
          ? Effect.succeed(text)
          : new Answer.WrongCall({ message: `${name} holds no certificate in PEM form.` })
      })
  })

const hostPolicy = (allowLoopback: boolean) =>
  allowLoopback
    // The command is no authorization server; the issuer says that it runs on this machine for its developer.
    ? Layer.orDie(HostPolicy.layer({ development: { issuer: "https://localhost" } }))
    : HostPolicy.layerPublic

export const resolve = Command.make("resolve", {
  clientId: Args.text({ name: "client_id" }).pipe(Args.withDescription("The URL that names the client")),
  ...Database.options,
  allowLoopback: Options.boolean("allow-loopback").pipe(
    Options.withDescription("Permit a client on localhost or a loopback address, for development")
  ),
  ca: Options.text("ca").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("Trust the certificate authorities of this PEM file instead of the system's"),
    Options.optional
  ),
  json: Answer.json
}, ({ allowLoopback, ca, clientId, json, ...choice }) =>
  Effect.gen(function*() {
    const pem = yield* readPem(ca)
    const services = Layer.mergeAll(
      Fetcher.layer({ ca: pem }),
      Validator.layer(),
      Layer.provide(PostgresCache.layer(), Database.layer(choice))
    )
    const answer = yield* Effect.gen(function*() {
      const resolver = yield* Resolver.Resolver
      const start = yield* Clock.currentTimeMillis
      const resolution = yield* resolver.resolve(clientId)
      return toAnswer(resolution, (yield* Clock.currentTimeMillis) - start)
    }).pipe(
      Effect.provide(
        Resolver.layer().pipe(
          Layer.provide(services),
          Layer.provide(hostPolicy(allowLoopback))
        )
      ),
      Failure.orAnswer
    )
    yield* Answer.give(answer, { json })
  })).pipe(Command.withDescription("Answer a client's metadata: from the cache, else from the client's origin"))
