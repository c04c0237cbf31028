import { ClientMetadata } from "effect-cimd"
import * as fc from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import * as Members from "../src/internal/rules/memberTypes.js"
import { assertInSlices } from "./support/properties.js"
import { accepted, brief, issuesOf, minimal } from "./support/validate.js"

const members: ReadonlyArray<{ readonly name: string; readonly source: string; readonly example: unknown }> = JSON
  .parse(
    readFileSync(new URL("./fixtures/members.json", import.meta.url), "utf8")
  )
const documents: ReadonlyArray<{ readonly name: string; readonly doc: object }> = JSON.parse(
  readFileSync(new URL("../examples/documents.json", import.meta.url), "utf8")
)

// `jwks` beside `jwks_uri` would be an issue of its own.
const others = (name: string) => name === "jwks" ? { token_endpoint_auth_method: "none" } : {}

describe("ClientMetadata", () => {
  it("DOC-14: the schema has every registered member and no other", () => {
    expect([...Members.names].sort()).toEqual(members.map((member) => member.name).sort())
  })

  const values: ReadonlyArray<unknown> = [null, true, 5, -1, 1.5, "text", ["text"], [5], [null], {}, []]
  const kind = (value: unknown): string =>
    value === null
      ? "null"
      : Array.isArray(value)
      ? `array of ${[...new Set(value.map(kind))].join()}`
      : typeof value

  for (const { example, name, source } of members) {
    it(`DOC-14: ${name} (${source}) has its registered type, and no other`, () => {
      expect(brief({ ...others(name), [name]: example })).toEqual([])
      for (const value of values) {
        // An empty array is an array of strings. An object is checked further if its members are registered.
        const fits = kind(value) === kind(example) ||
          (Array.isArray(example) && Array.isArray(value) && value.length === 0)
        const wrong = brief({ ...others(name), [name]: value }).filter((issue) => issue.includes("DOC-14"))
        if (fits && typeof value === "number") {
          expect(wrong).toHaveLength(value === 5 ? 0 : 1)
        } else if (fits && name !== "jwks" && name !== "software_statement") {
          expect(wrong).toEqual([])
        } else if (!fits) {
          expect(wrong[0]).toContain(`DOC-14 /${name}`)
        }
      }
    })
  }

  it("DOC-14: the message names the required type and the actual one", () => {
    const message = (name: string, value: unknown) => issuesOf({ ...minimal, [name]: value })[0]?.message
    expect(message("client_name", null)).toBe("The value must be a string, not null.")
    expect(message("scope", ["openid"])).toBe("The value must be a string, not an array.")
    expect(message("grant_types", "authorization_code")).toBe("The value must be an array of strings, not a string.")
    expect(message("dpop_bound_access_tokens", "true")).toBe(
      "The value must be true or false, without quotes, not a string."
    )
    expect(message("default_max_age", "3600")).toContain("a whole number of seconds")
    expect(message("jwks", [])).toBe("The value must be an object, not an array.")
  })

  const international = [
    "client_name",
    "client_uri",
    "logo_uri",
    "tos_uri",
    "policy_uri",
    "organization_name",
    "organization_uri",
    "display_name",
    "description",
    "keywords",
    "information_uri"
  ]
  for (const name of international) {
    it(`DOC-14: ${name} in another language has the type of ${name}`, () => {
      const example = members.find((member) => member.name === name)?.example
      expect(brief({ [`${name}#ja-Hani-JP`]: example })).toEqual([])
      expect(brief({ [`${name}#ja`]: 5 })).toEqual([`error DOC-14 /${name}#ja`])
      expect(brief({ [`${name}#ja`]: null })).toEqual([`error DOC-14 /${name}#ja`])
      expect(brief({ [`${name}#`]: example })).toEqual([`warning DOC-14 /${name}#`])
      expect(brief({ [`${name}#_`]: example })).toEqual([`warning DOC-14 /${name}#_`])
    })
  }

  it("DOC-15: a language tag on any other member makes it an unknown member", () => {
    expect(brief({ "scope#ja": 5, "redirect_uris#ja": null, "#": 1, "#ja": 2 })).toEqual([])
  })

  it("DOC-15: an unknown member is kept, and is in json beside the typed metadata", () => {
    const document = accepted({
      ...minimal,
      "client_name#ja": "例",
      "@context": ["https://schema.example"],
      x: { y: null }
    })
    expect(document.metadata["client_name#ja"]).toBe("例")
    expect(document.json["@context"]).toEqual(["https://schema.example"])
    expect(document.json["x"]).toEqual({ y: null })
    expect(document.metadata).toBe(document.json)
  })

  it("the schema decodes the published documents", () => {
    for (const { doc } of documents) {
      expect(Schema.is(ClientMetadata.ClientMetadata)(doc)).toBe(true)
    }
  })

  it("DOC-14: the validator reports a wrong type exactly where the schema does", async () => {
    const value = fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(...values, { keys: [] }, { keys: [{}] }, { keys: [{ kty: "X", x5c: ["a"] }] }, {
        keys: [{ kty: 1 }]
      }),
      fc.jsonValue()
    )
    const name = fc.oneof(
      fc.constantFrom(...Members.names),
      fc.constantFrom(...international).map((name) => `${name}#en`),
      fc.string()
    )
    const isMetadata = Schema.is(ClientMetadata.ClientMetadata)
    await assertInSlices(
      fc.property(fc.dictionary(name, value, { maxKeys: 6, noNullPrototype: true }), (generated) => {
        let wrong = 0
        const visitor = { wrongType: () => wrong++, meaning: () => undefined }
        const document: { readonly [name: string]: unknown } = { client_id: "x", ...generated }
        for (const name of Object.keys(document)) {
          Members.find(name)?.(document[name], [name], visitor)
        }
        expect(wrong === 0).toBe(isMetadata(document))
      }),
      Number(process.env["PROPERTY_RUNS"] ?? 1000)
    )
  })
})

describe("ClientMetadata.authMethods", () => {
  it("DOC-07: without both members the method is none", () => {
    expect(ClientMetadata.authMethods({})).toEqual(["none"])
  })
  it("DOC-07: with the list alone the methods are those listed, and none is not among them by default", () => {
    const token_endpoint_auth_methods_supported = ["private_key_jwt"]
    expect(ClientMetadata.authMethods({ token_endpoint_auth_methods_supported })).toEqual(["private_key_jwt"])
    expect(ClientMetadata.authMethods({ token_endpoint_auth_methods_supported: [] })).toEqual([])
  })
  it("DOC-22: the preferred method comes first, and no method comes twice", () => {
    expect(ClientMetadata.authMethods({ token_endpoint_auth_method: "private_key_jwt" })).toEqual(["private_key_jwt"])
    expect(ClientMetadata.authMethods({
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_methods_supported: ["none", "private_key_jwt", "none"]
    })).toEqual(["private_key_jwt", "none"])
  })
})
