import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"

it("the setup of all tests writes why the server did not start", () => {
  const module = new URL("../support/globalSetup.ts", import.meta.url).href
  const program = `
    import setup from ${JSON.stringify(module)}
    await setup({ provide() {} }).catch(() => { process.exitCode = 3 })
  `
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", program],
    {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { ...process.env, POSTGRES_PACKAGE: "embedded-postgres-none" },
      encoding: "utf8",
      timeout: 30_000
    }
  )
  expect(stderr).toContain("The package embedded-postgres-none is missing. Install it (npm install --save-dev")
  expect(status).toBe(3)
})
