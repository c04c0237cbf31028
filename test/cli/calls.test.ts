import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { built, cimd } from "./command.js"

built()

const manifest: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8")
)

describe("cimd", () => {
  it.each([
    ["no command", []],
    ["a command that does not exist", ["frobnicate"]],
    ["a flag that does not exist", ["lint", "file", "--client-id", "x", "--frobnicate"]],
    ["a flag without its value", ["lint", "file", "--client-id"]],
    ["a missing required flag", ["lint", "file"]],
    ["a missing argument", ["lint", "--client-id", "x"]],
    ["an extra argument", ["lint", "a", "b", "--client-id", "x"]],
    ["resolve without a client id", ["resolve", "--embedded"]],
    ["match without a document", ["match", "https://app.example/callback"]]
  ])("a usage error exits with 2, prints the reason on stderr, and prints no stack: %s", async (_, args) => {
    const { exitCode, stderr, stdout } = await cimd(args)
    expect(stdout).toBe("")
    expect(stderr.trim()).not.toBe("")
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(exitCode).toBe(2)
  })

  it("--version prints the package's version", async () => {
    expect(await cimd(["--version"])).toMatchObject({ exitCode: 0, stdout: `${manifest.version}\n\n`, stderr: "" })
  })

  it("--help lists every command, without colors on a pipe", async () => {
    const { exitCode, stdout } = await cimd(["--help"])
    for (const command of ["resolve", "lint", "match", "migrate", "sweep"]) expect(stdout).toContain(`- ${command}`)
    expect(stdout).not.toContain("\u001b")
    expect(exitCode).toBe(0)
  })
})
