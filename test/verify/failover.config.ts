/** The nodes of a cluster over a primary and its standby, of which the standby takes over. */
import { defineConfig } from "vitest/config"
import { resolve } from "../../vitest.config.js"

export default defineConfig({
  resolve,
  test: { include: ["test/verify/failover.test.ts"], testTimeout: 120_000, hookTimeout: 60_000 }
})
