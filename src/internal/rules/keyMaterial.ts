/**
 * The public keys of a document (DOC-08, DOC-14). Types, curves and lengths are judged; arithmetic on keys is left to
 * the code that uses them.
 */
import type { JsonObject } from "../../ClientMetadata.js"
import type { RuleId } from "./ruleCatalog.js"
import { isObject } from "./strictJson.js"
import { pointerStep, quote } from "./text.js"

/** Told of each fault, with the JSON pointer below the key set's. */
export type Report = (rule: RuleId, path: string, message: string) => void

type Key = JsonObject

const maxKeys = 32

const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]

/** The keys of a key set, as far as there are any. */
const keysOf = (jwks: unknown): ReadonlyArray<unknown> =>
  isObject(jwks) && Array.isArray(jwks["keys"]) ? jwks["keys"] : []

/** No private or symmetric key material (DOC-08). */
export const judgeSecrecy = (jwks: unknown, report: Report): void => {
  for (const [index, key] of keysOf(jwks).entries()) {
    if (!isObject(key)) {
      continue
    }
    const path = `/keys${pointerStep(index)}`
    const secret = privateMembers.filter((member) => Object.hasOwn(key, member))
    if (key["kty"] === "oct") {
      report("DOC-08", path, "A symmetric key (kty \"oct\") is a shared secret. Remove it, and use it no more.")
    } else if (secret.length > 0) {
      report(
        "DOC-08",
        path,
        `The key has private members (${secret.join(", ")}). Anyone can read this document: make a new key pair, and ` +
          "publish its public members alone."
      )
    }
  }
}

/** Known types of key are well formed, and the number of keys is bounded (DOC-14). */
export const judgeForm = (jwks: unknown, report: Report): void => {
  const keys = keysOf(jwks)
  if (keys.length > maxKeys) {
    report("DOC-14", "/keys", `The set has ${keys.length} keys; ${maxKeys} are allowed.`)
    return
  }
  for (const [index, key] of keys.entries()) {
    if (isObject(key)) {
      judgeKey(key, (member, message) => report("DOC-14", `/keys${pointerStep(index)}${pointerStep(member)}`, message))
    }
  }
}

type ReportMember = (member: string, message: string) => void

const curveSizes = (sizes: { readonly [curve: string]: number }): ReadonlyMap<string, number> =>
  new Map(Object.entries(sizes))

// Octets of a coordinate (RFC 7518 section 6.2.1.2, RFC 8812).
const ellipticCurves = curveSizes({ "P-256": 32, "P-384": 48, "P-521": 66, secp256k1: 32 })
// Octets of a public key (RFC 8037).
const octetCurves = curveSizes({ Ed25519: 32, Ed448: 57, X25519: 32, X448: 56 })

const judgeKey = (key: Key, report: ReportMember): void => {
  const type = key["kty"]
  if (type === "RSA") {
    judgeOctets(key, "n", undefined, report)
    judgeOctets(key, "e", undefined, report)
  } else if (type === "EC") {
    judgeCurve(key, ellipticCurves, ["x", "y"], report)
  } else if (type === "OKP") {
    judgeCurve(key, octetCurves, ["x"], report)
  }
}

const judgeCurve = (
  key: Key,
  curves: ReadonlyMap<string, number>,
  coordinates: ReadonlyArray<string>,
  report: ReportMember
): void => {
  const curve = key["crv"]
  if (typeof curve !== "string") {
    report("crv", "The key has no crv, the name of its curve.")
    return
  }
  // The coordinates of a curve that is not known have to be there all the same.
  for (const coordinate of coordinates) {
    judgeOctets(key, coordinate, curves.get(curve), report)
  }
}

const base64url = /^[A-Za-z0-9_-]+$/

const judgeOctets = (key: Key, member: string, octets: number | undefined, report: ReportMember): void => {
  const value = key[member]
  if (typeof value !== "string") {
    report(member, `The key has no ${member}, a string in base64url.`)
  } else if (!base64url.test(value) || value.length % 4 === 1) {
    report(member, `${quote(value)} is not base64url without padding.`)
  } else if (octets !== undefined && value.length !== Math.ceil((octets * 4) / 3)) {
    report(
      member,
      `On this curve ${member} has ${octets} octets, ${
        Math.ceil((octets * 4) / 3)
      } characters; this has ${value.length}.`
    )
  }
}
