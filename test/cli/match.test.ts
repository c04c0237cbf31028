import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { built, cimd } from "./command.js"

built()

const folder = mkdtempSync(join(tmpdir(), "cimd-match-"))
afterAll(() => rmSync(folder, { recursive: true }))

const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

const document = file(
  "client.json",
  JSON.stringify({
    redirect_uris: [
      "https://app.example/callback",
      "http://127.0.0.1:3000/callback",
      "http://localhost/callback",
      "com.example.app:/callback"
    ]
  })
)

const match = (uri: string, ...flags: ReadonlyArray<string>) => cimd(["match", uri, "--metadata", document, ...flags])

describe("cimd match", () => {
  it("RED-01: a URI that equals a registered one matches", async () => {
    const { exitCode, stderr, stdout } = await match("https://app.example/callback", "--json")
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      requested: "https://app.example/callback",
      registered: "https://app.example/callback",
      reason: "it equals a registered redirect URI",
      issues: []
    })
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  })

  it("RED-01: a URI that differs by one character does not match", async () => {
    const { exitCode, stdout } = await match("https://app.example/callback/", "--json")
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      registered: null,
      reason: "it does not equal any registered redirect URI"
    })
    expect(exitCode).toBe(1)
  })

  it("RED-02: another port of the same loopback address matches", async () => {
    const { exitCode, stdout } = await match("http://127.0.0.1:51004/callback", "--json")
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, registered: "http://127.0.0.1:3000/callback" })
    expect(exitCode).toBe(0)
  })

  it("RED-03: another port of localhost matches only with --allow-localhost-port", async () => {
    const refused = await match("http://localhost:51004/callback")
    expect(refused.stdout).toMatch(/\nno match: .*--allow-localhost-port\n$/)
    expect(refused.exitCode).toBe(1)
    expect((await match("http://localhost:51004/elsewhere")).stdout).not.toContain("--allow-localhost-port")
    expect((await match("https://localhost:51004/callback")).stdout).not.toContain("--allow-localhost-port")
    expect((await match("http://localhost:51004/callback", "--allow-localhost-port")).exitCode).toBe(0)
  })

  it("prints the reason and the registered redirect URIs as text", async () => {
    const { exitCode, stdout } = await match("https://other.example/callback")
    expect(stdout).toContain("registered: https://app.example/callback\n")
    expect(stdout).toMatch(/no match: it does not equal any registered redirect URI\n$/)
    expect(exitCode).toBe(1)
  })

  it.each(["javascript:alert(1)", "search-ms:query=x", "http://evil.example/cb"])(
    "RED-05: %s is refused, although the document registers it",
    async (uri) => {
      const metadata = file("refused.json", JSON.stringify({ redirect_uris: [uri] }))
      const { exitCode, stdout } = await cimd(["match", uri, "--metadata", metadata])
      expect(stdout).toMatch(/\nrefused: no client may have this redirect URI\n$/)
      expect(stdout).not.toMatch(/^match/m)
      expect(exitCode).toBe(1)
      const json = await cimd(["match", uri, "--metadata", metadata, "--json"])
      expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, registered: null, issues: [{ severity: "error" }] })
      expect(json.exitCode).toBe(1)
    }
  )

  it.each([
    "data:text/html,x",
    "blob:https://app.example/1",
    "https://user@app.example/cb",
    "https://app.example\\cb",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    ""
  ])("RED-05: %j is never a match", async (uri) => {
    const metadata = file("never.json", JSON.stringify({ redirect_uris: [uri] }))
    const { exitCode, stdout } = await cimd([
      "match",
      "--metadata",
      metadata,
      "--private-use-scheme",
      "acme",
      "--",
      uri
    ])
    expect(stdout).toMatch(/\nrefused: no client may have this redirect URI\n$/)
    expect(exitCode).toBe(1)
  })

  it("RED-05: a scheme that the server permits matches", async () => {
    const metadata = file("permitted.json", JSON.stringify({ redirect_uris: ["acme:/cb"] }))
    const args = ["match", "acme:/cb", "--metadata", metadata]
    expect((await cimd(args)).stdout).toContain("--private-use-scheme acme\n")
    expect((await cimd([...args, "--private-use-scheme", "other"])).exitCode).toBe(1)
    expect((await cimd([...args, "--private-use-scheme", "ACME"])).exitCode).toBe(0)
  })

  it("DOC-20: a match is refused if the document lacks what the server requires", async () => {
    const uri = "https://app.example/callback"
    const args = ["match", uri, "--metadata"]
    const here = file("here.json", JSON.stringify({ client_id: "https://app.example/c", redirect_uris: [uri] }))
    const away = file("away.json", JSON.stringify({ client_id: "https://other.example/c", redirect_uris: [uri] }))
    expect((await cimd([...args, here, "--same-origin-redirect"])).exitCode).toBe(0)
    const refused = await cimd([...args, away, "--same-origin-redirect"])
    expect(refused.stdout).toMatch(/DOC-20 at \/redirect_uris\/0[^]*\nrefused: the document lacks .*\n$/)
    expect(refused.exitCode).toBe(1)
    expect((await cimd([...args, away])).exitCode).toBe(0)
    expect((await cimd([...args, here, "--mcp"])).stdout).toContain("DOC-20 at /client_name")
    expect((await cimd([...args, here, "--mcp"])).exitCode).toBe(1)
    expect((await cimd([...args, here, "--auth-method", "private_key_jwt"])).stdout).toContain("DOC-22")
  })

  it("DOC-20: without a client id there is no origin to compare with", async () => {
    const { exitCode, stderr, stdout } = await match("https://app.example/callback", "--same-origin-redirect")
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
    expect(stderr).toMatch(/^cimd: --same-origin-redirect needs the client id/)
  })

  it("a document cannot control the terminal", async () => {
    const metadata = file("hostile.json", JSON.stringify({ redirect_uris: ["\u001b[2J\u200b\u{e0041}\u0085"] }))
    const { stdout } = await cimd(["match", "https://app.example/cb", "--metadata", metadata])
    expect(stdout).toContain("  registered: \\u001b[2J\\u200b\\udb40\\udc41\\u0085\n")
    expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
    const repeated = file("hostile-name.json", "{\"\u{e0041}\":1,\"\u{e0041}\":2}")
    const { stderr } = await cimd(["match", "https://app.example/cb", "--metadata", repeated])
    expect(stderr).toMatch(/^cimd: [\x20-\x7e]+\n$/)
  })

  it("RED-05: a scheme that any app can claim does not match", async () => {
    const metadata = file("acme.json", JSON.stringify({ redirect_uris: ["acme:/cb"] }))
    const { exitCode, stdout } = await cimd(["match", "acme:/cb", "--metadata", metadata])
    expect(stdout).toMatch(/\nno match: any app can claim its scheme.*\n$/)
    expect(exitCode).toBe(1)
  })

  it("a document without redirect URIs matches nothing", async () => {
    const { exitCode, stdout } = await cimd([
      "match",
      "https://app.example/callback",
      "--metadata",
      file("no.json", "{}")
    ])
    expect(stdout).toBe("no match: the document registers no redirect URI\n")
    expect(exitCode).toBe(1)
  })

  it("reads the document from standard input", async () => {
    const { exitCode } = await cimd(["match", "https://a.example/b", "--metadata", "-"], {
      stdin: JSON.stringify({ redirect_uris: ["https://a.example/b"] })
    })
    expect(exitCode).toBe(0)
  })

  it.each([
    ["a file that does not exist", join(folder, "missing.json")],
    ["a folder", folder],
    ["a text that is not JSON", file("text.json", "redirect_uris")],
    ["an array", file("array.json", "[]")],
    [
      "redirect_uris that is not an array",
      file("string.json", JSON.stringify({ redirect_uris: "https://app.example/callback" }))
    ],
    [
      "a repeated redirect_uris",
      file("twice.json", "{\"redirect_uris\":[\"https://a.example/\"],\"redirect_uris\":[]}")
    ]
  ])("is a usage error: %s", async (_, metadata) => {
    const { exitCode, stderr, stdout } = await cimd(["match", "https://app.example/callback", "--metadata", metadata])
    expect(stdout).toBe("")
    expect(stderr).toMatch(/^cimd: .+\n$/)
    expect(exitCode).toBe(2)
  })
})
