/** Certificates with any key, also with keys and signatures that only take time to verify. */
import type { KeyObject } from "node:crypto"
import { generateKeyPairSync, randomBytes, sign } from "node:crypto"
import {
  bits,
  element,
  explicit,
  generalName,
  nameOf,
  octets,
  oid,
  pem,
  sequence,
  time
} from "../../src/testing/internal/certificate.js"

const day = 86_400_000

/** A public key, and how it signs. */
export interface Key {
  readonly publicKey: Uint8Array
  readonly algorithm: Uint8Array
  readonly sign: (bytes: Uint8Array) => Uint8Array
  /** The private key in PEM form, of a real key. */
  readonly pem: string
}

const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
const rsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b), Uint8Array.of(5, 0))
const rsaEncryption = oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01)
const dsaWithSha256 = sequence(oid(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02))
const ed25519 = sequence(oid(0x2b, 0x65, 0x70))
const ed448 = sequence(oid(0x2b, 0x65, 0x71))

const integer = (bytes: Uint8Array) =>
  element(0x02, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.alloc(1), bytes]))

const real = (
  { privateKey, publicKey }: { readonly privateKey: KeyObject; readonly publicKey: KeyObject },
  algorithm: Uint8Array,
  hash: string | null
): Key => ({
  publicKey: publicKey.export({ type: "spki", format: "der" }),
  algorithm,
  sign: (bytes) => sign(hash, bytes, privateKey),
  pem: privateKey.export({ type: "pkcs8", format: "pem" }).toString()
})

export const curveKey = (namedCurve: string): Key =>
  real(generateKeyPairSync("ec", { namedCurve }), ecdsaWithSha256, "sha256")
export const rsaKey = (modulusLength: number): Key =>
  real(generateKeyPairSync("rsa", { modulusLength }), rsaWithSha256, "sha256")
export const ed25519Key = (): Key => real(generateKeyPairSync("ed25519"), ed25519, null)
export const ed448Key = (): Key => real(generateKeyPairSync("ed448"), ed448, null)

/** A number of so many bits, with its first and last bit set. */
const odd = (bitLength: number): Uint8Array => {
  const bytes = randomBytes(bitLength / 8)
  bytes[0] = (bytes[0] ?? 0) | 0x80
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) | 1
  return bytes
}

const below = (number: Uint8Array): Uint8Array => Uint8Array.from(number, (byte, index) => index === 0 ? 0x40 : byte)

/** An RSA key that nobody knows. The signatures are random, because a verification takes as long for these. */
export const fakeRsaKey = (bitLength: number, exponent: Uint8Array = Uint8Array.of(1, 0, 1)): Key => ({
  publicKey: sequence(
    sequence(rsaEncryption, Uint8Array.of(5, 0)),
    bits(sequence(integer(odd(bitLength)), integer(exponent)))
  ),
  algorithm: rsaWithSha256,
  sign: () => below(odd(bitLength)),
  pem: ""
})

/** A DSA key that nobody knows. */
export const fakeDsaKey = (bitLength: number): Key => {
  const prime = odd(bitLength)
  return {
    publicKey: sequence(
      sequence(
        oid(0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01),
        sequence(integer(prime), integer(odd(256)), integer(below(prime)))
      ),
      bits(integer(below(prime)))
    ),
    algorithm: dsaWithSha256,
    sign: () => sequence(integer(Buffer.alloc(32, 0x33)), integer(Buffer.alloc(32, 0x33))),
    pem: ""
  }
}

export const extension = (identifier: ReadonlyArray<number>, value: Uint8Array) =>
  sequence(oid(...identifier), octets(value))

const authorityExtension = extension([0x55, 0x1d, 0x13], sequence(Uint8Array.of(1, 1, 0xff)))

export const alternativeNames = (names: ReadonlyArray<string>) =>
  extension([0x55, 0x1d, 0x11], sequence(...names.map(generalName)))

/** Excludes names of a kind. */
export const nameConstraints = (names: ReadonlyArray<Uint8Array>) =>
  extension([0x55, 0x1d, 0x1e], sequence(explicit(1, ...names.map((name) => sequence(name)))))

export interface Contents {
  readonly subject: string | Uint8Array
  readonly issuer: string | Uint8Array
  readonly key: Key
  readonly signer: Key
  readonly extensions: ReadonlyArray<Uint8Array>
}

const nameBytes = (name: string | Uint8Array) => typeof name === "string" ? nameOf(name) : name

export const certificate = ({ extensions, issuer, key, signer, subject }: Contents): Uint8Array => {
  const now = Date.now()
  const toBeSigned = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    integer(Buffer.concat([Uint8Array.of(1), randomBytes(15)])),
    signer.algorithm,
    nameBytes(issuer),
    sequence(time(new Date(now - day)), time(new Date(now + day))),
    nameBytes(subject),
    key.publicKey,
    explicit(3, sequence(...extensions))
  )
  return sequence(toBeSigned, signer.algorithm, bits(signer.sign(toBeSigned)))
}

/**
 * A chain of the leaf, so many authorities, and the root, which signs the last of them. `authorityKey` is called for each
 * authority, the root included.
 */
export const chain = ({ authorities, authorityExtensions = [], authorityKey, leafKey, leafNames }: {
  readonly leafKey: Key
  readonly leafNames: ReadonlyArray<string>
  readonly authorities: number
  readonly authorityKey: () => Key
  readonly authorityExtensions?: ReadonlyArray<Uint8Array>
}): { readonly sent: ReadonlyArray<Uint8Array>; readonly root: Uint8Array } => {
  const keys = Array.from({ length: authorities + 1 }, authorityKey)
  const name = (level: number) => `Authority ${level}`
  const keyOf = (level: number): Key => keys[level] ?? leafKey
  const leaf = certificate({
    subject: leafNames[0] ?? "",
    issuer: name(0),
    key: leafKey,
    signer: keyOf(0),
    extensions: [alternativeNames(leafNames)]
  })
  const above = keys.map((key, level) =>
    certificate({
      subject: name(level),
      issuer: name(Math.min(level + 1, authorities)),
      key,
      signer: keyOf(Math.min(level + 1, authorities)),
      extensions: [authorityExtension, ...authorityExtensions]
    })
  )
  return { sent: [leaf, ...above.slice(0, authorities)], root: above[authorities] ?? leaf }
}

export const pemOf = (certificates: ReadonlyArray<Uint8Array>): string => certificates.map(pem).join("")
