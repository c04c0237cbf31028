/** Client identifiers and documents, published and generated. The same seed gives the same cases. */
import * as fc from "effect/FastCheck"
import { readFileSync } from "node:fs"

export interface Case {
  readonly name: string
  readonly clientId: string
  readonly body: Uint8Array
}

type Members = { readonly [name: string]: unknown }

const seed = 20261123
const encode = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value))

const published: ReadonlyArray<{ readonly name: string; readonly url: string; readonly doc: Members }> = JSON.parse(
  readFileSync(new URL("../examples/documents.json", import.meta.url), "utf8")
)

// The smallest document that each of the servers accepts.
const minimal = (clientId: string): Members => ({
  client_id: clientId,
  redirect_uris: ["https://app.example.com/cb"],
  token_endpoint_auth_method: "none"
})

// No xn-- label that decodes to nothing, such as xn--a: whether the peers accept it depends on the version of Node.js.
const hosts = [
  "app.example.com",
  "APP.example.com",
  "app.example.com.",
  "app.example.com:8443",
  "app.example.com:443",
  "app.example.com:",
  "app.example.com:0",
  "app.example.com:080",
  "app.example.com:65536",
  "user@app.example.com",
  "@app.example.com",
  "app.example.com\\@evil.example",
  "intranet",
  "localhost",
  "a_b.example.com",
  "-a.example.com",
  "ex%61mple.com",
  "bücher.example",
  "xn--bcher-kva.example",
  "127.0.0.1",
  "127.1",
  "0x7f.1",
  "8.8.8.8",
  "134744072",
  "[::1]",
  "[2606:4700::1111]",
  "[2606:4700:0::1111]",
  "*.example.com",
  ""
]
const paths = [
  "/client.json",
  "/",
  "",
  "/a/../c",
  "/a/%2e%2E/c",
  "/./c",
  "/.well-known/c",
  "/...",
  "/c#",
  "/c#f",
  "/c?q=1",
  "/c?",
  "/c?q='",
  "/%zz",
  "/%",
  "/%41",
  "/a b",
  "/a\tb",
  "/ü",
  "/a\\b",
  "/a|b",
  "/{c}",
  "//c",
  "/c/",
  `/${"a".repeat(2048)}`
]

export const clientIds: ReadonlyArray<Case> = [
  ...["https://", "HTTPS://", "http://", "https:/", "https:", ""].map((scheme) => `${scheme}app.example.com/c`),
  ...hosts.map((host) => `https://${host}/client.json`),
  ...paths.map((path) => `https://app.example.com${path}`)
].map((clientId) => ({ name: "client id", clientId, body: encode(minimal(clientId)) }))

const uris = [
  "https://app.example.com/cb",
  "https://app.example.com",
  "https://app.example.com:8443/cb?a=b",
  "https://App.example.com/cb",
  "http://app.example.com/cb",
  "http://127.0.0.1/cb",
  "http://127.0.0.1:33418/cb",
  "http://localhost:3000/cb",
  "http://[::1]/cb",
  "http://127.1/cb",
  "http://localhost.evil.example/cb",
  "https://localhost/cb",
  "com.example.app:/cb",
  "com.example.app://cb",
  "mcpjam://oauth/callback",
  "javascript:alert(1)",
  "JavaScript:alert(1)",
  "data:text/html,x",
  "file:///etc/passwd",
  "mailto:a@b.example",
  "smb://evil.example/share",
  "ms-msdt:/id",
  "intent://x/cb",
  "urn:ietf:wg:oauth:2.0:oob",
  "a:",
  "https://169.254.169.254/cb",
  "https://app.example.com/x\"onerror=alert(1)",
  "https://user:pass@app.example.com/cb",
  "https://@app.example.com/cb",
  "https://app.example.com/cb#f",
  "https://app.example.com/cb#",
  "https://*.example.com/cb",
  "https://app.example.com/*",
  "https://app.example.com\\@evil.example/cb",
  "https://app.exam\tple.com/cb",
  " https://app.example.com/cb",
  "https://app.example.com/c b",
  "https://ex%61mple.com/cb",
  "https://bücher.example/cb",
  "https:app.example.com/cb",
  "https:///app.example.com/cb",
  "https://app.example.com/%zz",
  "/cb",
  "app.example.com/cb",
  ""
]

const rsa = { kty: "RSA", e: "AQAB", n: "vw".repeat(171) }
const ec = {
  kty: "EC",
  crv: "P-256",
  x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
  y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
}
const methods = [
  "none",
  "private_key_jwt",
  "client_secret_basic",
  "client_secret_post",
  "client_secret_jwt",
  "client_secret_new",
  "tls_client_auth",
  "self_signed_tls_client_auth",
  "unknown"
]
const wrong = [null, 5, true, {}, [], [5], "", "x"]
const addresses = [...uris, "http://app.example.com/"]

// Values to test, by member: valid ones, invalid ones, and those on which servers disagree.
const values: { readonly [name: string]: ReadonlyArray<unknown> } = {
  client_id: ["https://evil.example/c", ...wrong],
  client_name: ["App", "a\nb", "a\u202eb", "a".repeat(300), " ", ...wrong],
  "client_name#ja": ["例", 5],
  client_uri: [...addresses, ...wrong],
  logo_uri: [...addresses, ...wrong],
  policy_uri: [...addresses, ...wrong],
  tos_uri: [...addresses, ...wrong],
  jwks_uri: [...addresses, ...wrong],
  initiate_login_uri: [...addresses, ...wrong],
  backchannel_logout_uri: [...addresses, ...wrong],
  redirect_uris: [...uris.map((uri) => [uri]), ["https://app.example.com/cb", 5], [...uris.slice(0, 2)], ...wrong],
  post_logout_redirect_uris: [...uris.map((uri) => [uri]), ...wrong],
  grant_types: [
    ["authorization_code"],
    ["authorization_code", "refresh_token"],
    ["client_credentials"],
    ["implicit"],
    ["unknown"],
    ["authorization_code", "unknown"],
    ...wrong
  ],
  response_types: [["code"], ["code", "unknown"], ["unknown"], ["code id_token"], ...wrong],
  scope: ["openid", "openid unknown", ...wrong],
  contacts: [["a@app.example.com"], ["https://app.example.com/"], ...wrong],
  application_type: ["web", "native", "unknown", ...wrong],
  subject_type: ["public", "pairwise", "unknown", ...wrong],
  token_endpoint_auth_method: [...methods, ...wrong],
  token_endpoint_auth_methods_supported: [...methods.map((method) => [method]), ["none", "private_key_jwt"], ...wrong],
  token_endpoint_auth_signing_alg: ["RS256", "HS256", "unknown", ...wrong],
  jwks: [
    { keys: [] },
    { keys: [ec] },
    { keys: [rsa] },
    { keys: [{ ...ec, d: "AA" }] },
    { keys: [{ ...rsa, p: "AA" }] },
    { keys: [{ kty: "oct", k: "AA" }] },
    { keys: [{ kty: "unknown" }] },
    { keys: [{ kty: "EC", crv: "P-256" }] },
    { keys: [{ ...ec, x: "AA" }] },
    { keys: [{ ...ec, crv: "unknown" }] },
    { keys: [{ kty: "RSA" }] },
    { keys: [{}] },
    { keys: [5] },
    ...wrong
  ],
  client_secret: ["s", null],
  client_secret_expires_at: [0, null],
  default_max_age: [0, 3600, -1, 1.5, "3600", null],
  require_auth_time: [true, "true", null],
  dpop_bound_access_tokens: [true, "true", null],
  default_acr_values: [["1"], ...wrong],
  software_id: ["x", 5],
  software_version: ["1", 5],
  software_statement: ["x", `e30.${Buffer.from("{\"client_secret\":\"s\"}").toString("base64url")}.c2ln`],
  unknown: [1, null, { a: [] }]
}

const member = fc.oneof(
  ...Object.entries(values).map(([name, values]) => fc.constantFrom(...values).map((value) => ({ [name]: value })))
)

const generated: ReadonlyArray<Case> = fc
  .sample(
    fc.tuple(
      fc.constantFrom<(clientId: string) => Members>(
        minimal,
        minimal,
        (clientId) => ({ ...minimal(clientId), application_type: "native" }),
        ...published.map(({ doc }) => (client_id: string) => ({ ...doc, client_id }))
      ),
      fc.array(member, { minLength: 1, maxLength: 2 })
    ),
    { seed, numRuns: 3000 }
  )
  .map(([base, members], index) => {
    const clientId = `https://app.example.com/${index}.json`
    return { name: "generated", clientId, body: encode(Object.assign({}, base(clientId), ...members)) }
  })

// Each value alone, so that every value is tested whatever the generator picks.
const single: ReadonlyArray<Case> = Object.entries(values).flatMap(([name, values]) =>
  values.flatMap((value, index) =>
    ["web", "native"].map((application_type) => {
      const clientId = `https://app.example.com/${encodeURIComponent(name)}/${index}/${application_type}`
      return { name, clientId, body: encode({ ...minimal(clientId), application_type, [name]: value }) }
    })
  )
)

// Malformed and unusual texts.
const texts: ReadonlyArray<Case> = [
  (text: string) => text,
  (text: string) => `\ufeff${text}`,
  (text: string) => `${text}x`,
  (text: string) => `[${text}]`,
  (text: string) => text.slice(0, -1),
  (text: string) => `${text.slice(0, -1)},}`,
  (text: string) => `${text.slice(0, -1)},"scope":"openid","scope":"openid"}`,
  (text: string) => `${text.slice(0, -1)},"x":{"a":1,"a":2}}`,
  (text: string) => `${text.slice(0, -1)},"__proto__":{"client_name":"x"}}`,
  (text: string) => `${text.slice(0, -1)},"client_name":"\\u0000"}`,
  (text: string) => `${text.slice(0, -1)},"client_name":"\\ud800"}`,
  (text: string) => `${text.slice(0, -1)},"x":9007199254740993}`,
  (text: string) => `${text.slice(0, -1)},"x":1e999}`,
  (text: string) => `${text.slice(0, -1)},"x":${"[".repeat(20)}${"]".repeat(20)}}`,
  () => "",
  () => "null",
  () => "[]",
  () => "{}"
].map((change, index) => {
  const clientId = `https://app.example.com/text/${index}`
  return { name: "text", clientId, body: encode(change(JSON.stringify(minimal(clientId)))) }
})

const invalidUtf8: Case = (() => {
  const clientId = "https://app.example.com/text/utf8"
  const body = encode({ ...minimal(clientId), client_name: "aaaa" })
  body[body.lastIndexOf(0x61)] = 0xff
  return { name: "text", clientId, body }
})()

export const documents: ReadonlyArray<Case> = [
  ...published.map(({ doc, name, url }) => ({ name, clientId: url, body: encode(doc) })),
  ...single,
  ...texts,
  invalidUtf8,
  ...generated
]
