import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ClientId from "../ClientId.js"
import type { AcceptedDocument } from "../ClientMetadata.js"
import * as RawFileHost from "../internal/rules/rawFileHost.js"
import { error } from "../internal/rules/ruleCatalog.js"
import type { Issue } from "../Issue.js"
import { isError } from "../Issue.js"
import * as Document from "./document.js"
import * as ErrorResult from "./errorResult.js"
import type { UsageError } from "./exitCode.js"
import * as Fetch from "./fetch.js"
import * as Issues from "./issues.js"
import * as Output from "./output.js"
import * as Profile from "./profile.js"

// The fetcher's default limit (FET-07).
const maxBodyBytes = 5120

const sizeIssues = (body: Uint8Array): ReadonlyArray<Issue> =>
  body.byteLength <= maxBodyBytes ? [] : [{
    rule: "FET-07",
    severity: "warning",
    path: "",
    message: `The document has ${body.byteLength} bytes, but a server may read at most ${maxBodyBytes}. Shorten it.`,
    source: "CIMD 8.7"
  }]

// The validator accepts such a document, because a client may have other grants.
const unmatchable = ({ metadata, redirectUris }: AcceptedDocument): ReadonlyArray<Issue> =>
  redirectUris.length > 0 || (metadata.redirect_uris ?? []).length === 0 ? [] : [
    error(
      "RED-05",
      "/redirect_uris",
      "No redirect URI can match, because any app can claim their schemes. Use your own domain name in reverse as the " +
        "scheme, such as com.example.app, or an https URI."
    )
  ]

const lintDocument = (
  source: Document.Source,
  profile: Profile.Choice
): Effect.Effect<Output.Result, UsageError> =>
  Effect.gen(function*() {
    const { body, clientId, fetched } = source
    const inDocument = yield* Document.validate(source, profile)
    const issues = [
      ...(clientId === undefined ? [] : ClientId.issues(clientId, profile)),
      ...(ClientId.is(clientId) ? RawFileHost.issuesOf(clientId) : []),
      ...sizeIssues(body),
      ...inDocument.issues,
      ...(inDocument.document === undefined ? [] : unmatchable(inDocument.document))
    ]
    const ok = !issues.some(isError)
    const hint = clientId === undefined ? undefined : Profile.hintFor(clientId, profile)
    return {
      verdict: ok ? "yes" : "no",
      json: {
        clientId: clientId ?? null,
        issues: issues.map(Issues.toJson),
        ...(fetched === undefined ? {} : { fetched: Fetch.toJson(fetched) })
      },
      lines: [
        ...(fetched === undefined ? [] : [Fetch.toLine(fetched)]),
        ...Issues.toLines(issues),
        ...(hint === undefined ? [] : [`hint: ${hint}`]),
        `${ok ? "valid" : "invalid"}: ${Issues.summary(issues)}`
      ]
    }
  })

export const lint = Command.make(
  "lint",
  {
    document: Args.text({ name: "document" }).pipe(
      Args.withDescription("A file, - for standard input, or the https URL of a published document")
    ),
    clientId: Options.text("client-id").pipe(
      Options.withPseudoName("url"),
      Options.withDescription(
        "The URL where the document is, or will be, published. Defaults to its own URL or its client_id"
      ),
      Options.optional
    ),
    profile: Profile.options,
    ca: Fetch.ca,
    json: Output.json
  },
  ({ ca, clientId, document, json, profile }) =>
    Document.read(document, Option.getOrUndefined(clientId), { ca, profile }).pipe(
      Effect.flatMap((source) => lintDocument(source, profile)),
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Check a metadata document against every rule, and print every issue"))
