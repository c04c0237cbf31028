import * as Effect from "effect/Effect"
import { constants } from "node:crypto"
import type { Duplex } from "node:stream"
import type { SecureContext, TLSSocket } from "node:tls"
import * as tls from "node:tls"
import { TlsFailed } from "../../FetchError.js"
import { printable } from "../rules/text.js"
import type { Connection } from "./happyEyeballs.js"
import type { Target } from "./requestTarget.js"
import { codeOf, destroy, ignore, whenConnected } from "./sockets.js"

/** What all handshakes have in common; made once, since reading the authorities takes time. Throws if they are none. */
export const context = (ca: ReadonlyArray<string> | undefined): SecureContext =>
  tls.createSecureContext({
    ...(ca === undefined ? {} : { ca: [...ca] }),
    minVersion: "TLSv1.2",
    // After the handshake there is one short answer to wait for, and nothing to agree on anew.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION
  })

export const failure = (target: Target, address: string, error: Error): TlsFailed =>
  new TlsFailed({ clientId: target.clientId, address, code: codeOf(error), detail: printable(error.message) })

/**
 * Without a DNS name among the alternative names Node falls back to the subject's common name, which is no identity of a
 * server any more (RFC 9525, section 2). So it is not shown one.
 */
const checkServerIdentity: typeof tls.checkServerIdentity = (host, certificate) =>
  tls.checkServerIdentity(host, { ...certificate, subject: { ...certificate.subject, CN: "" } })

const tlsOver = (target: Target, socket: Duplex, secureContext: SecureContext): TLSSocket =>
  ignore(tls.connect({
    socket,
    secureContext,
    host: target.host,
    // An address has no place in the extension (RFC 6066, section 3); the certificate is checked against `host`.
    servername: target.isAddress ? "" : target.host,
    ALPNProtocols: ["http/1.1"],
    checkServerIdentity,
    // Said aloud, so that no environment variable turns it off.
    rejectUnauthorized: true
  }))

/** Uses a TLS connection over a dialed one, whose certificate is for the target's host (FET-01). */
export const use = <A, E>(
  target: Target,
  { address, socket }: Connection,
  secureContext: SecureContext,
  use: (secured: TLSSocket) => Effect.Effect<A, E>
): Effect.Effect<A, E | TlsFailed> =>
  Effect.acquireUseRelease(
    Effect.sync(() => tlsOver(target, socket, secureContext)),
    (secured) =>
      Effect.matchEffect(whenConnected(secured, "secureConnect"), {
        onFailure: (error) => failure(target, address, error),
        onSuccess: () => use(secured)
      }),
    destroy
  )
