import type { ClientMetadata } from "effect-cimd"
import { Issue, RedirectUri } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parse } from "../src/internal/rules/uriSyntax.js"
import { assertInSlices } from "./support/properties.js"
import { accepted as acceptedDocument, brief, clientId, minimal } from "./support/validate.js"

const withRedirectUris = (...redirect_uris: ReadonlyArray<string>) => acceptedDocument({ ...minimal, redirect_uris })

const found = (uri: unknown): ReadonlyArray<string> =>
  RedirectUri.issues(uri, "/redirect_uris/0").map((issue) => `${issue.severity} ${issue.rule}`)

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2000)

describe("RedirectUri.issues", () => {
  const refused = (rule: string, uris: ReadonlyArray<string>) => {
    for (const uri of uris) {
      it(`${rule}: ${JSON.stringify(uri)} is refused`, () => {
        expect(found(uri)).toContain(`error ${rule}`)
        expect(RedirectUri.classify(uri)).toBe("forbidden")
      })
    }
  }
  const accepted = (rule: string, kind: RedirectUri.Kind, uris: ReadonlyArray<string>) => {
    for (const uri of uris) {
      it(`${rule}: ${JSON.stringify(uri)} is accepted as ${kind}`, () => {
        expect(found(uri)).toEqual([])
        expect(RedirectUri.classify(uri)).toBe(kind)
      })
    }
  }

  describe("DOC-11: absolute, without fragment, userinfo and wildcard host", () => {
    refused("DOC-11", [
      "",
      "/cb",
      "//app.example.com/cb",
      "app.example.com/cb",
      "https://app.example.com/cb#",
      "https://app.example.com/cb#f",
      "com.example.app:/cb#f",
      "https://user@app.example.com/cb",
      "https://@app.example.com/cb",
      "https://app.example.com@evil.example/cb",
      "com.example.app://user@host/cb",
      "https://*.example.com/cb",
      "https://*/cb",
      "https://app.example.com:*/cb",
      "http://127.0.0.1:*/cb",
      "http://localhost:*/cb",
      "com.example.app://*/cb"
    ])
    for (const uri of ["https://app.example.com/*", "https://app.example.com/cb?a=*", "com.example.app:/*"]) {
      it(`DOC-11: the * of ${uri} is a warning`, () => {
        expect(found(uri)).toEqual(["warning DOC-11"])
      })
    }
  })

  describe("DOC-11: no backslash, control or white-space character", () => {
    refused("DOC-11", [
      "https://app.example.com\\@evil.example/cb",
      "https://app.example.com\\evil.example/cb",
      "https:\\\\app.example.com/cb",
      "https://app.example.com/a\\b",
      "https://app.example.com/c b",
      " https://app.example.com/cb",
      "https://app.example.com/cb ",
      "https://app.example.com/cb\n",
      "https://app.exam\tple.com/cb",
      "java\tscript:alert(1)",
      "https://app.example.com/cb\u0000",
      "https://app.example.com/cb\u007f",
      "https://app.example.com/cb\u0085",
      "https://app.example.com/cb\u00a0",
      "https://app.example.com/cb\u2028",
      "com.example.app:/c\tb"
    ])
  })

  describe("DOC-11: RFC 3986 and WHATWG read the same host and port", () => {
    refused("DOC-11", [
      "http://127.1/cb",
      "http://0x7f000001/cb",
      "http://2130706433/cb",
      "http://0177.0.0.1/cb",
      "https://203.0.113.007/cb",
      "https://ex%61mple.com/cb",
      "https://app%2eexample.com/cb",
      "https://app.example.com%2f@evil.example/cb",
      "https://%61/cb",
      "https://app.example.com:%38/cb",
      "https://\uff41pp.example.com/cb",
      "https://app\u3002example\u3002com/cb",
      "https://bücher.example/cb",
      "https://stra\u00dfe.example/cb",
      "https:/app.example.com/cb",
      "https:app.example.com/cb",
      "https:///app.example.com/cb",
      "https:////app.example.com/cb",
      "http:cb",
      "https://:443/cb",
      "https://app.example.com:65536/cb",
      "https://app.example.com:99999999999999999999/cb",
      "https://app.example.com:+443/cb",
      "https://[::1/cb",
      "https://[::1]x/cb",
      "https://[fe80::1%25eth0]/cb",
      "http://[0:0:0:0:0:0:0:1]/cb",
      "http://[::127.0.0.1]/cb",
      "https://[v1.a]/cb",
      "https://app.example.com/%",
      "https://app.example.com/%zz",
      "https://app.example.com/<cb>",
      "https://app.example.com/{cb}",
      "https://app.example.com/a|b",
      "https://app.example.com/a^b",
      "https://app.example.com/\"",
      "https://app.example.com/[a]",
      "com.example.app:/%zz",
      "https://-app.example.com/cb",
      "https://app-.example.com/cb",
      "https://a..b/cb",
      "https://app.example.com:08443/cb",
      "https://app.example.com:0/cb",
      "https://[2001:db8:0::1]/cb",
      "https://app!.example.com/cb",
      "https://app.example.0x/cb",
      "com.example.app://[v1.a]/cb",
      "com.example.app://:80/cb"
    ])
    accepted("DOC-11", "https", [
      "https://app.example.com",
      "https://app.example.com/",
      "https://app.example.com/cb",
      "https://app.example.com/cb?a=b&c=d/?",
      "https://app.example.com:443/cb",
      "https://app.example.com:/cb",
      "https://app.example.com:8443/cb",
      "https://App.Example.com/cb",
      "HTTPS://app.example.com/cb",
      "https://app.example.com./cb",
      "https://app.example.com/%C3%BC/%61",
      "https://app.example.com//cb",
      "https://app.example.com/@user:x",
      "https://xn--bcher-kva.example/cb",
      "https://8.8.8.8/cb",
      "https://[2606:4700::1111]:8443/cb",
      "https://xn--a.example/cb",
      "https://my_app.example.com/cb"
    ])
    for (const uri of ["https://app.example.com/a/../cb", "https://app.example.com/%2E/cb", "com.example.app:/a/./b"]) {
      it(`DOC-11: the dot segment of ${uri} is a warning`, () => {
        expect(found(uri)).toEqual(["warning DOC-11"])
      })
    }
  })

  describe("DOC-12: the scheme", () => {
    refused("DOC-12", [
      "javascript:alert(1)",
      "JavaScript:alert(1)",
      "javascript://app.example.com/%0aalert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "blob:https://app.example.com/1",
      "vbscript:x",
      "about:blank",
      "mailto:a@b.example",
      "view-source:https://app.example.com/",
      "filesystem:https://app.example.com/temporary/",
      "ftp://app.example.com/cb",
      "ws://app.example.com/cb",
      "wss://app.example.com/cb",
      "smb://app.example.com/share",
      "LDAP://app.example.com/cb",
      "tel:+1",
      "ms-word:ofe|u|https://app.example.com/x",
      "Ms-Settings:x",
      "search-ms:query=x",
      "intent://x",
      "urn:ietf:wg:oauth:2.0:oob",
      "http://app.example.com/cb",
      "HTTP://app.example.com/cb",
      "http://localhost.evil.example/cb",
      "http://localhost./cb",
      "http://127.0.0.1.evil.example/cb",
      "http://127.0.0.1./cb",
      "http://128.0.0.1/cb",
      "http://10.0.0.1/cb",
      "http://0.0.0.0/cb",
      "http://[::]/cb",
      "http://[::ffff:7f00:1]/cb",
      "http://evil.example/?http://localhost/cb"
    ])
    accepted("DOC-12", "loopback", [
      "http://localhost",
      "http://localhost/cb",
      "http://localhost:3000/cb",
      "http://127.0.0.1/cb",
      "http://127.0.0.1:33418/",
      "http://127.1.2.3/cb",
      "http://127.255.255.255/cb",
      "http://[::1]/cb",
      "http://[::1]:7/cb?a=b"
    ])
    accepted("DOC-12", "private-use", [
      "com.example.app:/cb",
      "com.example.app://cb",
      "com.example.app:///cb",
      "com.example.app:cb",
      "com.example.app://cb:99/path?q",
      "Com.Example.App:/cb"
    ])
    for (const uri of ["mcpjam://oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback", "myapp:/cb"]) {
      it(`DOC-12: the scheme without a dot of ${uri} is a warning`, () => {
        expect(found(uri)).toEqual(["warning DOC-12"])
        expect(RedirectUri.classify(uri)).toBe("private-use")
      })
    }
    for (
      const uri of [
        "https://localhost/cb",
        "https://app.localhost/cb",
        "https://localhost./cb",
        "https://intranet/cb",
        "https://169.254.169.254/cb",
        "https://10.0.0.1/cb",
        "https://127.0.0.1/cb",
        "https://[::1]/cb",
        "https://[fd00:ec2::254]/cb",
        "https://203.0.113.7/cb"
      ]
    ) {
      it(`DOC-12: the host of ${uri}, which is not on the public internet, is a warning`, () => {
        expect(found(uri)).toEqual(["warning DOC-12"])
        expect(RedirectUri.matches(uri, uri)).toBe(true)
      })
    }
    it("DOC-11: the advice for a wildcard port says that any port matches only where it does", () => {
      const advice = (uri: string) => RedirectUri.issues(uri)[0]?.message
      expect(advice("http://127.0.0.1:*/cb")).toContain("any port matches for this host")
      expect(advice("http://[::1]:*/cb")).toContain("any port matches for this host")
      expect(advice("http://localhost:*/cb")).not.toContain("any port matches")
      expect(advice("http://LOCALHOST:*/cb")).not.toContain("any port matches")
      expect(advice("http://127.0.0.2:*/cb")).not.toContain("for this host")
      expect(advice("https://app.example.com:*/cb")).not.toContain("any port matches")
    })
    it("DOC-12: a host and port without a scheme is a warning that says so", () => {
      for (const uri of ["localhost:3000/cb", "app.example.com:443/cb"]) {
        expect(found(uri)).toEqual(["warning DOC-12"])
        expect(RedirectUri.issues(uri)[0]?.message).toContain("read as the scheme")
      }
    })
  })

  it("DOC-19: independent issues of one URI are all reported", () => {
    expect(found("http://user@*.example.com/cb#f")).toEqual([
      "error DOC-11",
      "error DOC-11",
      "error DOC-11",
      "error DOC-12"
    ])
  })

  it("DOC-14: a value that is not a string is refused, and the issue has its path", () => {
    for (const input of [undefined, null, 1, {}, ["https://app.example.com/cb"]]) {
      expect(RedirectUri.issues(input, "/redirect_uris/3")[0]).toMatchObject({
        rule: "DOC-14",
        severity: "error",
        path: "/redirect_uris/3"
      })
      expect(RedirectUri.classify(input)).toBe("forbidden")
    }
  })

  const parts = fc.constantFrom(
    "https",
    "http",
    "com.example.app",
    ":",
    "/",
    "//",
    "@",
    "?",
    "#",
    "\\",
    "%2f",
    "%00",
    "[",
    "]",
    "[::1]",
    "127.0.0.1",
    "127.1",
    "0x7f",
    "localhost",
    "app.example.com",
    "xn--a",
    ".",
    "8080",
    "*",
    "\t",
    "é",
    "\uff0e",
    "a",
    "A"
  )
  const uri = fc.oneof(
    fc.fullUnicodeString(),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
    fc.array(parts, { maxLength: 12 }).map((parts) => parts.join("")),
    fc.array(parts, { maxLength: 8 }).map((parts) => `https://${parts.join("")}`),
    fc.array(parts, { maxLength: 8 }).map((parts) => `http://127.0.0.1${parts.join("")}`)
  )

  it("DOC-11: RFC 3986 and WHATWG find the same host and port in an accepted URI", async () => {
    await assertInSlices(
      fc.property(uri, (text) => {
        const kind = RedirectUri.classify(text)
        if (kind === "forbidden") {
          return
        }
        const read = parse(text)
        // Whether a browser opens an internationalized name depends on its version of Unicode. It opens no other host.
        if (text.toLowerCase().includes("xn--") && !URL.canParse(text)) {
          return
        }
        const url = new URL(text)
        expect(url.port === "" || Number(read?.port) === Number(url.port)).toBe(true)
        expect(url.hostname.toLowerCase()).toBe((read?.host ?? "").toLowerCase())
        expect([url.username, url.password, url.hash]).toEqual(["", "", ""])
        expect(text).toMatch(/^[\x21-\x7e]+$/)
        if (kind === "loopback") {
          expect(url.hostname).toMatch(/^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/)
        }
      }),
      numRuns
    )
  })

  it("DOC-11: nothing throws, and classify agrees with issues", async () => {
    await assertInSlices(
      fc.property(fc.oneof(uri, fc.anything()), (input) => {
        expect(RedirectUri.classify(input) === "forbidden").toBe(RedirectUri.issues(input).some(Issue.isError))
      }),
      numRuns
    )
  })
})

describe("RedirectUri.matches", () => {
  const cases: ReadonlyArray<{ registered: string; requested: string; match: boolean | "localhost"; why: string }> =
    JSON
      .parse(readFileSync(new URL("./fixtures/redirects.json", import.meta.url), "utf8"))

  for (const { match, registered, requested, why } of cases) {
    it(`RED-01, RED-02, RED-03: ${registered} and ${requested}: ${why}`, () => {
      expect(RedirectUri.matches(registered, requested)).toBe(match === true)
      expect(RedirectUri.matches(registered, requested, { allowLocalhostPort: true })).toBe(match !== false)
    })
  }

  const never: ReadonlyArray<readonly [rule: string, registered: string, requested: string]> = [
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/cb/"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/CB"],
    ["RED-01", "https://app.example.com/cb", "https://APP.example.com/cb"],
    ["RED-01", "https://app.example.com/cb", "HTTPS://app.example.com/cb"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/cb#"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/%63b"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/x/../cb"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com:8443/cb"],
    ["RED-01", "https://app.example.com", "https://app.example.com/"],
    ["RED-01", "https://app.example.com/cb", "https://app.example.com/cb "],
    ["RED-01", "https://app.example.com/*", "https://app.example.com/cb"],
    ["RED-02", "https://127.0.0.1/cb", "https://127.0.0.1:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "https://127.0.0.1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.2:1/cb"],
    ["RED-02", "http://127.0.0.2/cb", "http://127.0.0.2:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://[::1]:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "HTTP://127.0.0.1:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.1:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1/ca"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb?"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:0/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:01/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1x/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1\\@evil.example/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"],
    ["RED-02", "http://127.0.0.1@evil.example/cb", "http://127.0.0.1:80@evil.example/cb"],
    ["RED-02", "http://127.0.0.1.evil.example/cb", "http://127.0.0.1:80.evil.example/cb"],
    ["RED-02", "http://127.0.0.1", "http://127.0.0.1:1#f"],
    ["RED-02", "http://127.0.0.1/cb", "http://user@127.0.0.1:1/cb"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb#"],
    ["RED-02", "http://127.0.0.1/cb", "http://127.0.0.1:\uff11/cb"],
    ["RED-02", "com.example.app://127.0.0.1/cb", "com.example.app://127.0.0.1:1/cb"],
    ["RED-03", "http://localhost/cb", "http://127.0.0.1:1/cb"],
    ["RED-03", "http://localhost/cb", "http://127.0.0.1/cb"],
    ["RED-03", "http://localhost/cb", "http://[::1]/cb"],
    ["RED-03", "http://localhost/cb", "http://LOCALHOST:1/cb"],
    ["RED-03", "http://localhost/cb", "http://localhost.:1/cb"],
    ["RED-03", "http://localhost/cb", "http://a.localhost:1/cb"],
    ["RED-03", "http://localhost/cb", "http://localhost:1.evil.example/cb"],
    ["RED-03", "http://localhost/cb", "https://localhost:1/cb"]
  ]
  for (const [rule, registered, requested] of never) {
    it(`${rule}: ${registered} never matches ${JSON.stringify(requested)}`, () => {
      expect(RedirectUri.matches(registered, requested, { allowLocalhostPort: true })).toBe(false)
    })
  }

  it("RED-02: the port is ignored with a query, and without a path", () => {
    expect(RedirectUri.matches("http://127.0.0.1/cb?a=b", "http://127.0.0.1:1/cb?a=b")).toBe(true)
    expect(RedirectUri.matches("http://127.0.0.1", "http://127.0.0.1:65535")).toBe(true)
    expect(RedirectUri.matches("http://[::1]?a", "http://[::1]:1?a")).toBe(true)
    expect(RedirectUri.matches("http://127.0.0.1:0/cb", "http://127.0.0.1:1/cb")).toBe(true)
    expect(RedirectUri.matches("http://[::1]:5/cb", "http://[::1]/cb")).toBe(true)
  })

  it("RED-04: a mismatch is an error that says never to redirect", () => {
    const document = withRedirectUris("https://app.example.com/cb", "http://127.0.0.1/cb")
    const match = (requested: string) => Effect.runSync(Effect.either(RedirectUri.match(document, requested)))
    expect(match("http://127.0.0.1:1/cb")).toMatchObject({ _tag: "Right", right: "http://127.0.0.1:1/cb" })
    const error = Effect.runSync(
      Effect.flip(RedirectUri.match(document, `https://evil.example/${"\u001b".repeat(999)}`))
    )
    expect(error._tag).toBe("RedirectUriMismatch")
    expect(error.message).toContain("Never redirect")
    expect(error.message.length).toBeLessThan(1000)
    expect(error.message).not.toContain("\u001b")
    expect(error.oauthError.error).toBe("invalid_request")
    const without = acceptedDocument({ client_id: minimal.client_id, grant_types: ["client_credentials"] })
    expect(Effect.runSync(Effect.flip(RedirectUri.match(without, "https://app.example.com/cb"))).registered).toEqual([])
  })

  const isMatched = (document: ClientMetadata.AcceptedDocument, requested: string) =>
    Effect.runSync(Effect.either(RedirectUri.match(document, requested)))._tag === "Right"

  it("RED-05: a scheme that any app can claim is never matched, unless the server opens it", () => {
    const uris = ["acme:/cb", "AcmE://cb", "localhost:3000/cb"]
    for (const uri of uris) {
      expect(isMatched(withRedirectUris(uri), uri), uri).toBe(false)
      expect(RedirectUri.matches(uri, uri), uri).toBe(false)
      const opened = ["ACME", "localhost"]
      const profile = { privateUseSchemes: opened }
      expect(isMatched(acceptedDocument({ ...minimal, redirect_uris: [uri] }, profile), uri), uri).toBe(true)
      expect(RedirectUri.matches(uri, uri, { privateUseSchemes: ["acme", "localhost"] }), uri).toBe(true)
    }
    expect(brief({ redirect_uris: ["acme:/cb"] })).toEqual(["warning DOC-12 /redirect_uris/0"])
    expect(brief({ redirect_uris: ["acme:/cb"] }, { privateUseSchemes: ["acme"] })).toEqual([])
  })

  it("RED-05: the other redirect URIs of such a client are matched", () => {
    const document = withRedirectUris("acme:/cb", "https://app.example.com/cb", "http://127.0.0.1/cb")
    expect(document.redirectUris).toEqual(["https://app.example.com/cb", "http://127.0.0.1/cb"])
    expect(isMatched(document, "https://app.example.com/cb")).toBe(true)
    expect(isMatched(document, "http://127.0.0.1:5/cb")).toBe(true)
    expect(isMatched(document, "acme:/cb")).toBe(false)
  })

  it("RED-05: reverse domain names and known apps are matched", () => {
    for (const uri of ["com.example.app:/cb", "Com.Example.App://x", "cursor://anysphere.cursor-mcp/cb", "vscode:x"]) {
      expect(isMatched(withRedirectUris(uri), uri), uri).toBe(true)
    }
  })

  it("RED-05: a URI that no document may register never matches, and no server can open its scheme", () => {
    const forbidden = [
      "javascript:alert(1)",
      "JavaScript:alert(1)",
      "data:x",
      "search-ms:query=x",
      "MS-Msdt:/id",
      "smb://h/s",
      "http://app.example.com/cb",
      "https://u@app.example.com/cb",
      "https://app.example.com/cb#"
    ]
    const privateUseSchemes = ["javascript", "data", "search-ms", "ms-msdt", "smb", "http"]
    for (const uri of forbidden) {
      expect(RedirectUri.matches(uri, uri, { privateUseSchemes }), uri).toBe(false)
      expect(brief({ redirect_uris: [uri] }, { privateUseSchemes })[0], uri).toMatch(/^error DOC-1[12]/)
    }
  })

  const path = fc.constantFrom(
    "",
    "/",
    "/cb",
    "/cb?a=b",
    "?a",
    "#",
    "@evil.example/",
    ".evil.example/",
    "\\@evil/",
    ":1"
  )
  const host = fc.constantFrom("127.0.0.1", "[::1]", "localhost", "127.0.0.2", "app.example.com", "127.0.0.1:1", "a@b")
  const port = fc.oneof(fc.constant(""), fc.nat(70000).map((port) => `:${port}`), fc.constantFrom(":", ":01", ":1a"))
  const scheme = fc.constantFrom("http://", "https://", "HTTP://", "com.example.app://")
  const uri = fc.oneof(fc.tuple(scheme, host, port, path).map((parts) => parts.join("")), fc.string(), fc.webUrl())
  const options = fc.record({ allowLocalhostPort: fc.boolean() })

  it("RED-01: match is reflexive for https and loopback URIs that a document may register", async () => {
    await assertInSlices(
      fc.property(
        uri,
        options,
        (uri, options) =>
          RedirectUri.matches(uri, uri, options) || ["forbidden", "private-use"].includes(RedirectUri.classify(uri))
      ),
      numRuns
    )
  })

  it("RED-02: URIs that match differ at most in the port of a loopback host", async () => {
    const withoutPort = (uri: string) =>
      uri.replace(/^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost)):[0-9]{1,5}(?=[/?]|$)/, "$1")
    await assertInSlices(
      fc.property(uri, uri, options, (registered, requested, options) => {
        if (registered !== requested && RedirectUri.matches(registered, requested, options)) {
          expect(withoutPort(requested)).toBe(withoutPort(registered))
          expect(requested).toMatch(/^http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost)/)
        }
      }),
      numRuns * 5
    )
  })

  it("RED-02: a URI that matches an accepted one has the same host in a browser", async () => {
    await assertInSlices(
      fc.property(uri, uri, options, (registered, requested, options) => {
        if (
          RedirectUri.classify(registered) !== "forbidden" && RedirectUri.matches(registered, requested, options)
        ) {
          expect(RedirectUri.classify(requested)).toBe(RedirectUri.classify(registered))
          expect(new URL(requested).hostname).toBe(new URL(registered).hostname)
        }
      }),
      numRuns * 5
    )
  })
})

describe("RedirectUri.isSameOrigin", () => {
  const id = clientId("https://app.example.com/client.json")
  it("DOC-20: scheme, host and port decide", () => {
    expect(RedirectUri.isSameOrigin("https://app.example.com/cb", id)).toBe(true)
    expect(RedirectUri.isSameOrigin("https://app.example.com:443/cb", id)).toBe(true)
    expect(RedirectUri.isSameOrigin("https://APP.example.com/cb", id)).toBe(true)
    expect(RedirectUri.isSameOrigin("https://app.example.com/cb", clientId("https://app.example.com:443/c"))).toBe(true)
    expect(RedirectUri.isSameOrigin("https://app.example.com:8443/cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("https://evil.example/cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("https://a.app.example.com/cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("https://app.example.com./cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("https://app.example.com@evil.example/", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("http://127.0.0.1/cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("com.example.app:/cb", id)).toBe(false)
    expect(RedirectUri.isSameOrigin("not a uri", id)).toBe(false)
  })
})
