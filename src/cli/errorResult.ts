import * as Effect from "effect/Effect"
import { InvalidOptions } from "../InvalidOptions.js"
import type * as Issue from "../Issue.js"
import type { OAuthError } from "../OAuthError.js"
import { UsageError, verdictOf } from "./exitCode.js"
import * as Issues from "./issues.js"
import type { Result } from "./output.js"
import * as Profile from "./profile.js"

interface TaggedError {
  readonly _tag: string
  readonly message: string
  readonly cause?: unknown
  readonly input?: unknown
  readonly issues?: ReadonlyArray<Issue.Issue> | undefined
  readonly oauthError?: OAuthError
}

/**
 * Turns every error except a `UsageError` into a result with its code, its message, and its issues if it has some. The
 * options of the services come from the command line, so `InvalidOptions` becomes a `UsageError`.
 */
export const orResult = <E extends TaggedError, R>(
  effect: Effect.Effect<Result, E | InvalidOptions, R>
): Effect.Effect<Result, UsageError, R> =>
  Effect.catchAll(effect, (error) => {
    if (error instanceof UsageError) return Effect.fail(error)
    return error instanceof InvalidOptions
      ? new UsageError({ message: error.message })
      : Effect.succeed(toResult(error))
  })

const toResult = (error: TaggedError): Result => {
  const { _tag: code, issues, message } = error
  const verdict = verdictOf(error)
  const cause = causeOf(error)
  const hint = hintFor(error, cause)
  return {
    verdict,
    json: {
      error: {
        code,
        verdict: verdict === "no",
        message,
        ...(cause === undefined ? {} : { cause: cause.message }),
        ...(hint === undefined ? {} : { hint }),
        ...(issues === undefined ? {} : { issues: issues.map(Issues.toJson) })
      }
    },
    lines: [
      ...(issues === undefined
        ? [
          `failed: ${code}`,
          ...indented(message),
          ...(cause === undefined ? [] : indented(`cause: ${cause.message}`))
        ]
        : [...Issues.toLines(issues), `failed: ${code}, ${Issues.summary(issues)}`]),
      ...(hint === undefined ? [] : [`hint: ${hint}`])
    ]
  }
}

const indented = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n").map((line) => `  ${line}`)

// Errors wrap one another. The innermost one has the message of the server or the system.
const causeOf = (error: unknown): Error | undefined => {
  let innermost: Error | undefined
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error;
    cause = cause.cause
  ) {
    if (cause.message !== "") innermost = cause
  }
  return innermost
}

const hints: Readonly<Record<string, string>> = {
  LookupFailed: "Check the host of the client id, and that this machine reaches its DNS servers.",
  ConnectFailed: "Check that the server of the client is up, and that this machine may connect to it.",
  FetchTimeout: "Try again, or check the server of the client.",
  ResponseTruncated: "Try again, or check the server of the client.",
  TlsFailed: "Check the certificate of the server. --ca <file> trusts the certificate authority of a test server.",
  AddressBlocked: "Only public addresses are dialed. --allow-loopback permits those of this machine.",
  // The codes of Postgres for a missing privilege and a table that exists.
  42501:
    "A user with the right to create tables can run the SQL of cimd migrate --print, with the same --schema and --prefix.",
  "42P07": "Another program owns a table of that name. Choose other names: --prefix <name>, --schema <name>."
}

const hintFor = ({ _tag, input }: TaggedError, cause: Error | undefined): string | undefined => {
  if (_tag === "InvalidClientId") return Profile.hintFor(input, {})
  return hints[_tag] ?? (cause !== undefined && "code" in cause ? hints[String(cause.code)] : undefined)
}
