import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { built, cimd } from "./command.js"

built()

const folder = mkdtempSync(join(tmpdir(), "cimd-lint-"))
afterAll(() => rmSync(folder, { recursive: true }))

const clientId = "https://app.example/client.json"

const valid = {
  client_id: clientId,
  client_name: "App",
  redirect_uris: ["https://app.example/callback"],
  token_endpoint_auth_method: "none"
}

let next = 0
const file = (content: string | object) => {
  const path = join(folder, `${next++}.json`)
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content))
  return path
}

const lint = (content: string | object, ...flags: ReadonlyArray<string>) =>
  cimd(["lint", file(content), "--client-id", clientId, ...flags])

const rulesOf = (stdout: string): ReadonlyArray<string> =>
  JSON.parse(stdout).issues.map(({ rule, severity }: { readonly rule: string; readonly severity: string }) =>
    `${severity} ${rule}`
  )

describe("cimd lint", () => {
  it("prints ok and no issues for a valid document, as one line of JSON, and exits with 0", async () => {
    expect(await lint(valid, "--json")).toEqual({
      exitCode: 0,
      stdout: `${JSON.stringify({ ok: true, clientId, issues: [] })}\n`,
      stderr: ""
    })
  })

  it("prints a summary for a valid document as text", async () => {
    expect(await lint(valid)).toEqual({ exitCode: 0, stdout: "valid: 0 errors, 0 warnings\n", stderr: "" })
  })

  it("DOC-19: every issue has a rule, a path, a message, a severity and a source, and nothing else", async () => {
    const { exitCode, stdout } = await lint({
      ...valid,
      client_id: "https://other.example/client.json",
      client_secret: "s",
      redirect_uris: ["javascript:alert(1)"]
    }, "--json")
    const result = JSON.parse(stdout)
    expect(Object.keys(result)).toEqual(["ok", "clientId", "issues"])
    expect(result.ok).toBe(false)
    for (const issue of result.issues) {
      expect(Object.keys(issue)).toEqual(["rule", "path", "message", "severity", "source"])
      expect(issue.message).not.toBe("")
      expect(issue.source).not.toBe("")
    }
    expect(rulesOf(stdout)).toEqual(expect.arrayContaining(["error DOC-04", "error DOC-05", "error DOC-12"]))
    expect(result.issues).toContainEqual(expect.objectContaining({ rule: "DOC-12", path: "/redirect_uris/0" }))
    expect(exitCode).toBe(1)
  })

  it("prints errors, warnings, the source of each, and a summary as text", async () => {
    const { exitCode, stdout } = await lint({ ...valid, client_secret: "s" })
    expect(stdout).toMatch(/^errors:\n {2}DOC-05 at \/client_secret: .+ \(CIMD 4\.1\)\n/)
    expect(stdout).toMatch(/invalid: 1 error, 0 warnings\n$/)
    expect(exitCode).toBe(1)
  })

  it("URL-13: warns of a client id on a host that serves JSON as text/plain", async () => {
    const raw = "https://raw.githubusercontent.com/o/r/main/client.json"
    const { exitCode, stdout } = await cimd(
      ["lint", file({ ...valid, client_id: raw }), "--client-id", raw, "--json"]
    )
    expect(rulesOf(stdout)).toEqual(["warning URL-13"])
    expect(exitCode).toBe(0)
  })

  it("URL-04: the issues of the client id are reported beside those of the document", async () => {
    const broken = `${clientId}#`
    const { exitCode, stdout } = await cimd(
      ["lint", file({ ...valid, client_id: broken, client_secret: "s" }), "--client-id", broken, "--json"]
    )
    const rules = rulesOf(stdout)
    expect(rules).toContain("error URL-04")
    expect(rules).toContain("error DOC-05")
    expect(rules, "the document names the string that was given").not.toContain("error DOC-04")
    expect(exitCode).toBe(1)
  })

  it.each(["nonsense", "http://app.example/c", "https://", "https://[::1/c", "urn:a:b"])(
    "URL-12: a client id that is not an https URL is reported too: %j",
    async (broken) => {
      const { exitCode, stdout } = await cimd(
        ["lint", file(valid), `--client-id=${broken}`, "--same-origin-redirect", "--json"]
      )
      expect(rulesOf(stdout).some((rule) => rule.startsWith("error URL-"))).toBe(true)
      expect(exitCode).toBe(1)
    }
  )

  it("URL-07: a document with only warnings is valid", async () => {
    const withQuery = `${clientId}?v=1`
    const { exitCode, stdout } = await cimd(
      ["lint", file({ ...valid, client_id: withQuery }), "--client-id", withQuery, "--json"]
    )
    expect(rulesOf(stdout)).toEqual(["warning URL-07"])
    expect(exitCode).toBe(0)
  })

  it("URL-10: a loopback client id is refused without --allow-loopback", async () => {
    const loopback = "https://localhost:8443/client.json"
    const args = ["lint", file({ ...valid, client_id: loopback }), "--client-id", loopback]
    const refused = await cimd(args)
    expect(refused.stdout).toContain("hint: --allow-loopback permits this host.\n")
    expect(refused.exitCode).toBe(1)
    expect((await cimd([...args, "--allow-loopback"])).exitCode).toBe(0)
  })

  it("URL-10: a client id on a public address is refused without --allow-address-literals", async () => {
    const address = "https://8.8.8.8/client.json"
    const args = ["lint", file({ ...valid, client_id: address })]
    const refused = await cimd(args)
    expect(refused.stdout).toContain("hint: --allow-address-literals permits a host that is a public address.\n")
    expect(refused.exitCode).toBe(1)
    expect((await cimd([...args, "--allow-address-literals"])).exitCode).toBe(0)
  })

  it("DOC-04: without --client-id the client_id of the document is used", async () => {
    const { exitCode, stdout } = await cimd(["lint", file(valid), "--same-origin-redirect", "--json"])
    expect(JSON.parse(stdout)).toEqual({ ok: true, clientId, issues: [] })
    expect(exitCode).toBe(0)
    const broken = await cimd(["lint", file({ ...valid, client_id: "https://app.example" }), "--json"])
    expect(rulesOf(broken.stdout)).toEqual(["error URL-02"])
    expect(broken.exitCode).toBe(1)
  })

  it.each<[string, string | object, ReadonlyArray<string>]>([
    ["a document without client_id", { ...valid, client_id: undefined }, ["error DOC-04"]],
    ["a client_id that is not a string", { ...valid, client_id: 1 }, ["error DOC-14"]],
    ["a text that is not JSON", "client_id", ["error DOC-02"]],
    ["an array", "[]", ["error DOC-02"]]
  ])("DOC-04: without any client id the document is checked nevertheless: %s", async (_, content, rules) => {
    const { exitCode, stdout } = await cimd(["lint", file(content), "--same-origin-redirect", "--json"])
    expect(rulesOf(stdout)).toEqual(rules)
    expect(JSON.parse(stdout).clientId).toBe(null)
    expect(stdout).not.toContain("\\\"\\\"")
    expect(exitCode).toBe(1)
  })

  it("RED-05: a scheme that the server permits can match", async () => {
    const document = { ...valid, redirect_uris: ["acme:/cb"] }
    expect((await lint(document)).exitCode).toBe(1)
    expect((await lint(document, "--private-use-scheme", "acme")).exitCode).toBe(0)
  })

  it.each(["SMB", "acme:", "ac me"])(
    "DOC-12: a scheme that no server can permit is a usage error: %j",
    async (scheme) => {
      const { exitCode, stderr, stdout } = await lint(valid, `--private-use-scheme=${scheme}`)
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" })
      expect(stderr).toMatch(/^cimd: --private-use-scheme: .+\n$/)
    }
  )

  it("DOC-22: the server's authentication methods count", async () => {
    expect((await lint(valid, "--auth-method", "none", "--auth-method=private_key_jwt")).exitCode).toBe(0)
    const { exitCode, stdout } = await lint(valid, "--auth-method", "private_key_jwt", "--json")
    expect(rulesOf(stdout)).toEqual(["error DOC-22"])
    expect(exitCode).toBe(1)
  })

  it("FET-07: a document that is too large for the default limit has a warning", async () => {
    const { exitCode, stdout } = await lint({ ...valid, filler: "x".repeat(5120) }, "--json")
    expect(rulesOf(stdout)).toEqual(["warning FET-07"])
    expect(exitCode).toBe(0)
  })

  it("RED-05: a document none of whose redirect URIs can match is refused", async () => {
    const { exitCode, stdout } = await lint({ ...valid, redirect_uris: ["acme:/cb"] }, "--json")
    expect(rulesOf(stdout)).toEqual(["warning DOC-12", "error RED-05"])
    expect(exitCode).toBe(1)
    expect((await lint({ ...valid, redirect_uris: ["acme:/cb", "http://127.0.0.1/cb"] })).exitCode).toBe(0)
    expect((await lint({ client_id: clientId, grant_types: ["client_credentials"] })).exitCode).toBe(0)
  })

  it("DOC-20: the profiles are off by default", async () => {
    const { client_name: _, ...nameless } = valid
    expect((await lint(nameless)).exitCode).toBe(0)
    expect(rulesOf((await lint(nameless, "--mcp", "--json")).stdout)).toEqual(["error DOC-20"])
    const elsewhere = { ...valid, redirect_uris: ["https://other.example/callback"] }
    expect((await lint(elsewhere)).exitCode).toBe(0)
    expect(rulesOf((await lint(elsewhere, "--same-origin-redirect", "--json")).stdout)).toEqual(["error DOC-20"])
  })

  it("DOC-02: a text that is not JSON is an invalid document, not a usage error", async () => {
    const { exitCode, stdout } = await lint("{", "--json")
    expect(rulesOf(stdout)).toEqual(["error DOC-02"])
    expect(exitCode).toBe(1)
  })

  it("an empty file is an invalid document", async () => {
    const { exitCode } = await lint("")
    expect(exitCode).toBe(1)
  })

  it.each([
    [["lint", "-", "--client-id", clientId, "--json"]],
    [["lint", "--client-id", clientId, "--json", "-"]],
    [["lint", "--json", "-", "--client-id", clientId]]
  ])("reads standard input wherever the dash is: %j", async (args) => {
    expect(await cimd(args, { stdin: JSON.stringify(valid) })).toMatchObject({
      exitCode: 0,
      stdout: `${JSON.stringify({ ok: true, clientId, issues: [] })}\n`
    })
  })

  it("a document cannot control the terminal", async () => {
    const hostile = {
      ...valid,
      ["\u001b]0;owned\u0007\u009b2J\u202e\u061c\u200b\u034f\u2800\ufe0f\u{e0041}"]: 1,
      redirect_uris: ["\u001b[2Jjavascript:x\u009b"]
    }
    for (const flags of [[], ["--json"]]) {
      const { exitCode, stdout } = await lint(hostile, ...flags)

      expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
      expect(exitCode).toBe(1)
    }
  })

  it("DOC-25: the report of a hostile document is bounded", async () => {
    const keywords = Array.from({ length: 5000 }, () => "\u007f")
    const { exitCode, stdout } = await lint({ ...valid, [`keywords#${"x".repeat(30_000)}`]: keywords })
    expect(stdout.length).toBeLessThan(100_000)
    expect(exitCode).toBe(1)
  })

  it("DOC-25: at most 1 MiB is read, of a file, of a device without end and of standard input", async () => {
    const large = `${" ".repeat(1024 * 1024)}{}`
    for (const path of [file(large), "/dev/zero"]) {
      const { exitCode, stderr } = await cimd(["lint", path, "--client-id", clientId])
      expect({ exitCode, stderr }).toEqual({
        exitCode: 2,
        stderr: `cimd: The file ${path} has more than 1048576 bytes.\n`
      })
    }
    const { exitCode, stderr } = await cimd(["lint", "-", "--client-id", clientId], { stdin: large })
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: "cimd: Standard input has more than 1048576 bytes.\n" })
  })

  it.each(["json", "text"])("reads a binary file without printing it: %s", async (form) => {
    const path = join(folder, "binary")
    writeFileSync(path, Uint8Array.from({ length: 4096 }, (_, index) => (index * 7) % 256))
    const { exitCode, stderr, stdout } = await cimd(["lint", path, ...(form === "json" ? ["--json"] : [])])
    expect(stdout).toContain("DOC-01")
    expect(stdout).toMatch(/^[\n\x20-\x7e]+$/)
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: "" })
  })

  it("reads a pipe with a name", async () => {
    const pipe = join(folder, "pipe")
    execFileSync("mkfifo", [pipe])
    const [{ exitCode }] = await Promise.all([cimd(["lint", pipe]), writeFile(pipe, JSON.stringify(valid))])
    expect(exitCode).toBe(0)
  })

  it("a folder is a usage error", async () => {
    expect(await cimd(["lint", folder])).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `cimd: The file ${folder} is a folder.\n`
    })
  })

  it("a file that does not exist is a usage error", async () => {
    const missing = join(folder, "missing.json")
    expect(await cimd(["lint", missing, "--client-id", clientId, "--json"])).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `cimd: The file ${missing} does not exist.\n`
    })
  })
})
