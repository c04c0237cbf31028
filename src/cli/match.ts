import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { error } from "../internal/rules/ruleCatalog.js"
import * as Json from "../internal/rules/strictJson.js"
import * as Issue from "../Issue.js"
import * as RedirectUri from "../RedirectUri.js"
import { InvalidDocument } from "../Validator.js"
import * as Document from "./document.js"
import * as ErrorResult from "./errorResult.js"
import { UsageError } from "./exitCode.js"
import * as Fetch from "./fetch.js"
import * as Issues from "./issues.js"
import * as Output from "./output.js"
import * as Profile from "./profile.js"

const decode = Schema.decodeUnknownOption(Schema.Struct({
  redirect_uris: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
}))

/**
 * The registered redirect URIs, or the issue that hides them. Only they matter here, so a document that breaks other rules
 * is accepted. A repeated member is an error, because it is ambiguous.
 */
const registeredIn = (body: Uint8Array): Either.Either<ReadonlyArray<string>, Issue.Issue> => {
  const { issues, value } = Json.parse(body)
  const issue = issues.find((each) => Issue.isError(each) && (value === undefined || each.rule === "DOC-03"))
  if (issue !== undefined) return Either.left(issue)
  return Either.fromOption(
    Option.map(decode(value), ({ redirect_uris }) => redirect_uris),
    () =>
      error("DOC-14", "/redirect_uris", "The document must be a JSON object, and redirect_uris an array of strings.")
  )
}

const readRegistered = (
  name: string,
  { body, fetched }: Document.Source
): Effect.Effect<ReadonlyArray<string>, UsageError | InvalidDocument> =>
  Effect.mapError(registeredIn(body), (issue) =>
    fetched === undefined
      ? new UsageError({ message: `${name} is not a metadata document: ${issue.message}` })
      : new InvalidDocument({ clientId: fetched.clientId, issues: [issue] }))

/** What keeps a server with the profile from accepting the document at all (DOC-20, DOC-22). */
const demandsOf = (source: Document.Source, profile: Profile.Choice) =>
  Effect.map(
    Document.validate(source, profile),
    ({ issues }) => issues.filter((issue) => Issue.isError(issue) && ["DOC-20", "DOC-22"].includes(issue.rule))
  )

const schemeOf = (uri: string): string => uri.slice(0, uri.indexOf(":")).toLowerCase()

const reasonAgainst = (
  requested: string,
  registered: ReadonlyArray<string>,
  matchesWith: (options: RedirectUri.MatchOptions) => boolean
): string => {
  if (RedirectUri.classify(requested) === "forbidden") return "no client may have this redirect URI"
  if (registered.includes(requested)) {
    return `any app can claim its scheme, so it is never matched (RED-05), unless the server permits it: ` +
      `--private-use-scheme ${schemeOf(requested)}`
  }
  if (matchesWith({ allowLocalhostPort: true })) {
    return "it differs from a registered redirect URI only in the port of localhost, which counts (RED-03), unless the " +
      "server ignores it: --allow-localhost-port"
  }
  return registered.length === 0
    ? "the document registers no redirect URI"
    : "it does not equal any registered redirect URI"
}

const matchDocument = (
  requested: string,
  registered: ReadonlyArray<string>,
  demands: ReadonlyArray<Issue.Issue>,
  { allowLocalhostPort, privateUseSchemes }: Profile.Choice
): Output.Result => {
  const schemes = privateUseSchemes.map((scheme) => scheme.toLowerCase())
  const find = (options: RedirectUri.MatchOptions) =>
    [requested, ...registered].find((uri) =>
      registered.includes(uri) && RedirectUri.matches(uri, requested, { ...options, privateUseSchemes: schemes })
    )
  const matching = find({ allowLocalhostPort })
  const issues = [...demands, ...RedirectUri.issues(requested)]
  const [verdict, reason] = matching === undefined
    ? [
      RedirectUri.classify(requested) === "forbidden" ? "refused" : "no match",
      reasonAgainst(requested, registered, (options) => find(options) !== undefined)
    ]
    : demands.length > 0
    ? ["refused", "the document lacks what this server requires"]
    : [
      "match",
      matching === requested
        ? "it equals a registered redirect URI"
        : "it differs from a registered redirect URI only in its loopback port"
    ]
  const ok = verdict === "match"
  return {
    verdict: ok ? "yes" : "no",
    json: { requested, registered: matching ?? null, reason, issues: issues.map(Issues.toJson) },
    lines: [
      ...Issues.toLines(issues),
      ...(matching === undefined ? registered.map((uri) => `  registered: ${uri}`) : []),
      `${verdict}: ${reason}`
    ]
  }
}

export const match = Command.make("match", {
  redirectUri: Args.text({ name: "redirect_uri" }).pipe(
    Args.withDescription("The redirect URI of an authorization request")
  ),
  metadata: Options.text("metadata").pipe(
    Options.withPseudoName("document"),
    Options.withDescription("The client's metadata document: a file, - for standard input, or its https URL")
  ),
  profile: Profile.options,
  ca: Fetch.ca,
  json: Output.json
}, ({ ca, json, metadata, profile, redirectUri }) =>
  Effect.gen(function*() {
    const source = yield* Document.read(metadata, undefined, { ca, profile })
    const registered = yield* readRegistered(metadata, source)
    if (profile.sameOriginRedirect && source.clientId === undefined) {
      return yield* new UsageError({
        message: `--same-origin-redirect needs the client id, but ${metadata} has no client_id. Add it to the document.`
      })
    }
    return matchDocument(redirectUri, registered, yield* demandsOf(source, profile), profile)
  }).pipe(
    ErrorResult.orResult,
    Effect.flatMap((result) => Output.print(result, { json }))
  )).pipe(Command.withDescription("Check whether a client registered a redirect URI"))
