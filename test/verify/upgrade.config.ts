/** Nodes of the version before, which serve while the tables are migrated. */
import { defineConfig } from "vitest/config"
import { resolve } from "../../vitest.config.js"

export default defineConfig({
  resolve,
  test: { include: ["test/verify/upgrade.test.ts"], testTimeout: 180_000 }
})
