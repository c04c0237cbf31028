import { execFileSync, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { codes } from "../../src/cli/exitCode.js"
import { built, cimd, commandFile } from "./command.js"

built()

const folder = mkdtempSync(join(tmpdir(), "cimd-calls-"))
afterAll(() => rmSync(folder, { recursive: true }))

const document = join(folder, "client.json")
writeFileSync(
  document,
  JSON.stringify({ client_id: "https://app.example/c", redirect_uris: ["https://app.example/cb"] })
)

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
const manifest: { readonly version: string } = JSON.parse(read("package.json"))

const commands = [
  "resolve",
  "lint",
  "match",
  "show",
  "evict",
  "block",
  "unblock",
  "allow",
  "disallow",
  "requests",
  "approve",
  "reject",
  "pin",
  "unpin",
  "audit",
  "migrate",
  "sweep",
  "nodes"
]

describe("cimd", () => {
  it.each([
    ["no command", []],
    ["a command that does not exist", ["frobnicate"]],
    ["a flag that does not exist", ["lint", document, "--frobnicate"]],
    ["a flag without its value", ["lint", document, "--client-id"]],
    ["a missing argument", ["lint"]],
    ["a missing argument before a flag", ["lint", "--json"]],
    ["an extra argument", ["lint", document, document]],
    ["resolve without a client id", ["resolve", "--embedded"]],
    ["match without a document", ["match", "https://app.example/callback"]],
    ["help for a command that does not exist", ["help", "frobnicate"]],
    ["the wizard without a terminal", ["lint", "--wizard"]]
  ])("a usage error exits with 2, prints the reason and what to read on stderr, and no stack: %s", async (_, args) => {
    const { exitCode, stderr, stdout } = await cimd(args)
    expect(stdout).toBe("")
    expect(stderr).toMatch(/\S[^]*cimd help/)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(exitCode).toBe(2)
  })

  it("--version prints the package's version", async () => {
    expect(await cimd(["--version"])).toMatchObject({ exitCode: 0, stdout: `${manifest.version}\n\n`, stderr: "" })
  })

  it("--help lists every command and the exit codes, without colors on a pipe", async () => {
    const { exitCode, stdout } = await cimd(["--help"])
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  - ${command} +[A-Z].+$`, "m"))
    expect([...stdout.matchAll(/^  - ([a-z]+) /gm)].map(([, name]) => name)).toEqual(commands)
    expect(stdout).toMatch(/Exit codes: 0 .*1 .*2 .*3 /)
    expect(stdout).not.toContain("\u001b")
    expect(exitCode).toBe(0)
    expect(await cimd(["help"])).toEqual({ exitCode, stdout, stderr: "" })
  })

  it.each(commands)(
    "help %s prints the same as --help, and how to call it with the name of the program",
    async (name) => {
      const { exitCode, stderr, stdout } = await cimd(["help", name])
      expect(stdout).toMatch(new RegExp(`^\\$ cimd ${name}\\b`, "m"))
      expect(stdout).toContain("--json")
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
      expect(await cimd([name, "--help"])).toEqual({ exitCode, stdout, stderr })
    }
  )

  it("README.md lists every command", () => {
    const listed = [...read("README.md").matchAll(/^\| `cimd (\w+)[^|]* \|/gm)].map(([, name]) => name)
    expect([...new Set(listed)].sort()).toEqual([...commands].sort())
  })

  it("its arguments cannot control the terminal", async () => {
    const hostile = "\u001b[2J\u001b]0;owned\u0007\u200b\u202e\u{e0041}"
    for (
      const args of [["lint", hostile], ["match", hostile, "--metadata", document], [hostile], ["resolve", hostile]]
    ) {
      const { stderr, stdout } = await cimd(args)
      expect(stderr + stdout).toMatch(/^[\n\x20-\x7e]+$/)
    }
  })
})

describe("the exit codes of cimd", () => {
  it("are those of README.md", () => {
    const rows = [...read("README.md").matchAll(/^\| (\d+) \| /gm)].map(([, code]) => Number(code))
    expect(rows).toEqual(Object.values(codes))
  })

  it("130: an interruption while it reads", async () => {
    const pipe = join(folder, "pipe")
    execFileSync("mkfifo", [pipe])
    const child = spawn(process.execPath, [commandFile, "lint", pipe], { stdio: "ignore" })
    const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve({ code, signal })))
    // A pipe opens when its reader has opened it.
    const writer = await open(pipe, "w")
    child.kill("SIGINT")
    // A shell reports this as 130.
    expect(await ended).toEqual({ code: null, signal: "SIGINT" })
    await writer.close()
  })

  it.each([
    ["yes", "https://app.example/cb", 0],
    ["no", "https://app.example/other", 1]
  ])("are kept if the reader closes the pipe: %s", (_, uri, wanted) => {
    const command = `"${process.execPath}" "${commandFile}" match ${uri} --metadata "${document}"`
    const { stderr } = spawnSync("sh", ["-c", `(sleep 0.2; ${command}; echo $? >&2) | true`], { encoding: "utf8" })
    expect(stderr).toBe(`${wanted}\n`)
  })

  it("3: the result could not be printed", () => {
    const args = `"${process.execPath}" "${commandFile}" lint "${document}"`
    const { status, stderr } = spawnSync("sh", ["-c", `${args} > /dev/full`], { encoding: "utf8" })
    expect(stderr).toMatch(/^cimd: The result could not be printed: .*ENOSPC.*\n$/)
    expect(status).toBe(3)
    expect(spawnSync("sh", ["-c", `${args} >&- 2>&-`]).status, "nobody wants the result").toBe(0)
  })
})
