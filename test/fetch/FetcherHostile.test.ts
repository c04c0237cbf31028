import { it } from "@effect/vitest"
import { Fetcher, HostPolicy } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type { Socket } from "node:net"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { describe, expect } from "vitest"
import * as Certificate from "../../src/testing/internal/certificate.js"
import { clientId } from "../support/clientId.js"
import { listening } from "../support/listening.js"
import { world } from "../support/world.js"

const url = "https://app.example/client.json"
const json = "{\"client_id\":\"https://app.example/client.json\"}"
const timeout = 1000
/** How much longer than its timeout a fetch may take, because origin and fetcher run in one process. */
const slack = 300

const head = (...lines: ReadonlyArray<string>) => ["HTTP/1.1 200 OK", ...lines, "", ""].join("\r\n")
const jsonType = "Content-Type: application/json"
const jsonLength = `Content-Length: ${json.length}`

/** A head of exactly this number of bytes, for the document. */
const headOf = (bytes: number) =>
  head(jsonType, jsonLength, `x: ${"y".repeat(bytes - head(jsonType, jsonLength, "x: ").length)}`)

interface Case {
  readonly name: string
  readonly answer?: Origin.Answer
  readonly handshake?: Origin.Handshake
  readonly options?: Fetcher.Options
  /** The error, or the body. */
  readonly expected: { readonly _tag: string } & Record<string, unknown> | string
}

const failures: ReadonlyArray<Case> = [
  ...[301, 302, 303, 307, 308].map((status): Case => ({
    name: `FET-04: status ${status} to a loopback address is not followed`,
    answer: { status, headers: { location: "https://127.0.0.1/client.json" } },
    expected: { _tag: "UnexpectedRedirect", status, location: "https://127.0.0.1/client.json" }
  })),
  {
    name: "FET-04: a redirect to a metadata address is not followed",
    answer: { status: 302, headers: { location: "http://169.254.169.254/latest/meta-data/" } },
    expected: { _tag: "UnexpectedRedirect", status: 302, location: "http://169.254.169.254/latest/meta-data/" }
  },
  ...["http://[fd00:ec2::254]/", "http://100.100.100.200/", "//localhost/", "/client.json", "file:///etc/passwd"].map(
    (location): Case => ({
      name: `FET-04: a redirect to ${location} is not followed`,
      answer: { status: 307, headers: { location } },
      expected: { _tag: "UnexpectedRedirect", status: 307, location }
    })
  ),
  {
    name: "FET-04: neither of two locations is followed",
    answer: { status: 302, headers: { location: ["https://127.0.0.1/", "https://other.example/"] } },
    expected: { _tag: "UnexpectedRedirect", status: 302, location: "https://127.0.0.1/" }
  },
  {
    name: "FET-04: a redirect to the same URL is not followed",
    answer: { status: 308, headers: { location: url } },
    expected: { _tag: "UnexpectedRedirect", status: 308, location: url }
  },
  {
    name: "FET-04: a redirect without a location is an error too",
    answer: { status: 302 },
    expected: { _tag: "UnexpectedRedirect", status: 302 }
  },
  {
    name: "FET-12: a location with a control character is a malformed header line",
    answer: { raw: "HTTP/1.1 302 \r\nLocation: /\x1f\r\n\r\n" },
    expected: { _tag: "ResponseMalformed" }
  },
  {
    name: "FET-12: a location is escaped and shortened in the error",
    answer: { raw: Buffer.from(`HTTP/1.1 302 \r\nLocation: /\x85${"a".repeat(200)}\r\n\r\n`, "latin1") },
    expected: { _tag: "UnexpectedRedirect", status: 302, location: `/\\u0085${"a".repeat(78)}…` }
  },
  {
    name: "FET-03: 101 Switching Protocols",
    answer: { raw: "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", end: "hang" },
    expected: { _tag: "UnexpectedStatus", status: 101 }
  },
  {
    name: "FET-03: 101 after 100 and 103",
    answer: {
      raw: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\n\r\nHTTP/1.1 101 \r\nUpgrade: h2c\r\n\r\n",
      end: "hang"
    },
    expected: { _tag: "UnexpectedStatus", status: 101 }
  },
  {
    name: "FET-03: 404 after 103",
    answer: { raw: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 \r\n\r\n", end: "hang" },
    expected: { _tag: "UnexpectedStatus", status: 404 }
  },
  {
    name: "FET-03: the error of a bot wall names it",
    answer: {
      status: 403,
      headers: { "content-type": "text/html", "cf-mitigated": "challenge", server: "cloudflare" }
    },
    expected: {
      _tag: "UnexpectedStatus",
      status: 403,
      contentType: "text/html",
      cfMitigated: "challenge",
      server: "cloudflare",
      message: `A bot wall of cloudflare answered for ${url} with status 403 (cf-mitigated: challenge). ` +
        "The owner of the host has to let this server through to the document."
    }
  },
  {
    name: "FET-03: the error of a wrong path says what answered",
    answer: { status: 404, headers: { "content-type": "text/html", server: "nginx" } },
    expected: {
      _tag: "UnexpectedStatus",
      status: 404,
      message: `The status of ${url} is 404, with the content type text/html, from the server nginx; ` +
        "a metadata document must have status 200."
    }
  },
  {
    name: "FET-05: the error of a bot wall with status 200 names it",
    answer: { headers: { "content-type": "text/html", "cf-mitigated": "challenge" }, body: "<p>" },
    expected: {
      _tag: "UnsupportedContentType",
      status: 200,
      cfMitigated: "challenge",
      message: `A bot wall answered for ${url} with status 200 (cf-mitigated: challenge). ` +
        "The owner of the host has to let this server through to the document."
    }
  },
  {
    name: "FET-05: the error of a page says what answered",
    answer: { headers: { "content-type": "text/html", server: "Apache" }, body: "<p>" },
    expected: {
      _tag: "UnsupportedContentType",
      status: 200,
      server: "Apache",
      message: `${url} has the content type text/html, from the server Apache; ` +
        "it must be application/json or application/<name>+json."
    }
  },
  {
    name: "FET-12: what a response says of itself is escaped and bounded in the error",
    answer: {
      raw: Buffer.from(
        `HTTP/1.1 403 \r\nServer: ${"\x85".repeat(500)}\r\nCF-Mitigated: ${"a".repeat(500)}\r\n` +
          `Content-Type: ${"b".repeat(500)}\r\n\r\n`,
        "latin1"
      )
    },
    expected: {
      _tag: "UnexpectedStatus",
      server: `${"\\u0085".repeat(17).slice(0, 99)}…`,
      cfMitigated: `${"a".repeat(80)}…`,
      contentType: `${"b".repeat(80)}…`
    }
  },
  {
    name: "FET-03: an interim response alone",
    answer: { raw: "HTTP/1.1 100 Continue\r\n\r\n" },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-03: the content type of an interim response does not count",
    answer: { raw: `HTTP/1.1 103 Early Hints\r\n${jsonType}\r\n\r\n${head("Content-Type: text/html")}${json}` },
    expected: { _tag: "UnsupportedContentType", contentType: "text/html" }
  },
  {
    name: "FET-07: a flood of interim responses without header lines",
    answer: { raw: "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "fields", limit: 100 }
  },
  {
    name: "FET-07: a flood of interim responses with long header lines",
    answer: { raw: `HTTP/1.1 103 Early Hints\r\nLink: <${"x".repeat(1000)}>\r\n\r\n`.repeat(30), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-03: a status beyond 599",
    answer: { raw: "HTTP/1.1 999 \r\n\r\n", end: "hang" },
    expected: { _tag: "UnexpectedStatus", status: 999 }
  },
  {
    name: "FET-03: an unrequested part of the document (206)",
    answer: { status: 206, headers: { "content-range": "bytes 0-3/9" }, body: json },
    expected: { _tag: "UnexpectedStatus", status: 206 }
  },
  ...[
    "",
    "text/html",
    "text/json",
    "application/javascript",
    "application/jsonx",
    "application/+json",
    "json",
    "application/json, text/html",
    "application/json; charset=utf-8, text/html",
    "application/json, application/json",
    "application/json; charset=",
    "application/json; charset =utf-8",
    "application/json; charset: utf-8",
    "application/json; =utf-8",
    "text/html; a=application/json",
    "text/json; charset=utf-8",
    "application/json; charset",
    "application/json charset=utf-8",
    "application/json; charset=\"utf-8",
    "applicationx/json",
    "*/*",
    "application/json/"
  ].map((type): Case => ({
    name: `FET-05: the content type "${type}" is an error`,
    answer: { headers: { "content-type": type }, body: json },
    expected: { _tag: "UnsupportedContentType", contentType: type.replace(/"/g, "\\\"") }
  })),
  {
    name: "FET-05: no content type is an error",
    answer: { headers: { "content-type": [] }, body: json },
    expected: { _tag: "UnsupportedContentType" }
  },
  {
    name: "FET-05: two content types are an error",
    answer: { headers: { "content-type": ["application/json", "text/html"] }, body: json },
    expected: { _tag: "UnsupportedContentType", contentType: "application/json, text/html" }
  },
  ...[
    ["gzip", gzipSync(json)],
    ["x-gzip", gzipSync(json)],
    ["GZIP", gzipSync(json)],
    ["br", brotliCompressSync(json)],
    ["deflate", deflateSync(json)],
    ["zstd", json],
    ["gzip", json],
    ["identityx", json]
  ].map(([contentEncoding = "", body]): Case => ({
    name: `FET-06: the content encoding ${contentEncoding} fails, ${
      typeof body === "string" ? "also if the body is plain" : "with such a body"
    }`,
    answer: { headers: { "content-encoding": String(contentEncoding) }, ...(body === undefined ? {} : { body }) },
    expected: { _tag: "UnsupportedContentEncoding", contentEncoding }
  })),
  {
    name: "FET-06: gzip fails whatever the Accept header is, because Accept-Encoding is not an option",
    answer: { headers: { "content-encoding": "gzip" }, body: gzipSync(json) },
    options: { accept: "application/json, */*;q=0.1" },
    expected: { _tag: "UnsupportedContentEncoding", contentEncoding: "gzip" }
  },
  {
    name: "FET-06: brotli behind identity is an error",
    answer: { headers: { "content-encoding": ["identity", "br"] }, body: brotliCompressSync(json) },
    expected: { _tag: "UnsupportedContentEncoding", contentEncoding: "identity, br" }
  },
  {
    name: "FET-06: a compression bomb is not decompressed",
    answer: { headers: { "content-encoding": "gzip" }, body: gzipSync(Buffer.alloc(5_000_000)) },
    expected: { _tag: "UnsupportedContentEncoding" }
  },
  {
    name: "FET-06: a compressed transfer coding is an error",
    answer: { raw: `${head(jsonType, "Transfer-Encoding: gzip, chunked")}` },
    expected: { _tag: "ResponseMalformed" }
  },
  {
    name: "FET-07: a Content-Length above the limit fails before the body is read",
    answer: { raw: head(jsonType, "Content-Length: 5121"), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: a Content-Length beyond all safe integers fails",
    answer: { raw: head(jsonType, `Content-Length: ${"9".repeat(400)}`), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: a body without length fails at the limit",
    answer: { raw: head(jsonType) + "x".repeat(5121), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: a chunk above the limit fails at its size",
    answer: { raw: head(jsonType, "Transfer-Encoding: chunked") + "1401\r\n", end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: chunks that add up to more than the limit are an error",
    answer: {
      raw: head(jsonType, "Transfer-Encoding: chunked") + `400\r\n${"x".repeat(1024)}\r\n`.repeat(6),
      end: "hang"
    },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: a chunk one byte above the limit fails at its size",
    answer: {
      raw: head(jsonType, "Transfer-Encoding: chunked") + `1400\r\n${"x".repeat(5120)}\r\n1\r\n`,
      end: "hang"
    },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: an endless body without length fails at the limit",
    answer: { raw: head(jsonType) + "x".repeat(500_000), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "body", limit: 5120 }
  },
  {
    name: "FET-07: one byte of headers above the limit",
    answer: { raw: headOf(16_385), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-07: a flood of header bytes in few lines",
    answer: { raw: head(jsonType, ...Array.from({ length: 20 }, () => `x: ${"y".repeat(1000)}`)), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-07: a flood of trailer bytes",
    answer: {
      raw: `${head(jsonType, "Transfer-Encoding: chunked")}0\r\n${`x: ${"y".repeat(1000)}\r\n`.repeat(20)}`,
      end: "hang"
    },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  ...([
    [{ maxBodyBytes: json.length - 1 }, "body", json.length - 1],
    [{ maxHeaderCount: 2 }, "fields", 2],
    [{ maxHeaderBytes: 80 }, "headers", 80]
  ] as const).map(([options, part, limit]): Case => ({
    name: `FET-07: the limits are options: the response exceeds ${JSON.stringify(options)}`,
    answer: { body: json },
    options,
    expected: { _tag: "ResponseTooLarge", part, limit }
  })),
  {
    name: "FET-07: a flood of header lines",
    answer: { raw: head(jsonType, ...Array.from({ length: 100 }, (_, index) => `x${index}: y`)), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "fields", limit: 100 }
  },
  {
    name: "FET-07: one huge header line",
    answer: { raw: head(jsonType, `x: ${"y".repeat(20_000)}`), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-07: a header line that never ends",
    answer: { raw: `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`, end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-07: a status line that never ends",
    answer: { raw: `HTTP/1.1 200 ${"y".repeat(100_000)}`, end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "headers", limit: 16_384 }
  },
  {
    name: "FET-07: a flood of trailers",
    answer: { raw: head(jsonType, "Transfer-Encoding: chunked") + "0\r\n" + "x: y\r\n".repeat(200), end: "hang" },
    expected: { _tag: "ResponseTooLarge", part: "fields", limit: 100 }
  },
  {
    name: "FET-07: a chunk extension that never ends",
    answer: { raw: head(jsonType, "Transfer-Encoding: chunked") + `1;${"x".repeat(100_000)}`, end: "hang" },
    expected: { _tag: "ResponseMalformed" }
  },
  {
    name: "FET-08: a TLS handshake that hangs",
    handshake: "hang",
    expected: { _tag: "FetchTimeout", phase: "tls", millis: timeout }
  },
  {
    name: "FET-08: no response at all",
    answer: { raw: "", end: "hang" },
    expected: { _tag: "FetchTimeout", phase: "headers", millis: timeout }
  },
  {
    name: "FET-08: a drip of header bytes",
    answer: {
      raw: head(jsonType, ...Array.from({ length: 90 }, (_, index) => `x${index}: y`)),
      drip: { bytes: 1, every: 20 }
    },
    expected: { _tag: "FetchTimeout", phase: "headers" }
  },
  {
    name: "FET-08: whole header lines, one at a time (slow loris)",
    answer: {
      raw: head(jsonType, ...Array.from({ length: 90 }, () => "x: yyy")),
      drip: { bytes: 8, every: 30 }
    },
    expected: { _tag: "FetchTimeout", phase: "headers" }
  },
  {
    name: "FET-08: a body that never starts",
    answer: { raw: head(jsonType, "Content-Length: 5000"), end: "hang" },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-08: a drip of body bytes",
    answer: { raw: head(jsonType, "Content-Length: 5000") + "x".repeat(5000), drip: { bytes: 100, every: 50 } },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-08: a drip of trailers",
    answer: {
      raw: `${head(jsonType, "Transfer-Encoding: chunked")}0\r\n${"x: yyy\r\n".repeat(90)}\r\n`,
      drip: { bytes: 10, every: 30 }
    },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-08: a drip of body bytes without length",
    answer: { raw: head(jsonType) + "x".repeat(5000), drip: { bytes: 100, every: 50 } },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-08: an endless body without length",
    answer: { raw: head(jsonType) + json, end: "hang" },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-08: endless chunks",
    answer: {
      raw: head(jsonType, "Transfer-Encoding: chunked") + "1\r\nx\r\n".repeat(1000),
      drip: { bytes: 60, every: 30 }
    },
    expected: { _tag: "FetchTimeout", phase: "body" }
  },
  {
    name: "FET-09: a body shorter than its Content-Length",
    answer: { headers: { "content-length": `${json.length + 1}` }, body: json },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: an end in the middle of the chunks",
    answer: { raw: head(jsonType, "Transfer-Encoding: chunked") + `${json.length.toString(16)}\r\n${json}\r\n` },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: an end in the middle of the headers",
    answer: { raw: `HTTP/1.1 200 OK\r\n${jsonType}\r\n` },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-09: an end before the first byte",
    answer: { raw: "" },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-09: a reset before the first byte",
    answer: { raw: "", end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-09: a reset in the middle of the status line",
    answer: { raw: "HTTP/1.1 20", end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-09: a reset in the middle of the headers",
    answer: { raw: `HTTP/1.1 200 OK\r\n${jsonType}\r\nContent-Le`, end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-09: a reset between the headers and the body",
    answer: { raw: head(jsonType, "Content-Length: 9"), end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: a reset in the middle of a body with a length",
    answer: { raw: head(jsonType, `Content-Length: ${json.length}`) + json.slice(0, 9), end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: a reset in the middle of a chunk",
    answer: { raw: `${head(jsonType, "Transfer-Encoding: chunked")}9\r\n{`, end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: a reset in the middle of the trailers",
    answer: { raw: `${head(jsonType, "Transfer-Encoding: chunked")}2\r\n{}\r\n0\r\nx: y`, end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: a Content-Length, and no byte of the body",
    answer: { raw: head(jsonType, "Content-Length: 5120") },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: an end in the middle of the trailers",
    answer: { raw: `${head(jsonType, "Transfer-Encoding: chunked")}2\r\n{}\r\n0\r\n` },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-09: a reset in the middle of a body without length, which looks like its end",
    answer: { raw: head(jsonType) + json, end: "reset" },
    expected: { _tag: "ResponseTruncated", part: "body" }
  },
  {
    name: "FET-12: a reset in the handshake",
    handshake: "reset",
    expected: { _tag: "TlsFailed", code: "ECONNRESET" }
  },
  {
    name: "FET-01: a certificate for another name",
    handshake: "wrong-name",
    expected: { _tag: "TlsFailed", code: "ERR_TLS_CERT_ALTNAME_INVALID" }
  },
  {
    name: "FET-01: a self-signed certificate",
    handshake: "self-signed",
    expected: { _tag: "TlsFailed", code: "DEPTH_ZERO_SELF_SIGNED_CERT" }
  },
  {
    name: "FET-01: an expired certificate",
    handshake: "expired",
    expected: { _tag: "TlsFailed", code: "CERT_HAS_EXPIRED" }
  },
  {
    name: "FET-01: a certificate that is not yet valid",
    handshake: "not-yet-valid",
    expected: { _tag: "TlsFailed", code: "CERT_NOT_YET_VALID" }
  },
  ...[
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["another protocol that waits for us", "220 mail"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n"],
    ["HTTP/0.9", json],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status that begins with 0", "HTTP/1.1 099 OK\r\n\r\n"],
    ["an empty line before the status line", `\r\n${head(jsonType)}`],
    ["bare line feeds", `HTTP/1.1 200 OK\n${jsonType}\n\n${json}`],
    ["a folded header line", head("Content-Type:", " application/json")],
    ["space before a colon", head("Content-Type : application/json")],
    ["a header line without a colon", head("Content-Type")],
    ["a header line without a name", head(": application/json")],
    ["a NUL in a header", head(jsonType, "x: a\0b")],
    ["a carriage return in a header", head(jsonType, "x: a\rb")],
    ["two lengths", head(jsonType, "Content-Length: 1", "Content-Length: 2")],
    ["two equal lengths", head(jsonType, "Content-Length: 1", "Content-Length: 1")],
    ["a list of lengths", head(jsonType, "Content-Length: 1, 1")],
    ["a negative length", head(jsonType, "Content-Length: -1")],
    ["a length with a sign", head(jsonType, "Content-Length: +1")],
    ["an empty length", head(jsonType, "Content-Length:")],
    ["a length beside chunks", head(jsonType, "Content-Length: 1", "Transfer-Encoding: chunked")],
    ["chunks of chunks", head(jsonType, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")],
    ["chunks in HTTP/1.0", head(jsonType, "Transfer-Encoding: chunked").replace("1.1", "1.0")],
    ["no chunk size", head(jsonType, "Transfer-Encoding: chunked") + "\r\n"],
    ["a chunk size with a sign", head(jsonType, "Transfer-Encoding: chunked") + "-1\r\n"],
    ["a chunk size with a prefix", head(jsonType, "Transfer-Encoding: chunked") + "0x1\r\n"],
    ["a chunk that is longer than its size", head(jsonType, "Transfer-Encoding: chunked") + "1\r\nxx\r\n0\r\n\r\n"]
  ].map(([name = "", raw = ""]): Case => ({
    name: `FET-12: ${name} is malformed`,
    answer: { raw, end: "hang" },
    expected: { _tag: "ResponseMalformed" }
  }))
]

const successes: ReadonlyArray<Case> = [
  ...[
    "application/json",
    "Application/JSON",
    "application/json;charset=utf-8",
    "application/json; Charset=\"UTF-8\"",
    "application/json;charset=utf8",
    "application/json; charset=iso-8859-1",
    "application/json; charset=utf-16",
    "application/json; charset=\"\"",
    "application/json; charset=utf-8; charset=latin1",
    "application/json; charset=\"utf-8, text/html\"",
    "application/ld+json; profile=\"https://app.example/p\"; charset=x",
    "application/json;",
    "application/json ; a=b;c=\"d;\\\"\"",
    "application/ld+json",
    "application/x.y-z+json"
  ].map((type): Case => ({
    name: `FET-05: the content type "${type}" is accepted`,
    answer: { headers: { "content-type": type }, body: json },
    expected: json
  })),
  {
    name: "FET-06: the content encoding identity is accepted",
    answer: { headers: { "content-encoding": "Identity" }, body: json },
    expected: json
  },
  {
    name: "FET-06: a compressed body without a content encoding is not decompressed",
    answer: { body: gzipSync(json) },
    expected: gzipSync(json).toString()
  },
  { name: "FET-07: headers at the limit are accepted", answer: { raw: headOf(16_384) + json }, expected: json },
  {
    name: "FET-07: header lines at the limit are accepted",
    answer: { raw: head(jsonType, jsonLength, ...Array.from({ length: 98 }, () => "x: y")) + json },
    expected: json
  },
  { name: "FET-07: a body at the limit is accepted", answer: { body: "x".repeat(5120) }, expected: "x".repeat(5120) },
  {
    name: "FET-07: a body at the limit in chunks of one byte is accepted",
    answer: { raw: `${head(jsonType, "Transfer-Encoding: chunked")}${"1\r\nx\r\n".repeat(5120)}0\r\n\r\n` },
    expected: "x".repeat(5120)
  },
  {
    name: "FET-07: a body at the limit without length is accepted",
    answer: { raw: head(jsonType) + "x".repeat(5120) },
    expected: "x".repeat(5120)
  },
  {
    name: "FET-07: the limits are options",
    answer: { headers: { x: ["a", "b"] }, body: "x".repeat(6000) },
    options: { maxBodyBytes: 6000, maxHeaderCount: 5, maxHeaderBytes: 150 },
    expected: "x".repeat(6000)
  },
  {
    name: "FET-09: bytes beyond the Content-Length are not part of the body",
    answer: { headers: { "content-length": `${json.length}` }, body: `${json}, and more` },
    expected: json
  },
  {
    name: "FET-09: a second response behind the first is not read",
    answer: { raw: `${head(jsonType, `Content-Length: ${json.length}`)}${json}HTTP/1.1 302 \r\nLocation: /\r\n\r\n` },
    expected: json
  },
  {
    name: "FET-09: a second response behind the last chunk is not read",
    answer: {
      raw: `${head(jsonType, "Transfer-Encoding: chunked")}2\r\n{}\r\n0\r\n\r\n${head(jsonType, "Content-Length: 1")}x`
    },
    expected: "{}"
  },
  {
    name: "FET-09: an origin that does not close the connection delays no fetch",
    answer: { body: json, end: "hang" },
    expected: json
  },
  {
    name: "FET-09: chunks with extensions and trailers",
    answer: {
      raw: head(jsonType, "Transfer-Encoding: Chunked") +
        `5;a=b\r\n${json.slice(0, 5)}\r\n${(json.length - 5).toString(16)};c="d"\r\n${json.slice(5)}\r\n` +
        "00;e\r\nContent-Type: text/html\r\n\r\n"
    },
    expected: json
  },
  {
    name: "FET-09: HTTP/1.0 with a body that ends with the connection",
    answer: { raw: `HTTP/1.0 200 OK\r\n${jsonType}\r\n\r\n${json}` },
    expected: json
  },
  {
    name: "FET-09: HTTP/1.0 with a length, on a connection that stays open",
    answer: {
      raw: `HTTP/1.0 200 OK\r\n${jsonType}\r\n${jsonLength}\r\nConnection: keep-alive\r\n\r\n${json}`,
      end: "hang"
    },
    expected: json
  },
  {
    name: "FET-09: a length that begins with zeros",
    answer: { raw: `${head(jsonType, `Content-Length: 000${json.length}`)}${json}` },
    expected: json
  },
  {
    name: "FET-09: a status line without a reason",
    answer: { raw: `HTTP/1.1 200\r\n${jsonType}\r\n\r\n${json}` },
    expected: json
  },
  ...[
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 100\r\n\r\n",
    "HTTP/1.1 102 Processing\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Type: text/html\r\nContent-Encoding: br\r\n\r\n",
    "HTTP/1.1 199 \r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(20)
  ].map((interim): Case => ({
    name: `FET-03: the document after ${JSON.stringify(interim.slice(0, 60))}`,
    answer: { raw: `${interim}${head(jsonType)}${json}` },
    expected: json
  })),
  { name: "FET-08: a drip that ends in time", answer: { body: json, drip: { bytes: 10, every: 5 } }, expected: json },
  { name: "FET-08: a delay that ends in time", answer: { body: json, delay: 50 }, expected: json },
  { name: "FET-07: an empty body is left to the validator", answer: { body: "" }, expected: "" }
]

const isGone = (status: unknown) => status === 404 || status === 410

const expectExit = (exit: Exit.Exit<Fetcher.Response, Fetcher.FetchError>, expected: Case["expected"]) => {
  if (typeof expected === "string") {
    expect(Exit.map(exit, ({ body }) => Buffer.from(body).toString())).toEqual(Exit.succeed(expected))
  } else {
    expect(Exit.isFailure(exit) && exit.cause).toMatchObject({
      _tag: "Fail",
      error: {
        clientId: url,
        ...expected,
        oauthError: {
          error: "status" in expected && isGone(expected.status) ? "invalid_client" : "temporarily_unavailable"
        }
      }
    })
  }
}

describe("Hostile origin", () => {
  for (const { answer, expected, handshake, name, options } of [...failures, ...successes]) {
    it.live(name, () =>
      Effect.gen(function*() {
        const origin = yield* Origin.Origin
        const fetcher = yield* Fetcher.Fetcher
        yield* origin.serve(url, answer ?? {})
        yield* origin.handshake("app.example", handshake ?? "trusted")
        const [took, exit] = yield* Effect.timed(Effect.exit(fetcher.fetch(clientId(url))))
        expectExit(exit, expected)
        expect(Duration.toMillis(took)).toBeLessThan(timeout + slack)
        for (const { headers } of yield* origin.requests) {
          expect(headers).toContainEqual(["Accept-Encoding", "identity"])
        }
        expect(
          yield* Effect.repeat(Effect.delay(origin.connections, 5), {
            until: ({ open }) => open === 0,
            times: 100
          })
        ).toEqual({ open: 0, total: 1 })
      }).pipe(Effect.provide(world({ timeout, ...options }))))
  }

  it.live("FET-03: every status but 200 is an error with its number", () =>
    Effect.gen(function*() {
      const origin = yield* Origin.Origin
      const fetcher = yield* Fetcher.Fetcher
      for (let status = 100; status <= 599; status++) {
        const url = `https://app.example/${status}`
        yield* origin.serve(url, { status, body: json })
        const exit = yield* Effect.either(fetcher.fetch(clientId(url)))
        if (status === 200) {
          expect(exit).toMatchObject({ _tag: "Right" })
        } else {
          const redirect = status >= 300 && status < 400 && status !== 304
          // The body is where the final response must begin.
          const interim = status < 200 && status !== 101
          expect(exit).toMatchObject({
            left: interim
              ? { _tag: "ResponseMalformed" }
              : { _tag: redirect ? "UnexpectedRedirect" : "UnexpectedStatus", status }
          })
        }
      }
      expect((yield* origin.requests).length).toBe(500)
    }).pipe(Effect.provide(world())))
})

const authority = Certificate.authority(Date.now())
const valid = { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() + 86_400_000) }
const { cert, key } = authority.issue({ names: ["app.example"], ...valid })

/** The server side of TLS, over the stream between it and the client. */
const secured = (transport: Duplex, options: tls.SecureContextOptions & tls.TLSSocketOptions = {}) =>
  new tls.TLSSocket(transport, {
    isServer: true,
    secureContext: tls.createSecureContext({ cert, key, ...options }),
    ...options
  }).on("error", () => {})

/** TLS with a function that changes the bytes to the client. */
const through = (raw: Socket, send: (bytes: Buffer) => void) => {
  const transport = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, done) {
      send(bytes)
      done()
    }
  })
  raw.on("data", (bytes: Buffer) => transport.push(bytes))
  return secured(transport)
}

const answering = (socket: tls.TLSSocket, answer: string | Uint8Array) =>
  socket.once("data", () => socket.write(answer))

const document = `${head(jsonType, jsonLength)}${json}`

const below: ReadonlyArray<{
  readonly name: string
  readonly connection: (raw: Socket) => void
  readonly expected: Case["expected"]
}> = [
  {
    name: "FET-12: a reset after the connection was accepted",
    // After the client's side of the connection is made, because otherwise the connection itself fails.
    connection: (raw) => setTimeout(() => raw.resetAndDestroy(), 20),
    expected: { _tag: "TlsFailed", code: "ECONNRESET" }
  },
  {
    name: "FET-12: an end after the connection was accepted",
    connection: (raw) => raw.resume().end(),
    expected: { _tag: "TlsFailed", code: "ECONNRESET" }
  },
  {
    name: "FET-08: a connection that is accepted, and nothing more",
    connection: (raw) => raw.resume(),
    expected: { _tag: "FetchTimeout", phase: "tls", millis: timeout }
  },
  {
    name: "FET-12: a reset in the middle of the handshake",
    connection: (raw) => {
      through(raw, (bytes) => raw.write(bytes.subarray(0, 50), () => setTimeout(() => raw.resetAndDestroy(), 20)))
    },
    expected: { _tag: "TlsFailed", code: "ECONNRESET" }
  },
  {
    name: "FET-12: an end in the middle of the handshake",
    connection: (raw) => {
      through(raw, (bytes) => raw.end(bytes.subarray(0, 50)))
    },
    expected: { _tag: "TlsFailed", code: "ECONNRESET" }
  },
  {
    name: "FET-08: a drip of handshake bytes",
    connection: (raw) => {
      const pending: Array<number> = []
      const timer = setInterval(() => {
        const byte = pending.shift()
        if (byte !== undefined) raw.write(Uint8Array.of(byte))
      }, 10)
      raw.on("close", () => clearInterval(timer))
      through(raw, (bytes) => pending.push(...bytes))
    },
    expected: { _tag: "FetchTimeout", phase: "tls", millis: timeout }
  },
  {
    name: "FET-12: HTTP without TLS",
    connection: (raw) => raw.resume().write(document),
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-12: another protocol, whose server sends first",
    connection: (raw) => raw.resume().write("SSH-2.0-OpenSSH_9.6\r\n"),
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-01: TLS 1.1",
    connection: (raw) => {
      answering(
        secured(raw, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }),
        document
      )
    },
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-12: only HTTP/2",
    connection: (raw) => {
      answering(secured(raw, { ALPNProtocols: ["h2"] }), document)
    },
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-12: a request for a client certificate, which fails after the handshake of the client",
    connection: (raw) => {
      answering(
        secured(raw, { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" }),
        document
      )
    },
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-12: bytes that are not a TLS record in the middle of the body",
    connection: (raw) => {
      const socket = secured(raw)
      socket.once("data", () => {
        socket.write(head(jsonType, jsonLength) + json.slice(0, 9), () => raw.write("x".repeat(100)))
      })
    },
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  {
    name: "FET-09: a reset in the middle of a TLS record of the body",
    connection: (raw) => {
      let answered = false
      const socket = through(raw, (bytes) => {
        raw.write(answered ? bytes.subarray(0, -9) : bytes)
        if (answered) setTimeout(() => raw.resetAndDestroy(), 20)
      })
      socket.once("data", () => {
        answered = true
        socket.write(document)
      })
    },
    expected: { _tag: "ResponseTruncated", part: "headers" }
  },
  {
    name: "FET-08: a renegotiation, which is not permitted",
    connection: (raw) => {
      const socket = secured(raw, { maxVersion: "TLSv1.2" })
      socket.once("data", () => {
        socket.write(head(jsonType, jsonLength))
        socket.renegotiate({}, () => {})
        setTimeout(() => socket.write(json), 1000)
      })
    },
    expected: { _tag: "TlsFailed", code: expect.stringMatching(/^ERR_SSL_/) }
  },
  ...([
    ["no alternative name", []],
    ["addresses alone", Origin.publicAddresses],
    ["a mailbox alone", ["admin@app.example"]],
    ["another name", ["other.example"]]
  ] as const).map(([what, names]) => ({
    name: `FET-01: a certificate with ${what}, whose subject has the host as its common name`,
    connection: (raw: Socket) => {
      answering(secured(raw, authority.issue({ names, commonName: "app.example", ...valid })), document)
    },
    expected: { _tag: "TlsFailed", code: "ERR_TLS_CERT_ALTNAME_INVALID" }
  })),
  {
    name: "FET-01: TLS 1.2 is accepted",
    connection: (raw) => {
      answering(secured(raw, { maxVersion: "TLSv1.2" }), document)
    },
    expected: json
  },
  {
    name: "FET-08: one byte in each TLS record, if it ends in time",
    connection: (raw) => {
      const socket = secured(raw)
      socket.once("data", () => {
        for (const byte of Buffer.from(document)) socket.write(Uint8Array.of(byte))
      })
    },
    expected: json
  }
]

describe("Hostile origin below HTTP", () => {
  for (const { connection, expected, name } of below) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        const { open, port } = yield* listening((raw) => connection(raw))
        const { fetch } = yield* Effect.provide(
          Fetcher.Fetcher,
          Fetcher.layerWithoutDependencies({ ca: authority.cert, timeout }).pipe(
            Layer.provide([
              DialerTest.layerWith(() => port),
              NameLookupTest.layer({ "app.example": Origin.publicAddresses }),
              HostPolicy.layerPublic
            ])
          )
        )
        const [took, exit] = yield* Effect.timed(Effect.exit(fetch(clientId(url))))
        expectExit(exit, expected)
        expect(Duration.toMillis(took)).toBeLessThan(timeout + slack)
        yield* Effect.repeat(Effect.delay(Effect.sync(open), 5), { until: (count) => count === 0, times: 100 })
        expect(open()).toBe(0)
      }))
  }
})
