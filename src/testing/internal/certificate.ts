/**
 * Temporary X.509 certificates for the scripted origin (RFC 5280): the DER (X.690) that they need, signed by
 * `node:crypto`. The keys are made in the process and never leave it.
 *
 * Written by hand, because `node:crypto` parses certificates but does not issue them. `@peculiar/x509` was tried
 * instead and brought a dozen packages, which every user of `effect-cimd/testing` would install. The origin's tests
 * verify the certificates with OpenSSL, through the TLS of Node.js.
 */
import type { KeyObject } from "node:crypto"
import { generateKeyPairSync, randomBytes, sign } from "node:crypto"
import { isIP, isIPv4 } from "node:net"

/** A certificate and its key, in PEM form. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

export interface Subject {
  /** The host names, addresses and mailboxes of the certificate. */
  readonly names: ReadonlyArray<string>
  /** Defaults to the first of the names. */
  readonly commonName?: string
  readonly notBefore: Date
  readonly notAfter: Date
}

export const element = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Uint8Array => {
  const content = Buffer.concat(contents)
  const { length } = content
  const header = length < 0x80
    ? [tag, length]
    : length < 0x100
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Uint8Array.from(header), content])
}

export const sequence = (...contents: ReadonlyArray<Uint8Array>) => element(0x30, ...contents)
export const explicit = (tag: number, ...contents: ReadonlyArray<Uint8Array>) => element(0xa0 | tag, ...contents)
export const oid = (...bytes: ReadonlyArray<number>) => element(0x06, Uint8Array.from(bytes))
export const octets = (content: Uint8Array) => element(0x04, content)
export const bits = (content: Uint8Array) => element(0x03, Uint8Array.of(0), content)
const yes = element(0x01, Uint8Array.of(0xff))
export const time = (date: Date) => element(0x18, Buffer.from(date.toISOString().replace(/[-:T]|\.\d+/g, "")))

const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
const commonName = oid(0x55, 0x04, 0x03)
const subjectAltName = oid(0x55, 0x1d, 0x11)
const basicConstraints = oid(0x55, 0x1d, 0x13)
const keyUsage = oid(0x55, 0x1d, 0x0f)
// keyCertSign, which OpenSSL requires of an issuer in its strict mode.
const certSign = Uint8Array.of(0x03, 0x02, 0x02, 0x04)

export const nameOf = (text: string) =>
  sequence(element(0x31, sequence(commonName, element(0x0c, Buffer.from(text.slice(0, 64))))))

const addressBytes = (address: string): Uint8Array => {
  if (isIPv4(address)) return Uint8Array.from(address.split("."), Number)
  const [head = "", tail] = address.split("::")
  const left = head === "" ? [] : head.split(":")
  const right = tail === undefined || tail === "" ? [] : tail.split(":")
  const groups = [...left, ...new Array<string>(8 - left.length - right.length).fill("0"), ...right]
  return Uint8Array.from(groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16)]))
}

export const generalName = (name: string) =>
  isIP(name) !== 0
    ? element(0x87, addressBytes(name))
    : element(name.includes("@") ? 0x81 : 0x82, Buffer.from(name))

export const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${
    (Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? []).join("\n")
  }\n-----END CERTIFICATE-----\n`

interface Issuer {
  readonly name: string
  readonly key: KeyObject
}

const issue = (
  issuer: Issuer,
  subject: Subject & { readonly name: string; readonly publicKey: KeyObject },
  extensions: ReadonlyArray<Uint8Array>
): string => {
  const toBeSigned = sequence(
    explicit(0, element(0x02, Uint8Array.of(2))),
    element(0x02, Uint8Array.of(1), randomBytes(15)),
    ecdsaWithSha256,
    nameOf(issuer.name),
    sequence(time(subject.notBefore), time(subject.notAfter)),
    nameOf(subject.name),
    subject.publicKey.export({ type: "spki", format: "der" }),
    explicit(3, sequence(...extensions))
  )
  return pem(sequence(toBeSigned, ecdsaWithSha256, bits(sign("sha256", toBeSigned, issuer.key))))
}

const newKeys = () => generateKeyPairSync("ec", { namedCurve: "P-256" })

const toPem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString()

const leafExtensions = (names: ReadonlyArray<string>) => [
  names.length === 0
    ? sequence(basicConstraints, octets(sequence()))
    : sequence(subjectAltName, octets(sequence(...names.map(generalName))))
]

/** Makes a certificate that is signed by its own key. */
export const selfSigned = (subject: Subject): Certificate => {
  const { privateKey, publicKey } = newKeys()
  const name = subject.names[0] ?? "nobody"
  return {
    cert: issue({ name, key: privateKey }, { ...subject, name, publicKey }, leafExtensions(subject.names)),
    key: toPem(privateKey)
  }
}

/** Makes a certificate authority: its certificate, and a function that issues others. */
export const authority = (
  now: number
): { readonly cert: string; readonly issue: (subject: Subject) => Certificate } => {
  const { privateKey, publicKey } = newKeys()
  const name = `effect-cimd test authority ${randomBytes(4).toString("hex")}`
  const day = 86_400_000
  const cert = issue(
    { name, key: privateKey },
    { name, names: [], publicKey, notBefore: new Date(now - 365 * day), notAfter: new Date(now + 365 * day) },
    [
      sequence(basicConstraints, yes, octets(sequence(yes))),
      sequence(keyUsage, yes, octets(certSign))
    ]
  )
  // One key serves all hosts, because making a key is the slow part.
  const leaf = newKeys()
  const key = toPem(leaf.privateKey)
  return {
    cert,
    issue: (subject) => ({
      cert: issue(
        { name, key: privateKey },
        { ...subject, name: subject.commonName ?? subject.names[0] ?? "nobody", publicKey: leaf.publicKey },
        leafExtensions(subject.names)
      ),
      key
    })
  }
}
