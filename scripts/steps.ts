/** Runs commands one after another, and reports each with its time. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("..", import.meta.url))

export interface Step {
  readonly name: string
  readonly command: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Fails the step if the command prints a warning of Node.js or of npm's peer checks to stderr. */
  readonly warnings?: "fail"
}

// Node.js prints `(node:123) DeprecationWarning: …`.
const warning = /^\(node:\d+\) .*Warning: .*$/m

/** Runs a step; returns whether it succeeded. */
export const run = ({ command, cwd = root, env, name, warnings }: Step): boolean => {
  const [file = "", ...args] = command
  console.log(`\n== ${name}: ${command.join(" ")}`)
  const started = performance.now()
  const { status, stderr } = spawnSync(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", warnings === undefined ? "inherit" : "pipe"],
    encoding: "utf8",
    maxBuffer: 2 ** 28
  })
  if (stderr) process.stderr.write(stderr)
  const warned = warnings === undefined ? undefined : warning.exec(stderr)?.[0]
  if (warned !== undefined) console.log(`-- ${name} printed a warning: ${warned}`)
  const succeeded = status === 0 && warned === undefined
  console.log(`-- ${name}: ${succeeded ? "passed" : "FAILED"} in ${Math.round((performance.now() - started) / 1000)} s`)
  return succeeded
}

/** Runs every step, the ones after a failed step too, prints a summary, and exits with 1 if one failed. */
export const runAll = (steps: ReadonlyArray<Step>): never => {
  const results = steps.map((step) => {
    const started = performance.now()
    const passed = run(step)
    return { name: step.name, passed, seconds: Math.round((performance.now() - started) / 1000) }
  })
  console.log()
  for (const { name, passed, seconds } of results) {
    console.log(`${passed ? "passed" : "FAILED"}  ${String(seconds).padStart(5)} s  ${name}`)
  }
  const failed = results.filter(({ passed }) => !passed).length
  console.log(`${results.length - failed} passed, ${failed} failed`)
  process.exit(failed === 0 ? 0 : 1)
}
