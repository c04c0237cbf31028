import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Database from "./database.js"
import * as Fetch from "./fetch.js"
import * as Output from "./output.js"
import * as Profile from "./profile.js"
import { resolveClient } from "./resolveClient.js"

export const resolve = Command.make("resolve", {
  clientId: Args.text({ name: "client_id" }).pipe(
    Args.withDescription("The client id: the URL of the client's metadata document")
  ),
  ...Database.options,
  profile: Profile.options,
  ca: Fetch.ca,
  json: Output.json
}, ({ ca, clientId, json, profile, ...database }) =>
  Effect.flatMap(
    resolveClient({ clientId, fetch: { ca, profile }, database }),
    (result) => Output.print(result, { json })
  )).pipe(Command.withDescription("Print a client's metadata, from the cache or from the client's origin"))
