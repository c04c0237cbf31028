import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as ClientId from "../ClientId.js"
import type { InvalidDecision, RegistryError } from "../ClientRegistry.js"
import { ClientRegistry, digest } from "../ClientRegistry.js"
import * as Database from "./database.js"
import * as Document from "./document.js"
import * as ErrorResult from "./errorResult.js"
import type { UsageError } from "./exitCode.js"
import * as Input from "./input.js"
import * as Issues from "./issues.js"
import * as Output from "./output.js"
import * as Profile from "./profile.js"
import * as Registry from "./registry.js"

/** A document to pin, and how. */
interface Request {
  readonly clientId: string
  readonly file: string
  readonly profile: Profile.Choice
  readonly decision: Registry.DecisionChoice
  readonly database: Database.Choice
}

const pinDocument = (
  { clientId, database, decision, file, profile }: Request
): Effect.Effect<Output.Result, UsageError | InvalidDecision | RegistryError | Database.DatabaseError> =>
  Effect.gen(function*() {
    const body = yield* Input.read(file)
    const validated = yield* Document.validate({ body, clientId, fetched: undefined }, profile)
    const issues = [...ClientId.issues(clientId, profile), ...validated.issues]
    const { document } = validated
    if (document === undefined || !ClientId.is(clientId, profile)) {
      const hint = Profile.hintFor(clientId, profile)
      return {
        verdict: "no",
        json: { decision: "pin", subject: clientId, issues: issues.map(Issues.toJson) },
        lines: [
          ...Issues.toLines(issues),
          ...(hint === undefined ? [] : [`hint: ${hint}`]),
          `not pinned: ${clientId}, ${Issues.summary(issues)}`
        ]
      }
    }
    yield* Effect.flatMap(ClientRegistry, (registry) => registry.pin(document, Registry.decisionOf(decision))).pipe(
      Effect.provide(Registry.layer(database))
    )
    return {
      verdict: "yes",
      json: { decision: "pin", subject: clientId, digest: digest(document), issues: issues.map(Issues.toJson) },
      lines: [...Issues.toLines(issues), `pinned: ${clientId}, SHA-256 ${digest(document)}`]
    }
  })

export const pin = Command.make(
  "pin",
  {
    clientId: Registry.clientIdArgument,
    file: Args.text({ name: "file" }).pipe(
      Args.withDescription("The document to serve for the client: a file, or - for standard input")
    ),
    profile: Profile.options,
    decision: Registry.decisionOptions,
    ...Database.options,
    json: Output.json
  },
  ({ clientId, decision, file, json, profile, ...database }) =>
    pinDocument({ clientId, file, profile, decision, database }).pipe(
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Serve a document of your own for a client, instead of what its origin has"))
