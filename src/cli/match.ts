import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Json from "../internal/rules/strictJson.js"
import * as Issue from "../Issue.js"
import * as RedirectUri from "../RedirectUri.js"
import * as Answer from "./answer.js"
import * as Input from "./input.js"
import * as Issues from "./issues.js"

const Registration = Schema.Struct({
  redirect_uris: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
})

// Only what is asked for is judged: a document that breaks other rules still says what it registers. One with a member
// named twice says two things.
const readRegistered = (
  file: string
): Effect.Effect<ReadonlyArray<string>, Answer.WrongCall, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const { issues, value } = Json.parse(yield* Input.read(file))
    const fault = issues.find((issue) => Issue.isError(issue) && (value === undefined || issue.rule === "DOC-03"))
    if (fault !== undefined) {
      return yield* new Answer.WrongCall({ message: `${file} is no document to match against: ${fault.message}` })
    }
    const { redirect_uris } = yield* Effect.mapError(
      Schema.decodeUnknown(Registration)(value),
      () =>
        new Answer.WrongCall({
          message: `${file} is no JSON object whose redirect_uris, if any, is an array of strings.`
        })
    )
    return redirect_uris
  })

const reasonFor = (requested: string, found: string | undefined, registered: ReadonlyArray<string>): string => {
  if (found === undefined) {
    return registered.length === 0 ? "the document registers no redirect URI" : "it equals none that is registered"
  }
  return found === requested
    ? "it equals a registered one"
    : "it differs from a registered one in the loopback port alone"
}

export const match = Command.make("match", {
  redirectUri: Args.text({ name: "redirect_uri" }).pipe(
    Args.withDescription("The redirect URI that an authorization request asks for")
  ),
  metadata: Options.text("metadata").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("The client's metadata document, or - for standard input")
  ),
  allowLocalhostPort: Options.boolean("allow-localhost-port").pipe(
    Options.withDescription("Ignore the port of http://localhost as well, not only that of 127.0.0.1 and [::1]")
  ),
  json: Answer.json
}, ({ allowLocalhostPort, json, metadata, redirectUri }) =>
  Effect.gen(function*() {
    const registered = yield* readRegistered(metadata)
    const found = registered.includes(redirectUri)
      ? redirectUri
      : registered.find((uri) => RedirectUri.matches(uri, redirectUri, { allowLocalhostPort }))
    const issues = RedirectUri.issues(redirectUri)
    const reason = reasonFor(redirectUri, found, registered)
    const ok = found !== undefined
    yield* Answer.give({
      json: { ok, requested: redirectUri, registered: found ?? null, reason, issues: issues.map(Issues.toJson) },
      lines: [
        ...Issues.toLines(issues),
        ...(ok ? [] : registered.map((uri) => `  registered: ${uri}`)),
        `${ok ? "match" : "no match"}: ${reason}`
      ]
    }, { json })
  })).pipe(Command.withDescription("Say whether a redirect URI is one that a client registered"))
