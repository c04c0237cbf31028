import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

/** Tests that measure time, or start processes which compete for the machine: one file at a time, after all others. */
const timed = [
  "test/Sweeper.test.ts",
  "test/cluster/**/*.test.ts",
  "test/fetch/FetcherLifecycle.test.ts",
  "test/fetch/FetcherDialing.test.ts",
  "test/postgres/Coherence.test.ts",
  "test/postgres/PreparedQuery.test.ts"
]

const all = ["test/**/*.test.ts"]
/** Tests with servers of Debian's packages, which `npm run verify` runs by configurations of their own. */
const verify = "test/verify/**"
const shared = { silent: "passed-only" as const, testTimeout: 30_000, hookTimeout: 60_000 }

export const resolve = {
  alias: [
    { find: /^effect-cimd\/testing$/, replacement: src("testing/index.ts") },
    { find: /^effect-cimd$/, replacement: src("index.ts") },
    { find: /^effect-cimd\/(.*)$/, replacement: src("$1.ts") }
  ]
}

export default defineConfig({
  resolve,
  test: {
    globalSetup: ["test/support/globalSetup.ts"],
    silent: "passed-only",
    maxWorkers: 2,
    minWorkers: 1,
    projects: [
      {
        extends: true,
        test: { ...shared, name: "fast", include: all, exclude: [...timed, verify], sequence: { groupOrder: 0 } }
      },
      {
        extends: true,
        test: {
          ...shared,
          name: "timed",
          include: timed,
          poolOptions: { forks: { singleFork: true } },
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})
