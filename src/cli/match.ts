import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Json from "../internal/rules/strictJson.js"
import * as Issue from "../Issue.js"
import * as RedirectUri from "../RedirectUri.js"
import * as Input from "./input.js"
import * as Issues from "./issues.js"
import * as Output from "./output.js"

const Registration = Schema.Struct({
  redirect_uris: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
})

// Only the redirect URIs matter here, so a document that breaks other rules is accepted. A repeated member is an error,
// because it is ambiguous.
const readRegistered = (
  file: string
): Effect.Effect<ReadonlyArray<string>, Output.UsageError, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const { issues, value } = Json.parse(yield* Input.read(file))
    const issue = issues.find((each) => Issue.isError(each) && (value === undefined || each.rule === "DOC-03"))
    if (issue !== undefined) {
      return yield* new Output.UsageError({ message: `${file} is not a valid JSON document: ${issue.message}` })
    }
    const { redirect_uris } = yield* Effect.mapError(
      Schema.decodeUnknown(Registration)(value),
      () =>
        new Output.UsageError({
          message: `${file} must be a JSON object, and its redirect_uris must be an array of strings.`
        })
    )
    return redirect_uris
  })

const verdictFor = (requested: string, matching: string | undefined): string =>
  matching !== undefined ? "match" : RedirectUri.classify(requested) === "forbidden" ? "refused" : "no match"

const reasonFor = (requested: string, matching: string | undefined, registered: ReadonlyArray<string>): string => {
  if (matching === undefined) {
    if (RedirectUri.classify(requested) === "forbidden") return "no client may have this redirect URI"
    if (registered.includes(requested)) return "any app can claim its scheme, so it is never matched (RED-05)"
    return registered.length === 0
      ? "the document registers no redirect URI"
      : "it does not equal any registered redirect URI"
  }
  return matching === requested
    ? "it equals a registered redirect URI"
    : "it differs from a registered redirect URI only in its loopback port"
}

export const match = Command.make("match", {
  redirectUri: Args.text({ name: "redirect_uri" }).pipe(
    Args.withDescription("The redirect URI of an authorization request")
  ),
  metadata: Options.text("metadata").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("The client's metadata document, or - for standard input")
  ),
  allowLocalhostPort: Options.boolean("allow-localhost-port").pipe(
    Options.withDescription("Ignore the port of http://localhost too, not only that of 127.0.0.1 and [::1]")
  ),
  json: Output.json
}, ({ allowLocalhostPort, json, metadata, redirectUri }) =>
  Effect.gen(function*() {
    const registered = yield* readRegistered(metadata)
    const matching = [redirectUri, ...registered].find((uri) =>
      registered.includes(uri) && RedirectUri.matches(uri, redirectUri, { allowLocalhostPort })
    )
    const issues = RedirectUri.issues(redirectUri)
    const reason = reasonFor(redirectUri, matching, registered)
    const ok = matching !== undefined
    yield* Output.print({
      json: { ok, requested: redirectUri, registered: matching ?? null, reason, issues: issues.map(Issues.toJson) },
      lines: [
        ...Issues.toLines(issues),
        ...(ok ? [] : registered.map((uri) => `  registered: ${uri}`)),
        `${verdictFor(redirectUri, matching)}: ${reason}`
      ]
    }, { json })
  })).pipe(Command.withDescription("Check whether a client registered a redirect URI"))
