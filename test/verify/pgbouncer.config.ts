/** The tests that use Postgres, through PgBouncer in transaction mode, except for those that `leftOut` names. */
import { readdirSync, readFileSync } from "node:fs"
import { defineConfig } from "vitest/config"
import { resolve } from "../../vitest.config.js"
import { leftOut } from "./leftOut.js"

const testsIn = (folder: string) =>
  readdirSync(folder).filter((name) => name.endsWith(".test.ts")).map((name) => `${folder}/${name}`)

const include = [
  "test/Metrics.test.ts",
  "test/PostgresCache.test.ts",
  "test/Resolver.test.ts",
  "test/Sweeper.test.ts",
  ...testsIn("test/cluster"),
  ...testsIn("test/postgres"),
  "test/verify/pgbouncer.test.ts"
]

const sources = include.map((file) => readFileSync(file, "utf8")).join("\n")
console.log("Left out, because PgBouncer in transaction mode cannot pass them:")
for (const [test, reason] of leftOut) {
  if (!sources.includes(test)) throw new Error(`test/verify/leftOut.ts names a test that does not exist: ${test}`)
  console.log(`  ${test}: ${reason}`)
}

export default defineConfig({
  resolve,
  test: {
    include,
    globalSetup: ["test/support/globalSetup.ts", "test/verify/pgbouncerSetup.ts"],
    env: { POOLER: "transaction" },
    silent: "passed-only",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    fileParallelism: false
  }
})
