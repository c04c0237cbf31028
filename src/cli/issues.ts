import * as Issue from "../Issue.js"

/** Returns an issue in the form that `--json` prints. */
export const toJson = ({ message, path, rule, severity, source }: Issue.Issue) => ({
  rule,
  path,
  message,
  severity,
  source
})

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`

const line = ({ message, path, rule, source }: Issue.Issue) =>
  `  ${rule}${path === "" ? "" : ` at ${path}`}: ${message} (${source})`

const group = (title: string, issues: ReadonlyArray<Issue.Issue>) =>
  issues.length === 0 ? [] : [`${title}:`, ...issues.map(line)]

/** Returns the issues as lines of text: errors, then warnings, each with its source. */
export const toLines = (issues: ReadonlyArray<Issue.Issue>): ReadonlyArray<string> => [
  ...group("errors", issues.filter(Issue.isError)),
  ...group("warnings", issues.filter((issue) => !Issue.isError(issue)))
]

/** Returns the number of issues of each severity. */
export const summary = (issues: ReadonlyArray<Issue.Issue>): string => {
  const errors = issues.filter(Issue.isError).length
  return `${count(errors, "error")}, ${count(issues.length - errors, "warning")}`
}
