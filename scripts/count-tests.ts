/**
 * Prints what the last test run counted, as `N passed, N failed`.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const results: { readonly numPassedTests: number; readonly numFailedTests: number } = JSON.parse(
  readFileSync(fileURLToPath(new URL("../.cache/tests.json", import.meta.url)), "utf8")
)

console.log(`${results.numPassedTests} passed, ${results.numFailedTests} failed`)
