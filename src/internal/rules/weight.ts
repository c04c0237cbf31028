/**
 * What a document may weigh (DOC-25). Every row of the cache is read, parsed and kept in memory many times, and a small
 * text can become large: `1e308` has 309 digits in `jsonb`.
 */
import type { Json, JsonObject } from "../../ClientMetadata.js"
import type { Issue } from "../../Issue.js"
import { error } from "./ruleCatalog.js"
import { pointerOf } from "./text.js"

const maxValues = 256
const maxUris = 32
const maxNumberLength = 32

/** Maximum number of issues that an error reports, the last of which counts the rest. */
export const maxIssues = 100
/** Maximum number of warnings that an accepted document keeps, before one that counts the rest. */
export const maxWarnings = 20

const uriArrays = ["redirect_uris", "post_logout_redirect_uris", "claims_redirect_uris", "request_uris"]

/** Returns every issue of a document's weight. */
export const issuesOf = (document: JsonObject): ReadonlyArray<Issue> => {
  const issues: Array<Issue> = []
  const values = weigh(document, [], issues)
  if (values > maxValues) {
    return [error("DOC-25", "", `The document has ${values} JSON values, but at most ${maxValues} are allowed.`)]
  }
  for (const name of uriArrays) {
    const uris = document[name]
    if (Array.isArray(uris) && uris.length > maxUris) {
      issues.push(
        error(
          "DOC-25",
          `/${name}`,
          `The array has ${uris.length} URIs, but at most ${maxUris} are allowed. Remove some.`
        )
      )
    }
  }
  return issues
}

/** Returns the number of values, and reports long numbers. The parser has bounded the nesting. */
const weigh = (value: Json, path: Array<string | number>, issues: Array<Issue>): number => {
  if (typeof value === "number") {
    if (decimalLength(value) > maxNumberLength) {
      issues.push(error(
        "DOC-25",
        pointerOf(path),
        `The number has more than ${maxNumberLength} characters without its exponent. Write it as a string.`
      ))
    }
    return 1
  }
  if (typeof value !== "object" || value === null) return 1
  let values = 1
  for (const [name, member] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    path.push(name)
    values += weigh(member, path, issues)
    path.pop()
  }
  return values
}

/** The length of a number in decimal notation without an exponent, which is how `jsonb` writes it. */
const decimalLength = (value: number): number => {
  const [mantissa = "", exponent = "0"] = String(Math.abs(value)).split("e")
  const [integer = "", fraction = ""] = mantissa.split(".")
  const shift = Number(exponent)
  const decimals = Math.max(0, fraction.length - shift)
  return (value < 0 ? 1 : 0) + Math.max(1, integer.length + shift) + (decimals === 0 ? 0 : decimals + 1)
}

/** Returns the first issues, and one more that counts the rest. */
export const firstOf = (
  issues: ReadonlyArray<Issue>,
  kept: number,
  last: (rule: "DOC-25", path: "", message: string) => Issue
): ReadonlyArray<Issue> => [...issues.slice(0, kept), last("DOC-25", "", `There are ${issues.length - kept} more.`)]
