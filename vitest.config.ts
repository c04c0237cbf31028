import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-cimd\/testing$/, replacement: src("testing/index.ts") },
      { find: /^effect-cimd$/, replacement: src("index.ts") },
      { find: /^effect-cimd\/(.*)$/, replacement: src("$1.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    reporters: ["default", ["json", { outputFile: ".cache/tests.json" }]],
    silent: "passed-only",
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
