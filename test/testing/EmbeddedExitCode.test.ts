import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"

it("a process that used the embedded server ends with the exit code it chose", () => {
  const module = new URL("../../src/testing/Postgres.ts", import.meta.url).href
  const program = `
    import * as Effect from "effect/Effect"
    import { embedded } from ${JSON.stringify(module)}
    await Effect.runPromise(Effect.scoped(embedded()))
    process.exitCode = 3
  `
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", program],
    { cwd: fileURLToPath(new URL("../..", import.meta.url)), encoding: "utf8", timeout: 30_000 }
  )
  expect({ status, stderr }).toEqual({ status: 3, stderr: "" })
})
