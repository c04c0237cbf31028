/**
 * How many bytes of heap a document takes. A small text can take many: `{"a":0}` takes 300 bytes, since V8 keeps a
 * description of each shape of object. Strangers write the documents, so memory is bounded in what they really take.
 *
 * The constants are measured, and rounded up. A test compares the sizes with the growth of the heap, for documents of
 * each shape.
 */
import type { AcceptedDocument, Json } from "../ClientMetadata.js"
import { names } from "./rules/memberTypes.js"

const isArray = (value: Json): value is ReadonlyArray<Json> => Array.isArray(value)

const registered = new Set(names)

const ofNumber = 20
const ofReference = 8
const ofObject = 64
// V8 describes each combination and order of member names once.
const ofShape = 150
const ofMember = 40

/** The accepted document, the entry that holds it, its site, and their places in maps and lists. */
const fixed = 950

/** An entry without a document. */
export const ofTombstone = (clientId: string): number => 610 + ofString(clientId)

/** The size of a document in memory, with what was derived from it. */
export const ofDocument = ({ json, warnings }: Pick<AcceptedDocument, "json" | "warnings">): number => {
  let size = fixed + ofValue(json)
  for (const { message, path } of warnings) size += 150 + ofString(path) + ofString(message)
  return size
}

// A character beyond Latin-1 makes all characters of a string two bytes long.
export const ofString = (text: string): number => 28 + (/[^\0-\xff]/.test(text) ? 2 * text.length : text.length)

// A damaged row of a database may be nested too deeply for a recursion.
const ofValue = (document: Json): number => {
  let size = 0
  const rest = [document]
  for (let value = rest.pop(); value !== undefined; value = rest.pop()) {
    if (typeof value === "string") size += ofString(value)
    else if (typeof value === "number") size += ofNumber
    else if (typeof value !== "object" || value === null) continue
    else if (isArray(value)) {
      size += ofObject + value.length * ofReference
      for (const element of value) rest.push(element)
    } else {
      const members = Object.entries(value)
      size += ofObject + (members.length > 0 ? ofShape : 0) + members.length * ofMember
      for (const [name, member] of members) {
        // The names of registered members are in memory once.
        if (!registered.has(name)) size += ofString(name)
        rest.push(member)
      }
    }
  }
  return size
}
