/**
 * The issues that the rules find in a client identifier or its document.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { printable } from "./internal/rules/text.js"

/**
 * A schema for issues.
 *
 * - `rule` is the rule's id, such as `DOC-04`. `docs/rules.md` lists the rules.
 * - `severity` is `"error"` if the input is invalid because of the issue, `"warning"` if it is valid nevertheless.
 * - `path` is the JSON pointer (RFC 6901) of the member with the issue. The empty string means the whole input.
 * - `message` tells a client developer what to change. It may quote the document, so show it to operators and client
 *   developers, and never on a page for end users.
 * - `source` is the specification that requires the rule, such as `CIMD 4.1` or `RFC 7591 2`. `effect-cimd` means a
 *   decision of this library, with its reason in `docs/rules.md`.
 *
 * @since 0.1.0
 * @category models
 */
export const Issue = Schema.Struct({
  rule: Schema.String,
  severity: Schema.Literal("error", "warning"),
  path: Schema.String,
  message: Schema.String,
  source: Schema.String
})

/**
 * An issue: which rule is broken, where, and what to change.
 *
 * @since 0.1.0
 * @category models
 */
export interface Issue extends Schema.Schema.Type<typeof Issue> {}

/**
 * Whether an issue is an error, and not a warning.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isError = (issue: Issue): boolean => issue.severity === "error"

/**
 * Returns an issue as one line of text: severity, rule, path, message, source.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (issue: Issue): string => {
  const path = issue.path === "" ? "" : ` at ${printable(issue.path)}`
  return `${issue.severity} ${issue.rule}${path}: ${issue.message} (${issue.source})`
}
