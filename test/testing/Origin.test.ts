import { it } from "@effect/vitest"
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import { X509Certificate } from "node:crypto"
import { request } from "node:https"
import type { PeerCertificate } from "node:tls"
import * as tls from "node:tls"
import { describe, expect } from "vitest"

/** Sends a request with the HTTPS client of Node.js. */
const get = (origin: Origin.Origin["Type"], url: string, trusts = true) =>
  Effect.tryPromise(() =>
    new Promise<{ readonly status: number | undefined; readonly type: string | undefined; readonly body: string }>(
      (resolve, reject) => {
        const { host, hostname, pathname, search } = new URL(url)
        request({
          host: "127.0.0.1",
          port: origin.port,
          path: pathname + search,
          servername: hostname,
          headers: { host },
          ...(trusts ? { ca: origin.ca } : {})
        }, (response) => {
          let body = ""
          response.setEncoding("utf8").on("data", (text) => body += text).on("error", reject).on(
            "end",
            () => resolve({ status: response.statusCode, type: response.headers["content-type"], body })
          )
        }).on("error", reject).end()
      }
    )
  ).pipe(Effect.mapError((error) => error.error as NodeJS.ErrnoException))

describe("Origin", () => {
  it.scopedLive("serves a document over TLS to a client that trusts its authority, and records the request", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.document("https://app.example/client.json?a=b", { a: 1 })
      expect(yield* get(origin, "https://app.example/client.json?a=b")).toEqual({
        status: 200,
        type: "application/json",
        body: "{\"a\":1}"
      })
      expect(yield* origin.requests).toMatchObject([
        { method: "GET", target: "/client.json?a=b", serverName: "app.example" }
      ])
      expect((yield* get(origin, "https://other.example/client.json?a=b")).status).toBe(404)
      expect((yield* Effect.flip(get(origin, "https://app.example/", false))).code).toBe(
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
      )
    }))

  it.scopedLive("serves a path for every host, a URL with its port, and the latest of two answers", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.serve("/a", { status: 201 })
      yield* origin.serve("https://app.example:8443/a", { status: 202 })
      yield* origin.serve("https://app.example:443/a", { status: 203 })
      expect((yield* get(origin, "https://x.example/a")).status).toBe(201)
      expect((yield* get(origin, "https://app.example:8443/a")).status).toBe(202)
      expect((yield* get(origin, "https://app.example/a")).status).toBe(203)
      yield* origin.serve("/a", { status: 204 })
      expect((yield* get(origin, "https://x.example/a")).status).toBe(204)
    }))

  it.scopedLive("responds by a function of the request and the count", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.serve("/a", ({ headers }, count) => ({ body: `${count} ${headers.length > 0}` }))
      expect((yield* get(origin, "https://x.example/a")).body).toBe("1 true")
      expect((yield* get(origin, "https://x.example/a")).body).toBe("2 true")
    }))

  it.scopedLive("delays, drips, truncates and resets", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      yield* origin.serve("/drip", { body: "0123456789", delay: 50, drip: { bytes: 20, every: 10 } })
      const [took, { body }] = yield* Effect.timed(get(origin, "https://x.example/drip"))
      expect(body).toBe("0123456789")
      // Each timer may fire a millisecond early.
      expect(Number(took.value._tag === "Nanos" ? took.value.nanos : 0n) / 1e6).toBeGreaterThan(80)
      yield* origin.serve("/cut", { headers: { "content-length": "9" }, body: "x" })
      expect((yield* Effect.flip(get(origin, "https://x.example/cut"))).code).toBe("ECONNRESET")
      yield* origin.serve("/reset", { raw: "", end: "reset" })
      expect((yield* Effect.flip(get(origin, "https://x.example/reset"))).code).toBe("ECONNRESET")
    }))

  for (
    const [handshake, code] of [
      ["wrong-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
      ["self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"],
      ["expired", "CERT_HAS_EXPIRED"],
      ["not-yet-valid", "CERT_NOT_YET_VALID"],
      ["reset", "ECONNRESET"]
    ] as const
  ) {
    it.scopedLive(`has handshakes of the kind ${handshake}`, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.make
        yield* origin.handshake("app.example", handshake)
        expect((yield* Effect.flip(get(origin, "https://app.example/"))).code).toBe(code)
        yield* origin.handshake("app.example", "trusted")
        expect((yield* get(origin, "https://app.example/")).status).toBe(404)
      }))
  }

  it.scopedLive("presents a certificate for addresses when the handshake has no name", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      const certificate = yield* Effect.async<PeerCertificate>((resume) => {
        const socket = tls.connect({ host: "127.0.0.1", port: origin.port, ca: origin.ca, servername: "" }, () => {
          resume(Effect.succeed(socket.getPeerCertificate()))
          socket.destroy()
        })
      })
      for (const address of ["127.0.0.1", "0:0:0:0:0:0:0:1", ...Origin.publicAddresses]) {
        expect(certificate.subjectaltname?.toLowerCase()).toContain(address)
      }
    }))

  it.scopedLive("counts connections, and closes them with its scope", () =>
    Effect.gen(function*() {
      const connections = yield* Effect.scoped(Effect.gen(function*() {
        const origin = yield* Origin.make
        const socket = tls.connect({ host: "127.0.0.1", port: origin.port, ca: origin.ca, servername: "a.example" })
        socket.on("error", () => {})
        yield* Effect.sleep(100)
        expect(yield* origin.connections).toEqual({ open: 1, total: 1 })
        return origin.connections
      }))
      yield* Effect.sleep(20)
      expect(yield* connections).toEqual({ open: 0, total: 1 })
    }))

  it.scopedLive("its authority issues a certificate for the name in the handshake", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.make
      const leaf = yield* Effect.async<Buffer>((resume) => {
        const socket = tls.connect(
          { host: "127.0.0.1", port: origin.port, ca: origin.ca, servername: "app.example" },
          () => {
            resume(Effect.succeed(socket.getPeerCertificate().raw))
            socket.destroy()
          }
        )
      })
      expect(new X509Certificate(leaf).checkIssued(new X509Certificate(origin.ca))).toBe(true)
      expect(new X509Certificate(leaf).checkHost("app.example")).toBe("app.example")
    }))
})
