import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Instant } from "../Cache.js"
import * as ClientId from "../ClientId.js"
import type { ApprovalRequest, ClientRegistry, DecisionOptions } from "../ClientRegistry.js"
import { InvalidDecision } from "../ClientRegistry.js"
import * as Decisions from "../internal/registry/decisionOptions.js"
import * as ClientPattern from "../internal/rules/clientPattern.js"
import type { InvalidOptions } from "../InvalidOptions.js"
import { isError } from "../Issue.js"
import type { DatabaseUnavailable } from "../PostgresClient.js"
import * as PostgresRegistry from "../PostgresRegistry.js"
import * as Database from "./database.js"

/** The client id that a command is about. */
export const clientIdArgument = Args.text({ name: "client_id" }).pipe(
  Args.withDescription("The client id: the URL of the client's metadata document")
)

/** The client or the clients that a decision is about. */
export const subjectArgument = Args.text({ name: "subject" }).pipe(
  Args.withDescription(
    "A client id, or a pattern for many clients: app.example, '*.app.example', or app.example/team/ for those below a path"
  )
)

/** The flags of a decision. */
export const decisionOptions = Options.all({
  reason: Options.text("reason").pipe(
    Options.withPseudoName("text"),
    Options.withDescription("Why, in one line. The audit keeps it")
  ),
  by: Options.text("by").pipe(
    Options.withPseudoName("name"),
    Options.withDescription("The person or program that decides. Defaults to the role of the database"),
    Options.optional
  )
})

/** The values of the flags. */
export interface DecisionChoice {
  readonly reason: string
  readonly by: Option.Option<string>
}

/** The flags as the registry takes them. */
export const decisionOf = ({ by, reason }: DecisionChoice): DecisionOptions => ({
  reason,
  by: Option.getOrUndefined(by)
})

// Host policies differ between servers, so a decision may be about any client that one of them could permit.
const widest: ClientId.Options = { loopback: true, addressLiterals: true }

/** Reads the client id of a command that only reads. */
export const readClientId = (text: string): Effect.Effect<ClientId.ClientId, ClientId.InvalidClientId> =>
  ClientId.parse(text, widest)

/** Reads the client id of a decision. Fails with every issue of the client id and of the decision. */
export const decidedClientId = (
  text: string,
  decision: DecisionOptions
): Effect.Effect<ClientId.ClientId, InvalidDecision> =>
  Effect.mapError(
    readClientId(text),
    ({ issues }) => new InvalidDecision({ issues: [...issues.filter(isError), ...Decisions.issuesOf(decision)] })
  )

/** Returns the one spelling of a subject, as the audit has it. Fails with every issue. */
export const readSubject = (text: string): Effect.Effect<string, InvalidDecision> => {
  const subject = ClientPattern.parse(text)
  return "_tag" in subject
    ? Effect.succeed(ClientPattern.keyOf(subject))
    : Effect.fail(new InvalidDecision({ issues: [...subject] }))
}

/**
 * Options with which nothing is left out and nothing lapses, because the options of the servers are not known here. Under
 * `"approve"` a client is undecided unless a decision admits or refuses it.
 */
const everything: PostgresRegistry.Options = { admission: "approve", forgetAfter: "3650 days" }

/** The registry over a client of the database. */
export const layerOn = (
  choice: Database.Choice
): Layer.Layer<ClientRegistry, DatabaseUnavailable | InvalidOptions, PgClient.PgClient> =>
  PostgresRegistry.layer({ ...everything, ...Database.tableNames(choice) })

/** The registry in the database that the flags choose. */
export const layer = (choice: Database.Choice): Layer.Layer<ClientRegistry, Database.DatabaseError> =>
  Layer.provide(layerOn(choice), Database.layer(choice))

/** Returns an instant in the form of ISO 8601, to the millisecond, and `null` for none. */
export const toIso = (instant: Instant | undefined): string | null =>
  instant === undefined ? null : new Date(Number(instant / 1000n)).toISOString()

/** Returns a request in the form that `--json` prints. */
export const requestToJson = ({ at, by, clientId }: ApprovalRequest) => ({ clientId, by, at: toIso(at) })

/** Returns a request as a line of text. */
export const requestToLine = ({ at, by, clientId }: ApprovalRequest): string => `${toIso(at)}  ${clientId}, for ${by}`
