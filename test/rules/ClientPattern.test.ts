import { describe, expect, it } from "@effect/vitest"
import { ClientId } from "effect-cimd"
import * as fc from "effect/FastCheck"
import * as ClientPattern from "../../src/internal/rules/clientPattern.js"
import { assertInSlices } from "../support/properties.js"

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2000)

const patternOf = (text: string): ClientPattern.ClientPattern => {
  const subject = ClientPattern.parse(text)
  if (!("_tag" in subject) || subject._tag !== "Pattern") throw new Error(`${text}: ${JSON.stringify(subject)}`)
  return subject.pattern
}

const blocks = (pattern: string, clientId: string) =>
  ClientPattern.matcher([patternOf(pattern)]).any(clientId) !== undefined
const allows = (pattern: string, clientId: string) =>
  ClientPattern.matcher([patternOf(pattern)]).every(clientId) !== undefined

describe("parse", () => {
  it.each([
    ["app.example", "app.example/"],
    ["app.example/", "app.example/"],
    ["*.app.example", "*.app.example/"],
    ["*.app.example/team/", "*.app.example/team/"],
    ["app.example/~a/b_c-d.e/", "app.example/~a/b_c-d.e/"],
    ["localhost", "localhost/"],
    ["127.0.0.1/a/", "127.0.0.1/a/"],
    ["2606:4700::1", "2606:4700::1/"],
    ["https://app.example/client.json", "https://app.example/client.json"],
    ["https://app.example:8443/c?x=1", "https://app.example:8443/c?x=1"],
    ["https://localhost/c", "https://localhost/c"],
    ["https://[::1]/c", "https://[::1]/c"]
  ])("REG-11: reads %s as %s", (text, key) => {
    const subject = ClientPattern.parse(text)
    expect("_tag" in subject ? ClientPattern.keyOf(subject) : subject).toBe(key)
  })

  it.each([
    ["", "begin with a host"],
    ["*", "begin with a host"],
    ["/team/", "begin with a host"],
    ["*/team/", "begin with a host"],
    ["App.example", "write app.example"],
    ["app.example.", "remove the dot"],
    ["app.*.example", "may only stand for the first labels"],
    ["app.example:8443", "only the host"],
    ["ftp://app.example/", "only the host"],
    ["app.example/team", "must end with \"/\""],
    ["app.example/client.json", "its whole client id"],
    ["app.example//", "empty segment"],
    ["app.example/a//b/", "empty segment"],
    ["app.example/%61/", "percent-encoding"],
    ["app.example/a;b/", "\";\""],
    ["app.example/a?b/", "only the characters"],
    ["app.example/a b/", "only the characters"],
    ["app.example/../", "segment"],
    ["app.example/a/./", "segment"],
    [`app.example/${"a".repeat(2048)}/`, "at most 2048"],
    [7, "must be a string, but is a number"]
  ])("REG-11: refuses %j", (text, message) => {
    const issues = ClientPattern.parse(text)
    expect(issues).toEqual([{
      rule: "REG-11",
      severity: "error",
      path: "/subject",
      message: expect.stringContaining(message),
      source: expect.any(String)
    }])
  })

  it.each(["https://app.example", "https://app.example/#", "http://app.example/c", "HTTPS://app.example/c"])(
    "REG-11: refuses %s by the rules of client ids",
    (text) => {
      expect(ClientPattern.parse(text)).toContainEqual(
        expect.objectContaining({ rule: expect.stringMatching(/^URL-/) })
      )
    }
  )
})

describe("matcher", () => {
  it.each([
    ["app.example", "https://app.example/c", true],
    ["app.example", "https://app.example:8443/c?x", true],
    ["app.example", "https://sub.app.example/c", false],
    ["app.example", "https://xapp.example/c", false],
    ["*.app.example", "https://a.b.app.example/c", true],
    ["*.app.example", "https://app.example/c", false],
    ["*.app.example", "https://evilapp.example/c", false],
    ["*.example", "https://app.example/c", true],
    ["127.0.0.1", "https://127.0.0.1/c", true],
    ["2606:4700::1", "https://[2606:4700::1]:8443/c", true],
    ["app.example/team/", "https://app.example/team/c", true],
    ["app.example/team/", "https://app.example/team/", true],
    ["app.example/team/", "https://app.example/team", false],
    ["app.example/team/", "https://app.example/teams/c", false],
    ["app.example/team/", "https://app.example/other/team/c", false],
    ["app.example/team/", "https://app.example/other?/team/", false],
    ["app.example/team/", "https://app.example/team/c?/../", true],
    ["*.app.example/team/", "https://a.app.example/team/c", true],
    ["*.app.example/team/", "https://a.app.example/other/c", false]
  ])("REG-11: a block and an allow of %s agree on %s: %s", (pattern, clientId, expected) => {
    expect([blocks(pattern, clientId), allows(pattern, clientId)]).toEqual([expected, expected])
  })

  it.each([
    "https://app.example/%74eam/c",
    "https://app.example/%2574eam/c",
    "https://app.example//team/c",
    "https://app.example/TEAM/c",
    "https://app.example/other/..%2fteam/c",
    "https://app.example/other/..%5Cteam/c",
    "https://app.example/other%2f..%2Fteam%2fc",
    "https://app.example/other/..;x/team/c",
    "https://app.example/team;x=1/c",
    "https://app.example/other/%252e%252e/team/c",
    "https://app.example/team%2fc",
    "https://app.example/team/..%2fother/c",
    "https://app.example/team/..;/other/c",
    "https://app.example/team/%252e%252e/other/c"
  ])("REG-11: servers disagree on %s, so it is blocked and not allowed", (clientId) => {
    expect(ClientId.is(clientId)).toBe(true)
    expect([blocks("app.example/team/", clientId), allows("app.example/team/", clientId)]).toEqual([true, false])
  })

  it.each(["https://app.example/other/a%2Fb", "https://app.example/other;v=1/c", "https://app.example/a%20b"])(
    "REG-11: %s is not below another path, however it is read",
    (clientId) => {
      expect([blocks("app.example/team/", clientId), allows("app.example/team/", clientId)]).toEqual([false, false])
      expect([blocks("app.example", clientId), allows("app.example", clientId)]).toEqual([true, true])
    }
  )

  it("REG-11: of several patterns, it returns one that matches", () => {
    const { any, every } = ClientPattern.matcher(
      ["app.example/a/", "app.example/b/", "*.example/c/", "*.app.example"].map(patternOf)
    )
    expect(any("https://app.example/b/x")).toEqual({ host: "app.example", path: "/b/" })
    expect(every("https://app.example/c/x")).toEqual({ host: "*.example", path: "/c/" })
    expect(any("https://app.example/d/x")).toBeUndefined()
    expect(ClientPattern.matcher([]).any("https://app.example/d/x")).toBeUndefined()
  })

  const label = fc.constantFrom("a", "b", "app")
  const host = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => [...labels, "example"].join("."))
  const path = fc.array(fc.constantFrom("a", "b", "%61", "a;x", "..%2f", "%2e%2e%2fa", "", "A"), { maxLength: 4 })
    .map((segments) => `/${segments.map((segment) => `${segment}/`).join("")}c`)
  const client = fc.tuple(host, path).map(([host, path]) => `https://${host}${path}`).filter((text) =>
    ClientId.is(text)
  )
  const pattern = fc.record({
    host: fc.tuple(fc.constantFrom("", "*."), host).map(([star, host]) => star + host),
    path: fc.array(fc.constantFrom("a", "b"), { maxLength: 2 }).map((names) => `/${names.map((n) => `${n}/`).join("")}`)
  })

  it("REG-11: an allowed client is below its pattern as written, and what is allowed can be blocked (property)", () => {
    return assertInSlices(
      fc.property(client, fc.array(pattern, { maxLength: 5 }), (clientId, patterns) => {
        const { any, every } = ClientPattern.matcher(patterns)
        const { hostname, pathname } = new URL(clientId)
        const onHost = patterns.filter(({ host }) =>
          host.startsWith("*.") ? hostname.endsWith(host.slice(1)) : host === hostname
        )
        const written = onHost.filter(({ path }) => pathname.startsWith(path))
        const allowed = every(clientId)
        if (allowed !== undefined) {
          expect(written).toContainEqual(allowed)
          expect(any(clientId)).toBeDefined()
        }
        if (written.length > 0) expect(any(clientId)).toBeDefined()
        if (!/[%;]|\/\//.test(pathname)) expect(allowed !== undefined).toBe(written.length > 0)
        if (onHost.length === 0) expect(any(clientId)).toBeUndefined()
      }),
      numRuns
    )
  })
})
