import * as Effect from "effect/Effect"
import { constants, X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import type { SecureContext, TLSSocket } from "node:tls"
import * as tls from "node:tls"
import { TlsFailed } from "../../FetchError.js"
import { printable } from "../rules/text.js"
import type { FetchTarget } from "./fetchTarget.js"
import type { Connection } from "./happyEyeballs.js"
import { codeOf, destroy, ignore, whenConnected } from "./sockets.js"
import type { Usage } from "./transport.js"
import { Transport } from "./transport.js"

/**
 * The ciphers, in the order of preference: those of TLS 1.3, and those of TLS 1.2 that RFC 9325 recommends. All have
 * forward secrecy over elliptic curves (ECDHE) and authenticated encryption (AEAD) (FET-19). The groups of DHE are the server's
 * choice, and one of 8192 bits takes 174 ms.
 */
const ciphers = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305"
].join(":")

/** The groups of the key exchange. The defaults of OpenSSL include ffdhe8192, which is as slow as DHE. */
const groups = "X25519:P-256:P-384"

/** The signatures of the handshake, for the keys that a certificate may have (FET-18). */
const signatures = [
  "ecdsa_secp256r1_sha256",
  "ecdsa_secp384r1_sha384",
  "ed25519",
  "rsa_pss_rsae_sha256",
  "rsa_pss_rsae_sha384",
  "rsa_pss_rsae_sha512",
  "rsa_pss_pss_sha256",
  "rsa_pss_pss_sha384",
  "rsa_pss_pss_sha512",
  "rsa_pkcs1_sha256",
  "rsa_pkcs1_sha384",
  "rsa_pkcs1_sha512"
].join(":")

/**
 * The settings of all handshakes. Made once, because parsing the authorities takes time. Throws if they are invalid.
 */
export const context = (ca: ReadonlyArray<string> | undefined): SecureContext =>
  tls.createSecureContext({
    ...(ca === undefined ? {} : { ca: [...ca] }),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    ciphers,
    ecdhCurve: groups,
    sigalgs: signatures,
    // One short response follows the handshake, so there is nothing to renegotiate.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION
  })

export const failure = (target: FetchTarget, address: string, error: Error): TlsFailed =>
  new TlsFailed({ clientId: target.clientId, address, code: codeOf(error), detail: printable(error.message) })

/**
 * Without a DNS name among the alternative names, Node.js falls back to the common name of the subject, which no longer
 * identifies a server (RFC 9525, section 2). So the common name is hidden from it.
 */
const checkServerIdentity: typeof tls.checkServerIdentity = (host, certificate) =>
  isIP(host) === 0
    ? tls.checkServerIdentity(host, { ...certificate, subject: { ...certificate.subject, CN: "" } })
    : checkAddress(host, certificate)

/** OpenSSL compares the addresses, because `tls.checkServerIdentity` of Node.js 22.23 refuses every IPv6 address. */
const checkAddress: typeof tls.checkServerIdentity = (address, { raw, subjectaltname }) =>
  new X509Certificate(raw).checkIP(address) === undefined
    ? Object.assign(new Error(`The certificate is not for ${address}, but for: ${subjectaltname ?? "no name"}`), {
      code: "ERR_TLS_CERT_ALTNAME_INVALID"
    })
    : undefined

/**
 * Node.js describes the certificate together with all of its issuers for `checkServerIdentity`, which reads none of them.
 * They take 0.6 ms, more than all the checks of a fetch.
 */
const withoutIssuers = (socket: TLSSocket): TLSSocket => {
  const describe = socket.getPeerCertificate.bind(socket)
  return Object.assign(socket, { getPeerCertificate: () => describe(false) })
}

const tlsOver = (target: FetchTarget, transport: Transport, secureContext: SecureContext): TLSSocket =>
  ignore(withoutIssuers(tls.connect({
    socket: transport,
    secureContext,
    host: target.host,
    // The extension must not hold an address (RFC 6066, section 3); the certificate is checked against `host`.
    servername: target.isAddress ? "" : target.host,
    ALPNProtocols: ["http/1.1"],
    checkServerIdentity,
    // Set explicitly, so that no environment variable turns it off.
    rejectUnauthorized: true
  })))
    .on("keylog", (line) => transport.keylog(line))
    .once("secureConnect", () => transport.establish())

export interface Limits {
  readonly secureContext: SecureContext
  /** Maximum bytes from the peer, those of TLS included (FET-17). */
  readonly maxReceivedBytes: number
  /** Receives what the connection has cost. */
  readonly usage: Usage
}

/**
 * Runs an effect with a TLS connection over a dialed one. The certificate must be for the host of the target (FET-01).
 */
export const withTls = <A, E>(
  target: FetchTarget,
  { address, socket }: Connection,
  { maxReceivedBytes, secureContext, usage }: Limits,
  use: (socket: TLSSocket) => Effect.Effect<A, E>
): Effect.Effect<A, E | TlsFailed> =>
  Effect.acquireUseRelease(
    Effect.clockWith((clock) =>
      Effect.sync(() => {
        const transport = new Transport(socket, maxReceivedBytes, clock, usage)
        return transport.timed(() => tlsOver(target, transport, secureContext))
      })
    ),
    (tlsSocket) =>
      Effect.matchEffect(whenConnected(tlsSocket, "secureConnect"), {
        onFailure: (error) => failure(target, address, error),
        onSuccess: () => use(tlsSocket)
      }),
    destroy
  )
