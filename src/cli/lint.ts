import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as ClientId from "../ClientId.js"
import type { AcceptedDocument } from "../ClientMetadata.js"
import * as RawFileHost from "../internal/rules/rawFileHost.js"
import { error } from "../internal/rules/ruleCatalog.js"
import type { Issue } from "../Issue.js"
import { isError } from "../Issue.js"
import * as Validator from "../Validator.js"
import * as Input from "./input.js"
import * as Issues from "./issues.js"
import * as Output from "./output.js"

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

const documentIssues = (clientId: ClientId.ClientId, body: Uint8Array) =>
  Effect.gen(function*() {
    const validator = yield* Validator.Validator
    return yield* Effect.match(validator.validate(clientId, body), {
      onSuccess: (document) => [...document.warnings, ...unmatchable(document)],
      onFailure: (error): ReadonlyArray<Issue> =>
        error._tag === "InvalidDocument" ? error.issues : [{
          rule: "DOC-22",
          severity: "error",
          path: "/token_endpoint_auth_method",
          message: error.message,
          source: "CIMD-03 6"
        }]
    })
  })

export const lint = Command.make("lint", {
  file: Args.text({ name: "file" }).pipe(Args.withDescription("The document, or - for standard input")),
  clientId: Options.text("client-id").pipe(
    Options.withPseudoName("url"),
    Options.withDescription("The URL where the document is, or will be, published")
  ),
  mcp: Options.boolean("mcp").pipe(Options.withDescription("Also require what the Model Context Protocol requires")),
  sameOriginRedirect: Options.boolean("same-origin-redirect").pipe(
    Options.withDescription("Also require that https redirect URIs have the origin of the client id")
  ),
  allowLoopback: Options.boolean("allow-loopback").pipe(
    Options.withDescription("Accept a client id on localhost or a loopback address, for development")
  ),
  json: Output.json
}, ({ allowLoopback, clientId, file, json, mcp, sameOriginRedirect }) =>
  Effect.gen(function*() {
    const body = yield* Input.read(file)
    const inDocument = yield* documentIssues(
      // Validate the document even if the string is not a client identifier, so that a developer sees all issues at once.
      clientId as ClientId.ClientId,
      body
    ).pipe(
      Effect.provideService(
        Validator.Validator,
        Validator.make(
          Validator.combine(
            ...(mcp ? [Validator.mcp] : []),
            ...(sameOriginRedirect ? [Validator.sameOriginRedirect] : [])
          ),
          { loopback: allowLoopback }
        )
      )
    )
    const issues = [
      ...ClientId.issues(clientId, { loopback: allowLoopback }),
      ...(ClientId.is(clientId) ? RawFileHost.issuesOf(clientId) : []),
      ...sizeIssues(body),
      ...inDocument
    ]
    const ok = !issues.some(isError)
    yield* Output.print({
      json: { ok, issues: issues.map(Issues.toJson) },
      lines: [...Issues.toLines(issues), `${ok ? "valid" : "invalid"}: ${Issues.summary(issues)}`]
    }, { json })
  })).pipe(Command.withDescription("Check a metadata document against every rule, and print every issue"))
