import * as Issue from "../Issue.js"

/** An issue as `--json` prints it. */
export const toJson = ({ message, path, rule, severity }: Issue.Issue) => ({ rule, path, message, severity })

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`

const line = ({ message, path, rule, source }: Issue.Issue) =>
  `  ${rule}${path === "" ? "" : ` at ${path}`}: ${message} (${source})`

const group = (title: string, issues: ReadonlyArray<Issue.Issue>) =>
  issues.length === 0 ? [] : [`${title}:`, ...issues.map(line)]

/** The issues for a person: errors, then warnings, each with the text that asks for it. */
export const toLines = (issues: ReadonlyArray<Issue.Issue>): ReadonlyArray<string> => [
  ...group("errors", issues.filter(Issue.isError)),
  ...group("warnings", issues.filter((issue) => !Issue.isError(issue)))
]

/** How many issues there are of each severity. */
export const summary = (issues: ReadonlyArray<Issue.Issue>): string => {
  const errors = issues.filter(Issue.isError).length
  return `${count(errors, "error")}, ${count(issues.length - errors, "warning")}`
}
