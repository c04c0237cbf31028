import type * as Clock from "effect/Clock"
import { Duplex } from "node:stream"
import * as CertificateReader from "./certificateReader.js"
import { ignore } from "./sockets.js"

/** What a connection has cost this node. The fields grow while it is open. */
export interface Usage {
  /** Bytes that the peer sent, those of TLS included. */
  receivedBytes: number
  /** Time that the handshake occupied the thread, without the waits for the peer. */
  handshakeMillis: number
}

export const noUsage = (): Usage => ({ receivedBytes: 0, handshakeMillis: 0 })

/**
 * Maximum bytes that a peer sends before the handshake is complete. Handshakes with public servers take 3 to 6 KB, and
 * up to 20 KB with hundreds of names; a request for a client certificate may add a long list of authorities.
 */
const maxHandshakeBytes = 32_768

/** The peer sent more bytes in all than a response of permitted size can need. */
export class TooManyBytes extends Error {
  constructor(readonly limit: number) {
    super(`The peer sent more than ${limit} bytes`)
  }
}

/** The peer sent a handshake that would cost too much. */
class HandshakeRefused extends Error {
  constructor(readonly code: "HANDSHAKE_TOO_LARGE" | "CERTIFICATES_REFUSED", message: string) {
    super(message)
  }
}

/**
 * The stream between a dialed socket and TLS, which counts the bytes from the peer and stops at a limit.
 *
 * It exists because `node:tls` reads a socket of `node:net` natively: certificates, session tickets and key updates cause
 * no event then, so nothing could count them in time. A stream of JavaScript passes each chunk through here first.
 */
export class Transport extends Duplex {
  private readonly certificates = CertificateReader.make()
  private established = false

  constructor(
    private readonly socket: Duplex,
    private readonly maxBytes: number,
    private readonly clock: Clock.Clock,
    readonly usage: Usage
  ) {
    super({ allowHalfOpen: false })
    ignore(this)
    socket.on("data", this.onData).on("end", this.onEnd).on("error", this.onError).on("close", this.onClose)
  }

  /** Takes a line of the event `keylog` of the TLS socket above. */
  keylog(line: Buffer): void {
    this.certificates.keylog(line)
  }

  /** Ends the limits of the handshake. */
  establish(): void {
    this.established = true
  }

  /** Runs a step of the handshake and adds its time. */
  timed<A>(step: () => A): A {
    const start = this.clock.unsafeCurrentTimeNanos()
    const result = step()
    this.usage.handshakeMillis += Number(this.clock.unsafeCurrentTimeNanos() - start) / 1e6
    return result
  }

  private readonly onData = (chunk: Buffer): void => {
    this.usage.receivedBytes += chunk.length
    if (this.usage.receivedBytes > this.maxBytes) {
      this.destroy(new TooManyBytes(this.maxBytes))
    } else if (this.established) {
      this.pass(chunk)
    } else if (this.usage.receivedBytes > maxHandshakeBytes) {
      this.destroy(
        new HandshakeRefused(
          "HANDSHAKE_TOO_LARGE",
          `The peer sent more than ${maxHandshakeBytes} bytes in its handshake`
        )
      )
    } else {
      this.timed(() => this.shakeHands(chunk))
    }
  }

  private shakeHands(chunk: Buffer): void {
    if (this.certificates.isDone()) return this.pass(chunk)
    this.certificates.push(chunk)
    while (!this.destroyed) {
      const step = this.certificates.next()
      if (step._tag === "Refuse") {
        this.destroy(new HandshakeRefused("CERTIFICATES_REFUSED", step.reason))
      } else if (step.bytes === undefined) {
        return
      } else {
        // TLS receives the record before `push` returns, because nothing is buffered, and reports its secret.
        this.pass(step.bytes)
      }
    }
  }

  private pass(bytes: Buffer): void {
    if (!this.push(bytes)) this.socket.pause()
  }

  private readonly onEnd = (): void => {
    this.push(null)
  }

  private readonly onError = (error: Error): void => {
    this.destroy(error)
  }

  private readonly onClose = (): void => {
    this.destroy()
  }

  override _read(): void {
    this.socket.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, encoding, done)
  }

  override _final(done: () => void): void {
    this.socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { socket } = this
    socket.off("data", this.onData).off("end", this.onEnd).off("error", this.onError).off("close", this.onClose)
    ignore(socket).destroy()
    done(error)
  }
}
