import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AuditEntry } from "../ClientRegistry.js"
import { ClientRegistry } from "../ClientRegistry.js"
import * as Database from "./database.js"
import * as ErrorResult from "./errorResult.js"
import { UsageError } from "./exitCode.js"
import * as Output from "./output.js"
import * as Registry from "./registry.js"

const toLine = ({ at, by, decision, digest, reason, subject }: AuditEntry): string =>
  `${Registry.toIso(at)}  ${decision} ${subject}, by ${by}: ${reason}${
    digest === undefined ? "" : ` (SHA-256 ${digest})`
  }`

const toResult = (entries: ReadonlyArray<AuditEntry>): Output.Result => ({
  verdict: "yes",
  json: {
    entries: entries.map(({ at, digest, ...entry }) => ({
      ...entry,
      at: Registry.toIso(at),
      ...(digest === undefined ? {} : { digest })
    }))
  },
  lines: entries.length === 0 ? ["There are no decisions."] : entries.map(toLine)
})

export const audit = Command.make(
  "audit",
  {
    subject: Registry.subjectArgument.pipe(Args.optional),
    limit: Options.integer("limit").pipe(
      Options.withPseudoName("count"),
      Options.withDescription("Print at most this many decisions"),
      Options.withDefault(100)
    ),
    ...Database.options,
    json: Output.json
  },
  ({ json, limit, subject, ...database }) =>
    Effect.gen(function*() {
      if (limit < 1) return yield* new UsageError({ message: "--limit must be at least 1." })
      const about = Option.isNone(subject) ? undefined : yield* Registry.readSubject(subject.value)
      return yield* Effect.flatMap(ClientRegistry, (registry) => registry.audit({ subject: about, limit })).pipe(
        Effect.map(toResult),
        Effect.provide(Registry.layer(database))
      )
    }).pipe(
      ErrorResult.orResult,
      Effect.flatMap((result) => Output.print(result, { json }))
    )
).pipe(Command.withDescription("Print the operator's decisions, the latest first"))
