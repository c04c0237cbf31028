/** An authorization server and the SDK of the Model Context Protocol, which is installed apart. */
import { defineConfig } from "vitest/config"
import { resolve } from "../../vitest.config.js"

export default defineConfig({
  resolve,
  test: { include: ["test/verify/mcp.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 }
})
