import type { Issue } from "../../Issue.js"

/**
 * The rule ids, each with the specification that requires the rule. `docs/rules.md` describes the rules, and a test
 * compares the two.
 */
export const sources = {
  "URL-01": "CIMD 3",
  "URL-02": "CIMD 3",
  "URL-03": "CIMD 3, RFC 3986 6.2.2.2",
  "URL-04": "CIMD 3",
  "URL-05": "CIMD 3",
  "URL-06": "CIMD 3",
  "URL-07": "CIMD 3",
  "URL-08": "effect-cimd",
  "URL-09": "effect-cimd",
  "URL-10": "effect-cimd",
  "URL-11": "RFC 3986 2.1",
  "URL-12": "CIMD 7.1",
  "URL-13": "effect-cimd",
  "DOC-01": "RFC 8259 8.1",
  "DOC-02": "CIMD 4",
  "DOC-03": "effect-cimd, RFC 8259 4",
  "DOC-04": "CIMD 4",
  "DOC-05": "CIMD 4.1",
  "DOC-06": "CIMD 4.1, CIMD-03 4.1",
  "DOC-07": "CIMD-03 6",
  "DOC-08": "CIMD 4.1",
  "DOC-09": "RFC 7591 2, CIMD 8.2",
  "DOC-10": "CIMD 4.2, RFC 9700",
  "DOC-11": "RFC 9700, effect-cimd",
  "DOC-12": "RFC 8252 7, CIMD 8.6",
  "DOC-13": "CIMD 8.6",
  "DOC-14": "RFC 7591 2",
  "DOC-15": "CIMD 4",
  "DOC-16": "effect-cimd",
  "DOC-17": "effect-cimd",
  "DOC-18": "effect-cimd",
  "DOC-19": "effect-cimd",
  "DOC-20": "MCP 2025-11-25, CIMD 8.1",
  "DOC-21": "CIMD-03 6",
  "DOC-22": "CIMD-03 6",
  "DOC-23": "CIMD-03 4.1, CIMD-03 4.3",
  "DOC-24": "CIMD 4.1",
  "DOC-25": "effect-cimd",
  "RED-01": "RFC 9700, CIMD 4.2",
  "RED-02": "RFC 8252 7.3",
  "RED-03": "RFC 8252 8.3",
  "RED-04": "RFC 6749 4.1.2.1",
  "RED-05": "RFC 8252 8.4, effect-cimd",
  "REG-01": "effect-cimd",
  "REG-02": "effect-cimd",
  "REG-03": "RFC 9111 3, effect-cimd",
  "REG-04": "effect-cimd",
  "REG-05": "effect-cimd",
  "REG-06": "effect-cimd",
  "REG-07": "effect-cimd",
  "REG-08": "effect-cimd",
  "REG-09": "effect-cimd",
  "REG-10": "effect-cimd",
  "REG-11": "effect-cimd, RFC 3986 6.2.2",
  "REG-12": "effect-cimd",
  "REG-13": "effect-cimd",
  "REG-14": "effect-cimd",
  "REG-15": "effect-cimd",
  "REG-16": "effect-cimd"
} as const

export type RuleId = keyof typeof sources

/** Returns an issue that makes the input invalid. */
export const error = (rule: RuleId, path: string, message: string): Issue => ({
  rule,
  severity: "error",
  path,
  message,
  source: sources[rule]
})

/** Returns an issue that leaves the input valid. */
export const warning = (rule: RuleId, path: string, message: string): Issue => ({
  rule,
  severity: "warning",
  path,
  message,
  source: sources[rule]
})
