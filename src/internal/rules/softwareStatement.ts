import type { JsonObject } from "../../ClientMetadata.js"
import * as Json from "./strictJson.js"

/**
 * The claims of a software statement, read without trust: its signature is the host's to judge. A text says what is
 * wrong if it is no JWT (RFC 7519) or its claims are not strict JSON.
 */
export const claims = (statement: string): JsonObject | string => {
  const parts = statement.split(".")
  const payload = parts[1]
  if (parts.length !== 3 || payload === undefined || parts.some((part) => !base64url.test(part))) {
    return "It is not a signed JWT: three parts in base64url, with a dot between each two."
  }
  const header = Json.parse(Buffer.from(parts[0] ?? "", "base64url"))
  if (!Json.isObject(header.value)) {
    return "The header of the JWT is not a JSON object."
  }
  const { issues, value } = Json.parse(Buffer.from(payload, "base64url"))
  const fault = issues.find((issue) => issue.severity === "error")
  if (fault !== undefined) {
    return `The claims of the JWT are not strict JSON: ${fault.message}`
  }
  return Json.isObject(value) ? value : "The claims of the JWT are not a JSON object."
}

// An unsecured JWT has an empty signature.
const base64url = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2,3})?$/
