import * as Effect from "effect/Effect"
import { constants, X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import type { Duplex } from "node:stream"
import type { SecureContext, TLSSocket } from "node:tls"
import * as tls from "node:tls"
import { TlsFailed } from "../../FetchError.js"
import { printable } from "../rules/text.js"
import type { FetchTarget } from "./fetchTarget.js"
import type { Connection } from "./happyEyeballs.js"
import { codeOf, destroy, ignore, whenConnected } from "./sockets.js"

/**
 * The settings of all handshakes. Made once, because parsing the authorities takes time. Throws if they are invalid.
 */
export const context = (ca: ReadonlyArray<string> | undefined): SecureContext =>
  tls.createSecureContext({
    ...(ca === undefined ? {} : { ca: [...ca] }),
    minVersion: "TLSv1.2",
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

const tlsOver = (target: FetchTarget, socket: Duplex, secureContext: SecureContext): TLSSocket =>
  ignore(tls.connect({
    socket,
    secureContext,
    host: target.host,
    // The extension must not hold an address (RFC 6066, section 3); the certificate is checked against `host`.
    servername: target.isAddress ? "" : target.host,
    ALPNProtocols: ["http/1.1"],
    checkServerIdentity,
    // Set explicitly, so that no environment variable turns it off.
    rejectUnauthorized: true
  }))

/**
 * Runs an effect with a TLS connection over a dialed one. The certificate must be for the host of the target (FET-01).
 */
export const withTls = <A, E>(
  target: FetchTarget,
  { address, socket }: Connection,
  secureContext: SecureContext,
  use: (socket: TLSSocket) => Effect.Effect<A, E>
): Effect.Effect<A, E | TlsFailed> =>
  Effect.acquireUseRelease(
    Effect.sync(() => tlsOver(target, socket, secureContext)),
    (tlsSocket) =>
      Effect.matchEffect(whenConnected(tlsSocket, "secureConnect"), {
        onFailure: (error) => failure(target, address, error),
        onSuccess: () => use(tlsSocket)
      }),
    destroy
  )
