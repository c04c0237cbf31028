/** The decisions of an operator that need nothing but a subject. Each is a command of the same shape. */
import type * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { ClientId } from "../ClientId.js"
import type { DecisionOptions, InvalidDecision, RegistryError } from "../ClientRegistry.js"
import { ClientRegistry } from "../ClientRegistry.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

type Calls = ClientRegistry["Type"]

type Decide = (
  registry: Calls,
  subject: string,
  options: DecisionOptions
) => Effect.Effect<unknown, InvalidDecision | RegistryError>

interface Decision<Name extends string> {
  readonly name: Name
  readonly description: string
  readonly argument: Args.Args<string>
  /** Returns `false` if there was nothing to end. */
  readonly decide: Decide
  /** What is printed after it, before the subject. */
  readonly done: string
  /** What is printed if there was nothing to end. */
  readonly nothing?: string
}

const resultOf = (
  { done, name, nothing = done }: Decision<string>,
  subject: string,
  decided: boolean
): Output.Result => ({
  verdict: decided ? "yes" : "no",
  json: { decision: name, subject },
  lines: [`${decided ? done : nothing}: ${subject}`]
})

const commandOf = <Name extends string>(decision: Decision<Name>) =>
  Command.make(
    decision.name,
    {
      subject: decision.argument,
      decision: Registry.decisionOptions,
      ...Database.options,
      json: Output.json
    },
    ({ decision: choice, json, subject, ...database }) =>
      Effect.gen(function*() {
        const decided = yield* decision.decide(yield* ClientRegistry, subject, Registry.decisionOf(choice))
        return resultOf(decision, yield* Registry.readSubject(subject), decided !== false)
      }).pipe(
        Effect.provide(Registry.layer(database)),
        ErrorResult.orResult,
        Effect.flatMap((result) => Output.print(result, { json }))
      )
  ).pipe(Command.withDescription(decision.description))

/** A decision on one client, whose client id is read first. */
const onClient = (
  decide: (
    registry: Calls,
    clientId: ClientId,
    options: DecisionOptions
  ) => Effect.Effect<unknown, InvalidDecision | RegistryError>
): Decide =>
(registry, subject, options) =>
  Effect.flatMap(Registry.decidedClientId(subject, options), (clientId) => decide(registry, clientId, options))

export const block = commandOf({
  name: "block",
  description: "Refuse a client, or all clients of a host or below a path, whatever else was decided",
  argument: Registry.subjectArgument,
  decide: (registry, subject, options) => registry.block(subject, options),
  done: "blocked"
})

export const unblock = commandOf({
  name: "unblock",
  description: "End a block",
  argument: Registry.subjectArgument,
  decide: (registry, subject, options) => registry.unblock(subject, options),
  done: "no longer blocked",
  nothing: "was not blocked"
})

export const allow = commandOf({
  name: "allow",
  description: "Approve a client, or all clients of a host or below a path",
  argument: Registry.subjectArgument,
  decide: (registry, subject, options) => registry.allow(subject, options),
  done: "allowed"
})

export const disallow = commandOf({
  name: "disallow",
  description: "End an approval or a rejection",
  argument: Registry.subjectArgument,
  decide: (registry, subject, options) => registry.disallow(subject, options),
  done: "no longer decided",
  nothing: "was neither allowed nor rejected"
})

export const approve = commandOf({
  name: "approve",
  description: "Approve one client, and end its request",
  argument: Registry.clientIdArgument,
  decide: onClient((registry, clientId, options) => registry.approve(clientId, options)),
  done: "approved"
})

export const reject = commandOf({
  name: "reject",
  description: "Reject one client, and end its request",
  argument: Registry.clientIdArgument,
  decide: onClient((registry, clientId, options) => registry.reject(clientId, options)),
  done: "rejected"
})

export const unpin = commandOf({
  name: "unpin",
  description: "End a pin, so that the client's document is fetched again",
  argument: Registry.clientIdArgument,
  decide: onClient((registry, clientId, options) => registry.unpin(clientId, options)),
  done: "no longer pinned",
  nothing: "was not pinned"
})
