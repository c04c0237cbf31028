import { expect, it } from "@effect/vitest"
import { removeFolder } from "effect-cimd/testing/internal/removeFolder"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

// Writes new files for a second, faster than `rm` removes them.
const writer = `
const { mkdirSync, writeFileSync } = require("node:fs")
const folder = process.argv[1]
mkdirSync(folder, { recursive: true })
process.stdout.write("started")
const end = Date.now() + 1000
for (let number = 0; Date.now() < end; number++) {
  try { writeFileSync(folder + "/" + number, "") } catch {}
}
`

it.live("removes a folder that a process still writes into", () =>
  Effect.gen(function*() {
    const folder = yield* Effect.promise(() => mkdtemp(join(tmpdir(), "cimd-remove-")))
    const child = spawn(process.execPath, ["-e", writer, join(folder, "one/two/three")])
    const closed = new Promise((resolve) => child.on("close", resolve))
    yield* Effect.promise(() => new Promise((resolve) => child.stdout.once("data", resolve)))
    yield* removeFolder(folder)
    expect(existsSync(folder)).toBe(false)
    yield* Effect.promise(() => closed)
  }))
