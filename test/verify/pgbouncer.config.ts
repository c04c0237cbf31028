/** The tests that use Postgres, through PgBouncer in transaction mode, except for those that `leftOut` names. */
import { readdirSync, readFileSync } from "node:fs"
import { defineConfig } from "vitest/config"
import { resolve } from "../../vitest.config.js"
import { leftOut } from "./leftOut.js"
import { postgresTests } from "./postgresTests.js"

const filesOf = (path: string): ReadonlyArray<string> =>
  path.endsWith(".ts")
    ? [path]
    : readdirSync(path).filter((name) => name.endsWith(".test.ts")).map((name) => `${path}/${name}`)

const include = [...postgresTests.flatMap(filesOf), "test/verify/pgbouncer.test.ts"]

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
