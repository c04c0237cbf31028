/**
 * What differs between two documents of a client, decided member by member (REG-06). Only the members listed here count
 * as display, so a member that no list knows counts as security.
 */
import type { Json, JsonObject } from "../../ClientMetadata.js"
import { canonical } from "./canonicalJson.js"
import { isObject } from "./strictJson.js"

export type Change = "none" | "display" | "security"

/** The differing members, sorted, and the most severe of their kinds. */
export interface Difference {
  readonly change: Change
  readonly members: ReadonlyArray<string>
}

/** Members that are shown to people and that no protocol reads. They may have a language tag, as in `client_name#ja`. */
const translatedMembers = new Set([
  "client_name",
  "client_uri",
  "logo_uri",
  "tos_uri",
  "policy_uri",
  "organization_name",
  "organization_uri",
  "display_name",
  "description",
  "keywords",
  "information_uri"
])

/** More members of that kind, which have no language tag. */
const displayMembers = new Set([...translatedMembers, "contacts", "homepage_uri", "software_version"])

/**
 * Arrays without an order. `token_endpoint_auth_methods_supported` is missing because a server may prefer its first
 * method, and `default_acr_values` because it is in order of preference.
 */
const unorderedMembers = new Set([
  "redirect_uris",
  "post_logout_redirect_uris",
  "claims_redirect_uris",
  "request_uris",
  "grant_types",
  "response_types",
  "contacts"
])

const isDisplay = (name: string): boolean => {
  const tag = name.indexOf("#")
  return tag < 0 ? displayMembers.has(name) : translatedMembers.has(name.slice(0, tag))
}

// Repeated elements are kept: a client with one redirect URI may omit it in requests, and one with two may not.
const unordered = (elements: ReadonlyArray<Json>): string => elements.map(canonical).sort().join(",")

/** Returns a text that two values of a member share if and only if they mean the same. */
const meaningOf = (name: string, value: Json): string => {
  if (name === "scope" && typeof value === "string") {
    // The order of scope values has no meaning (RFC 6749, section 3.3).
    return `scope ${[...new Set(value.split(" "))].sort().join(" ")}`
  }
  if (Array.isArray(value) && unorderedMembers.has(name)) {
    return `unordered ${unordered(value)}`
  }
  if (name === "jwks" && isObject(value) && Array.isArray(value.keys)) {
    return `keys ${unordered(value.keys)} ${canonical({ ...value, keys: [] })}`
  }
  return `json ${canonical(value)}`
}

/** Compares two documents of a client. An absent member differs from one that has its default. */
export const compare = (before: JsonObject, after: JsonObject): Difference => {
  const meaning = (document: JsonObject, name: string): string | undefined => {
    const value = Object.hasOwn(document, name) ? document[name] : undefined
    return value === undefined ? undefined : meaningOf(name, value)
  }
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  const members = [...names].filter((name) => meaning(before, name) !== meaning(after, name)).sort()
  const change = members.length === 0 ? "none" : members.every(isDisplay) ? "display" : "security"
  return { change, members }
}
