/**
 * The rules for the keys of a document: no private key material (DOC-08), and well-formed public keys (DOC-14). These
 * rules check types, curves and lengths. Whether a key is a valid point or modulus is left to the code that uses it.
 */
import type { JsonObject } from "../../ClientMetadata.js"
import type { RuleId } from "./ruleCatalog.js"
import { isObject } from "./strictJson.js"
import { pointerStep, quote } from "./text.js"

/** Called for each issue. The JSON pointer is relative to the key set. */
export type Report = (rule: RuleId, path: string, message: string) => void

type Key = JsonObject

const maxKeys = 32

const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]

/** Returns the keys of a key set; an empty array if the key set is malformed. */
const keysOf = (jwks: unknown): ReadonlyArray<unknown> =>
  isObject(jwks) && Array.isArray(jwks["keys"]) ? jwks["keys"] : []

/** Reports private and symmetric key material (DOC-08). */
export const checkSecrecy = (jwks: unknown, report: Report): void => {
  const beside = isObject(jwks) ? privateMembers.filter((member) => Object.hasOwn(jwks, member)) : []
  if (beside.length > 0) {
    report(
      "DOC-08",
      "",
      `The key set has private members beside its keys (${beside.join(", ")}), and anyone can read this document. ` +
        "Create a new key pair, and publish only its public members."
    )
  }
  for (const [index, key] of keysOf(jwks).entries()) {
    if (!isObject(key)) {
      continue
    }
    const path = `/keys${pointerStep(index)}`
    const secret = privateMembers.filter((member) => Object.hasOwn(key, member))
    if (key["kty"] === "oct") {
      report("DOC-08", path, "A symmetric key (kty \"oct\") is a shared secret. Remove it, and stop using it.")
    } else if (secret.length > 0) {
      report(
        "DOC-08",
        path,
        `The key has private members (${
          secret.join(", ")
        }), and anyone can read this document. Create a new key pair, ` +
          "and publish only its public members."
      )
    }
  }
}

/** Reports malformed keys of the known types, and key sets with too many keys (DOC-14). */
export const checkForm = (jwks: unknown, report: Report): void => {
  const keys = keysOf(jwks)
  if (keys.length > maxKeys) {
    report("DOC-14", "/keys", `The key set has ${keys.length} keys, but at most ${maxKeys} are allowed. Remove some.`)
    return
  }
  for (const [index, key] of keys.entries()) {
    if (isObject(key)) {
      const path = `/keys${pointerStep(index)}`
      checkKey(key, (member, message) => report("DOC-14", `${path}${pointerStep(member)}`, message))
      checkModulus(key, (member, message) => report("DOC-09", `${path}${pointerStep(member)}`, message))
    }
  }
}

/** Reports keys with the `kid` of an earlier one: a verifier may try only one of them. */
export const checkIds = (jwks: unknown, warn: Report): void => {
  const seen = new Set<string>()
  for (const [index, key] of keysOf(jwks).entries()) {
    const kid = isObject(key) ? key["kid"] : undefined
    if (typeof kid !== "string") continue
    if (seen.has(kid)) {
      warn("DOC-09", `/keys${pointerStep(index)}/kid`, `Another key has the kid ${quote(kid)} too. Give each its own.`)
    }
    seen.add(kid)
  }
}

// RFC 7518, section 3.3, requires 2048 bits. The time of a verification grows with the square of the length.
const minModulusBits = 2048
const maxModulusBits = 8192

const checkModulus = (key: Key, report: ReportMember): void => {
  const modulus = key["n"]
  if (key["kty"] !== "RSA" || typeof modulus !== "string" || !base64url.test(modulus)) return
  const octets = Buffer.from(modulus, "base64url")
  const first = octets.findIndex((octet) => octet !== 0)
  const bits = first < 0 ? 0 : (octets.length - first) * 8 - (Math.clz32(octets[first] ?? 0) - 24)
  if (bits < minModulusBits || bits > maxModulusBits) {
    report(
      "n",
      `The RSA key has ${bits} bits, but must have ${minModulusBits} to ${maxModulusBits}. Create another key pair.`
    )
  }
}

type ReportMember = (member: string, message: string) => void

const curveSizes = (sizes: { readonly [curve: string]: number }): ReadonlyMap<string, number> =>
  new Map(Object.entries(sizes))

// Octets of a coordinate (RFC 7518 section 6.2.1.2, RFC 8812).
const ellipticCurves = curveSizes({ "P-256": 32, "P-384": 48, "P-521": 66, secp256k1: 32 })
// Octets of a public key (RFC 8037).
const octetCurves = curveSizes({ Ed25519: 32, Ed448: 57, X25519: 32, X448: 56 })

const checkKey = (key: Key, report: ReportMember): void => {
  const type = key["kty"]
  if (type === "RSA") {
    checkOctets(key, "n", undefined, report)
    checkOctets(key, "e", undefined, report)
  } else if (type === "EC") {
    checkCurve(key, ellipticCurves, ["x", "y"], report)
  } else if (type === "OKP") {
    checkCurve(key, octetCurves, ["x"], report)
  }
}

const checkCurve = (
  key: Key,
  curves: ReadonlyMap<string, number>,
  coordinates: ReadonlyArray<string>,
  report: ReportMember
): void => {
  const curve = key["crv"]
  if (typeof curve !== "string") {
    report("crv", "The key has no crv. Add the name of its curve.")
    return
  }
  // An unknown curve has no known size, but its coordinates must still be present.
  for (const coordinate of coordinates) {
    checkOctets(key, coordinate, curves.get(curve), report)
  }
}

const base64url = /^[A-Za-z0-9_-]+$/

const checkOctets = (key: Key, member: string, octets: number | undefined, report: ReportMember): void => {
  const value = key[member]
  if (typeof value !== "string") {
    report(member, `The key has no ${member}. Add it as a string in base64url.`)
  } else if (!base64url.test(value) || value.length % 4 === 1) {
    report(member, `${quote(value)} must be base64url without padding.`)
  } else if (octets !== undefined && value.length !== Math.ceil((octets * 4) / 3)) {
    report(
      member,
      `On this curve ${member} must have ${octets} octets, which are ${
        Math.ceil((octets * 4) / 3)
      } characters, but it has ${value.length}.`
    )
  }
}
