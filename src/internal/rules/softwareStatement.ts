import type { JsonObject } from "../../ClientMetadata.js"
import * as Json from "./strictJson.js"

/**
 * Returns the claims of a software statement, without verifying its signature: the authorization server does that.
 * Returns a message if the text is not a signed JWT (RFC 7519), or if its claims are not strict JSON.
 */
export const claims = (statement: string): JsonObject | string => {
  const parts = statement.split(".")
  const payload = parts[1]
  if (parts.length !== 3 || payload === undefined || parts.some((part) => !base64url.test(part))) {
    return "The value is not a signed JWT. It must be three parts in base64url, separated by dots."
  }
  const header = Json.parse(Buffer.from(parts[0] ?? "", "base64url"))
  if (!Json.isObject(header.value)) {
    return "The header of the JWT is not a JSON object."
  }
  const { issues, value } = Json.parse(Buffer.from(payload, "base64url"))
  const issue = issues.find((issue) => issue.severity === "error")
  if (issue !== undefined) {
    return `The claims of the JWT are not strict JSON: ${issue.message}`
  }
  return Json.isObject(value) ? value : "The claims of the JWT are not a JSON object."
}

// An unsecured JWT has an empty signature.
const base64url = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2,3})?$/
