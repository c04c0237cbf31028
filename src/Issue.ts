/**
 * What is wrong, or worth knowing, about a client identifier or its document.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { printable } from "./internal/rules/text.js"

/**
 * One finding: which rule was broken, where, and what to do about it.
 *
 * - `rule` is the rule's id, such as `DOC-04`; the rules are listed in `docs/rules.md`.
 * - `severity` is `"error"` for what is refused, `"warning"` for what is accepted but deserves a look.
 * - `path` is the JSON pointer (RFC 6901) of the member at fault; the empty string is the whole input.
 * - `message` tells a client developer what to change. It may quote the document, so it is text for operators and
 *   for the developer of the client, never for an end user's page.
 * - `source` names the text that asks for the rule, such as `CIMD 4.1` or `RFC 7591 2`; `effect-cimd` is this library's
 *   own decision, with its reason in `docs/rules.md`.
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
 * A finding of the validator or of the grammar: which rule, where, and what its author can do.
 *
 * @since 0.1.0
 * @category models
 */
export interface Issue extends Schema.Schema.Type<typeof Issue> {}

/**
 * Whether a finding is a reason to refuse.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isError = (issue: Issue): boolean => issue.severity === "error"

/**
 * One line for a person: rule, place, message.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (issue: Issue): string => {
  const place = issue.path === "" ? "" : ` at ${printable(issue.path)}`
  return `${issue.severity} ${issue.rule}${place}: ${issue.message} (${issue.source})`
}
