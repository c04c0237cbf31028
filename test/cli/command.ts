import type { ChildProcessWithoutNullStreams } from "node:child_process"
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import { bundleCommand } from "../../scripts/bundleCommand.js"

// Inside the checkout, so that the bundle finds the packages that it does not contain.
const folder = fileURLToPath(new URL(`../../.cache/command-${process.pid}`, import.meta.url))

/** The file of the command. */
export const commandFile = join(folder, "cimd.js")

/** Builds the command as published, before the tests of the calling file. */
export const built = () => {
  beforeAll(() => bundleCommand(folder))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
}

/** The result of a process. */
export interface Result {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command in its own process, without the DATABASE_URL of the test environment. */
export const cimd = async (
  args: ReadonlyArray<string>,
  options?: {
    readonly stdin?: string
    readonly env?: Readonly<Record<string, string>>
    readonly cwd?: string
    /** Called with the process as soon as it runs. */
    readonly onStart?: (child: ChildProcessWithoutNullStreams) => void
  }
): Promise<Result> => {
  const { DATABASE_URL: _, ...env } = process.env
  const child = spawn(process.execPath, [commandFile, ...args], {
    env: { ...env, ...options?.env },
    cwd: options?.cwd
  })
  options?.onStart?.(child)
  child.stdin.end(options?.stdin ?? "")
  const [exitCode, stdout, stderr] = await Promise.all([
    new Promise<number | null>((resolve, reject) => {
      child.on("error", reject)
      child.on("close", resolve)
    }),
    text(child.stdout),
    text(child.stderr)
  ])
  return { exitCode, stdout, stderr }
}
