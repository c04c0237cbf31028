import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { ApprovalRequest } from "../ClientRegistry.js"
import { ClientRegistry } from "../ClientRegistry.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

const toResult = (requests: ReadonlyArray<ApprovalRequest>): Output.Result => ({
  verdict: "yes",
  json: { requests: requests.map(Registry.requestToJson) },
  lines: requests.length === 0 ? ["There are no open requests."] : requests.map(Registry.requestToLine)
})

export const requests = Command.make(
  "requests",
  { ...Database.options, json: Output.json },
  ({ json, ...database }) =>
    Effect.flatMap(ClientRegistry, (registry) => registry.requests).pipe(
      Effect.map(toResult),
      Effect.provide(Registry.layer(database)),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Print the clients that users ask you to approve, the oldest request first"))
