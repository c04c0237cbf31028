/**
 * Bounds what the verification of a peer's certificates can cost, before OpenSSL sees them (FET-18).
 *
 * OpenSSL verifies every signature of a chain before Node.js learns that no authority signed it, so a stranger chooses
 * the work. Within 24 KB it was 0.3 s for a chain with keys on the curve sect571r1, 0.1 s for RSA keys with long
 * exponents, and 5 s for name constraints on thousands of names. Nothing in `node:tls` bounds any of these.
 *
 * Written by hand, because `X509Certificate` of Node.js 20 takes 0.5 ms for each certificate. This reader of DER takes
 * some microseconds, and rejects every encoding that it does not know.
 */

/** Public chains have up to four certificates; this allows for a root and for cross-signed ones. */
const maxCertificates = 8
/** The longest key that public authorities issue for has 4096 bits. */
const maxModulusBytes = 8192 / 8
/** The exponent is 65537 in practice, and the time to verify a signature grows with its length. */
const maxExponentBytes = 4
/** The subject and the issuer, in bytes. OpenSSL copies the issuer for each distribution point. */
const maxNameBytes = 1024
/** Each extension but the alternative names, in bytes. */
const maxExtensionBytes = 2048
/** OpenSSL compares each name with each constraint, which takes up to 1.2 microseconds. */
const maxComparisons = 10_000

interface Element {
  readonly tag: number
  readonly content: Buffer
}

/** Returns the elements of a sequence, or `undefined` if the bytes are not DER of definite lengths and short tags. */
const elements = (bytes: Buffer): ReadonlyArray<Element> | undefined => {
  const found: Array<Element> = []
  let at = 0
  while (at < bytes.length) {
    const tag = bytes[at] ?? 0
    const short = bytes[at + 1] ?? 0
    const lengthBytes = short < 0x80 ? 0 : short & 0x7f
    const start = at + 2 + lengthBytes
    if ((tag & 0x1f) === 0x1f || short === 0x80 || lengthBytes > 3 || start > bytes.length) return undefined
    const length = lengthBytes === 0 ? short : bytes.readUIntBE(at + 2, lengthBytes)
    at = start + length
    if (at > bytes.length) return undefined
    found.push({ tag, content: bytes.subarray(start, at) })
  }
  return found
}

/** Returns the elements inside of an element with a tag. */
const inside = (element: Element | undefined, tag: number): ReadonlyArray<Element> | undefined =>
  element?.tag === tag ? elements(element.content) : undefined

/** Returns the elements inside of the only element of some bytes. */
const only = (bytes: Buffer, tag: number): ReadonlyArray<Element> | undefined => {
  const found = elements(bytes)
  return found?.length === 1 ? inside(found[0], tag) : undefined
}

const sequence = 0x30
const set = 0x31
const integer = 0x02
const bitString = 0x03
const octetString = 0x04
const objectIdentifier = 0x06
const version = 0xa0
const extensionList = 0xa3

const subjectAltName = "551d11"
const nameConstraints = "551d1e"

/** The algorithm identifiers, without the tag and length of their sequence. */
const fixedKeys: ReadonlySet<string> = new Set([
  "06072a8648ce3d020106082a8648ce3d030107", // P-256
  "06072a8648ce3d020106052b81040022", // P-384
  "06032b6570" // Ed25519
])
const rsaKeys: ReadonlySet<string> = new Set(["2a864886f70d010101", "2a864886f70d01010a"])

const isCheapKey = (key: Element | undefined): boolean => {
  const [algorithm, bits] = inside(key, sequence) ?? []
  if (algorithm?.tag !== sequence || bits?.tag !== bitString) return false
  if (fixedKeys.has(algorithm.content.toString("hex"))) return true
  const [identifier] = elements(algorithm.content) ?? []
  if (identifier?.tag !== objectIdentifier || !rsaKeys.has(identifier.content.toString("hex"))) return false
  // The first byte is the number of unused bits.
  const [modulus, exponent] = only(bits.content.subarray(1), sequence) ?? []
  // A modulus has a zero before its first bit.
  return modulus?.tag === integer && modulus.content.length <= maxModulusBytes + 1 &&
    exponent?.tag === integer && exponent.content.length <= maxExponentBytes
}

interface Counts {
  readonly names: number
  readonly constraints: number
}

/** Counts the elements of the elements, all of which must have one of the tags. */
const countInside = (
  outer: ReadonlyArray<Element> | undefined,
  tags: ReadonlyArray<number>
): number | undefined =>
  outer?.reduce<number | undefined>((count, element) => {
    const inner = tags.includes(element.tag) ? elements(element.content) : undefined
    return count === undefined || inner === undefined ? undefined : count + inner.length
  }, 0)

const countExtension = (extension: Element): Counts | string => {
  const parts = inside(extension, sequence)
  const identifier = parts?.[0]
  const value = parts?.[parts.length - 1]
  if (identifier?.tag !== objectIdentifier || value?.tag !== octetString) return malformed
  const kind = identifier.content.toString("hex")
  if (kind === subjectAltName) {
    const names = only(value.content, sequence)
    return names === undefined ? malformed : { names: names.length, constraints: 0 }
  }
  if (value.content.length > maxExtensionBytes) return "has an extension that is too long"
  if (kind !== nameConstraints) return { names: 0, constraints: 0 }
  const constraints = countInside(only(value.content, sequence), [0xa0, 0xa1])
  return constraints === undefined ? malformed : { names: 0, constraints }
}

const malformed = "is malformed"

/** Counts the names and the constraints of a certificate, or returns what is wrong with it. */
const count = (certificate: Buffer): Counts | string => {
  const [toBeSigned] = only(certificate, sequence) ?? []
  const fields = inside(toBeSigned, sequence)
  if (fields === undefined) return malformed
  const [, , issuer, , subject, key, ...rest] = fields[0]?.tag === version ? fields.slice(1) : fields
  const attributes = countInside(inside(subject, sequence), [set])
  if (attributes === undefined || issuer?.tag !== sequence || subject === undefined) return malformed
  if (Math.max(issuer.content.length, subject.content.length) > maxNameBytes) return "has a name that is too long"
  if (!isCheapKey(key)) {
    return "has a key that is not on P-256, P-384 or Ed25519, nor RSA of up to 8192 bits with a short exponent"
  }
  let names = attributes
  let constraints = 0
  for (const field of rest) {
    if (field.tag !== extensionList) continue
    const extensions = only(field.content, sequence)
    if (extensions === undefined) return malformed
    for (const extension of extensions) {
      const counted = countExtension(extension)
      if (typeof counted === "string") return counted
      names += counted.names
      constraints += counted.constraints
    }
  }
  return { names, constraints }
}

/** Returns why the certificates of a peer must not be verified, as the end of a sentence; otherwise `undefined`. */
export const reasonAgainst = (certificates: ReadonlyArray<Buffer>): string | undefined => {
  if (certificates.length > maxCertificates) {
    return `The peer sent ${certificates.length} certificates, which is more than ${maxCertificates}`
  }
  let names = 0
  let constraints = 0
  for (const [index, certificate] of certificates.entries()) {
    const counted = count(certificate)
    if (typeof counted === "string") return `Certificate ${index + 1} of the peer ${counted}`
    names += counted.names
    constraints += counted.constraints
  }
  return names * constraints > maxComparisons
    ? `The certificates of the peer have ${names} names and ${constraints} name constraints, which are too many`
    : undefined
}
