import type { Json } from "../../ClientMetadata.js"

const isArray = (value: Json): value is ReadonlyArray<Json> => Array.isArray(value)

/**
 * Returns the text of a JSON value in its canonical form (RFC 8785): sorted members, no whitespace. A document that was
 * read back from `jsonb` has another member order than the bytes of its origin, but the same canonical text.
 */
export const canonical = (value: Json): string => {
  if (isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  // The default order of `sort` is that of UTF-16 code units, which RFC 8785 requires.
  const members = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`
}
