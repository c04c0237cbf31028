import type { Issue } from "../../Issue.js"
import { error } from "../rules/ruleCatalog.js"
import { typeName } from "../rules/text.js"

/** Who makes a decision, and why. */
export interface DecisionOptions {
  /**
   * The person or program that decides, in 1 to 256 characters. Defaults to the database role, and to `"this process"` in
   * memory.
   */
  readonly by?: string | undefined
  /** Why, in 1 to 1024 characters. */
  readonly reason: string
}

const maxLength = { by: 256, reason: 1024 }

// Control characters would write lines of their own into a terminal or a log, and Postgres stores no lone surrogate.
const unprintable = /[\p{Cc}\p{Cs}\u2028\u2029]/u

const issueOf = (name: keyof typeof maxLength, text: unknown): Issue | undefined => {
  const issue = (message: string) => error("REG-13", `/${name}`, `\`${name}\` ${message}.`)
  if (typeof text !== "string") return issue(`must be a string, but is ${typeName(text)}`)
  if (text.trim() === "") return issue("must not be empty")
  if (text.length > maxLength[name]) return issue(`must have at most ${maxLength[name]} characters`)
  return unprintable.test(text) ? issue("must be one line of printable text") : undefined
}

/** Returns every issue of the options of a decision. */
export const issuesOf = ({ by, reason }: DecisionOptions): ReadonlyArray<Issue> =>
  [by === undefined ? undefined : issueOf("by", by), issueOf("reason", reason)].filter((issue) => issue !== undefined)
