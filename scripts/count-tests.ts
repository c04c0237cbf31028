/**
 * Prints what the last test run counted, as `N passed, N failed`. A file that failed before its tests could is one more.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const results: {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<{
    readonly status: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string }>
  }>
} = JSON.parse(readFileSync(fileURLToPath(new URL("../.cache/tests.json", import.meta.url)), "utf8"))

const brokenFiles = results.testResults.filter(({ assertionResults, status }) =>
  status === "failed" && !assertionResults.some((test) => test.status === "failed")
)

console.log(`${results.numPassedTests} passed, ${results.numFailedTests + brokenFiles.length} failed`)
