import { describe, expect, it } from "@effect/vitest"
import type { ClientMetadata } from "effect-cimd"
import * as fc from "effect/FastCheck"
import { readFileSync } from "node:fs"
import { canonical } from "../../src/internal/rules/canonicalJson.js"
import { compare } from "../../src/internal/rules/documentChange.js"
import { assertInSlices } from "../support/properties.js"

const fixture = <A>(name: string): A =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8"))

const documents = fixture<ReadonlyArray<{ readonly name: string; readonly document: ClientMetadata.JsonObject }>>(
  "documents"
)
const registered = fixture<ReadonlyArray<{ readonly name: string }>>("members").map(({ name }) => name)

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 1000)

/** The members that only people see. Every other member of the registry is security. */
const shown = [
  "client_name",
  "client_uri",
  "contacts",
  "description",
  "display_name",
  "homepage_uri",
  "information_uri",
  "keywords",
  "logo_uri",
  "organization_name",
  "organization_uri",
  "policy_uri",
  "software_version",
  "tos_uri"
]

const base = { client_id: "https://app.example/client.json", redirect_uris: ["https://app.example/cb"] }
const kind = (before: ClientMetadata.JsonObject, after: ClientMetadata.JsonObject) =>
  compare({ ...base, ...before }, { ...base, ...after }).change

describe("compare", () => {
  it("REG-06: of the registered members, those that are shown are display, and all others security", () => {
    const display = registered.filter((name) => kind({ [name]: "a" }, { [name]: "b" }) === "display")
    expect(display.sort()).toEqual(shown.filter((name) => registered.includes(name)))
    expect(registered.length).toBeGreaterThan(80)
    for (const name of registered.filter((name) => !shown.includes(name))) {
      expect([name, kind({ [name]: "a" }, { [name]: "b" })]).toEqual([name, "security"])
    }
  })

  for (const name of shown) {
    it(`REG-06: ${name} that appears, changes or goes is display`, () => {
      expect(kind({}, { [name]: "a" })).toBe("display")
      expect(kind({ [name]: "a" }, { [name]: "b" })).toBe("display")
      expect(kind({ [name]: "a" }, {})).toBe("display")
    })
  }

  it.each(["client_name#ja", "logo_uri#de-CH", "description#"])(
    "REG-06: the translated member %s is display",
    (name) => {
      expect(kind({}, { [name]: "a" })).toBe("display")
    }
  )

  it.each([
    "redirect_uris#ja",
    "jwks_uri#client_name",
    "#client_name",
    "contacts#ja",
    "client_name2",
    "Client_Name",
    "constructor",
    "toString",
    "",
    "@context",
    "client_id_issued_at",
    "software_id"
  ])("REG-06: the member %j is security", (name) => {
    expect(kind({}, { [name]: "a" })).toBe("security")
    expect(kind({ [name]: ["a"] }, {})).toBe("security")
  })

  const security: ReadonlyArray<readonly [string, ClientMetadata.JsonObject, ClientMetadata.JsonObject]> = [
    ["another redirect URI", {}, { redirect_uris: ["https://evil.example/cb"] }],
    ["one more redirect URI", {}, { redirect_uris: ["https://app.example/cb", "https://evil.example/cb"] }],
    ["the same redirect URI twice", {}, { redirect_uris: ["https://app.example/cb", "https://app.example/cb"] }],
    ["another case in a redirect URI", {}, { redirect_uris: ["https://app.example/CB"] }],
    ["a string in place of an array", {}, { redirect_uris: "https://app.example/cb" }],
    ["another method", { token_endpoint_auth_method: "private_key_jwt" }, { token_endpoint_auth_method: "none" }],
    ["no method any more", { token_endpoint_auth_method: "private_key_jwt" }, {}],
    ["another order of methods", { token_endpoint_auth_methods_supported: ["private_key_jwt", "none"] }, {
      token_endpoint_auth_methods_supported: ["none", "private_key_jwt"]
    }],
    ["another key", { jwks: { keys: [{ kty: "EC", x: "a" }] } }, { jwks: { keys: [{ kty: "EC", x: "b" }] } }],
    ["one more key", { jwks: { keys: [{ kty: "EC", x: "a" }] } }, {
      jwks: { keys: [{ kty: "EC", x: "a" }, { kty: "EC", x: "b" }] }
    }],
    ["a member beside the keys", { jwks: { keys: [] } }, { jwks: { keys: [], more: 1 } }],
    ["another jwks_uri", { jwks_uri: "https://app.example/keys" }, { jwks_uri: "https://evil.example/keys" }],
    ["one more scope", { scope: "a b" }, { scope: "a b c" }],
    ["a name and a redirect URI", { client_name: "a" }, { client_name: "b", redirect_uris: [] }],
    ["a number of the same digits", { default_max_age: 1 }, { default_max_age: "1" }]
  ]
  for (const [name, before, after] of security) {
    it(`REG-06: ${name} is security`, () => expect(kind(before, after)).toBe("security"))
  }

  const same: ReadonlyArray<readonly [string, ClientMetadata.JsonObject, ClientMetadata.JsonObject]> = [
    ["redirect URIs", { redirect_uris: ["https://a.example/", "https://b.example/"] }, {
      redirect_uris: ["https://b.example/", "https://a.example/"]
    }],
    ["scope values", { scope: "a b" }, { scope: "b a" }],
    ["grant types", { grant_types: ["a", "b"] }, { grant_types: ["b", "a"] }],
    ["keys, and their members", { jwks: { keys: [{ kty: "EC", x: "a" }, { kty: "RSA" }] } }, {
      jwks: { keys: [{ kty: "RSA" }, { x: "a", kty: "EC" }] }
    }]
  ]
  for (const [name, before, after] of same) {
    it(`REG-06: another order of ${name} is no change`, () => expect(kind(before, after)).toBe("none"))
  }

  it("REG-06: it names the members that differ", () => {
    expect(compare({ a: 1, client_name: "x", b: 2 }, { a: 1, client_name: "y", c: 3 })).toEqual({
      change: "security",
      members: ["b", "c", "client_name"]
    })
  })

  for (const { document, name } of documents) {
    it(`REG-06: ${name} equals itself, and no change of one member is lost`, () => {
      const reversed = Object.fromEntries(Object.entries(document).reverse())
      expect(compare(document, reversed)).toEqual({ change: "none", members: [] })
      for (const member of Object.keys(document)) {
        const { [member]: removed, ...rest } = document
        const expected = { change: shown.includes(member) ? "display" : "security", members: [member] }
        expect(compare(document, rest)).toEqual(expected)
        expect(compare(rest, document)).toEqual(expected)
        expect(compare(document, { ...document, [member]: [removed ?? null] })).toEqual(expected)
      }
    })
  }

  const anyObject = fc.dictionary(
    fc.oneof(fc.constantFrom(...registered), fc.string()).filter((name) => name !== "__proto__"),
    fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as ClientMetadata.Json)
  )

  it("REG-06: a member that appears, goes or is security is never overlooked, in either direction (property)", () => {
    const isShown = (name: string) => shown.includes(name) || shown.includes(name.split("#")[0] ?? "")
    return assertInSlices(
      fc.property(anyObject, anyObject, (before, after) => {
        const { change, members } = compare(before, after)
        const opposite = compare(after, before)
        const overlooked = [...Object.keys(before), ...Object.keys(after)].filter((name) =>
          Object.hasOwn(before, name) !== Object.hasOwn(after, name) && !members.includes(name)
        )
        return overlooked.length === 0 &&
          opposite.change === change && opposite.members.join() === members.join() &&
          (canonical(before) !== canonical(after) || change === "none") &&
          (members.every(isShown) || change === "security") &&
          (change === "none") === (members.length === 0)
      }),
      numRuns
    )
  })
})

describe("canonical", () => {
  it("REG-01: sorts members at every depth and writes no whitespace (RFC 8785)", () => {
    expect(canonical({ b: [3, { d: null, c: true }], a: "ä\u20ac\"", "\ud83d\ude00": 1e21, "\ufb33": -0 })).toBe(
      "{\"a\":\"ä€\\\"\",\"b\":[3,{\"c\":true,\"d\":null}],\"\ud83d\ude00\":1e+21,\"\ufb33\":0}"
    )
  })

  it("REG-01: keeps the value, whatever the order of its members (property)", () => {
    const anyJson = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as ClientMetadata.Json)
    return assertInSlices(
      fc.property(anyJson, (value) => {
        expect(JSON.parse(canonical(value))).toEqual(value)
        expect(canonical(JSON.parse(canonical(value)))).toBe(canonical(value))
      }),
      numRuns
    )
  })
})
