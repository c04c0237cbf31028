/**
 * Builds `dist`: the library with tsc, and the `cimd` command as one bundle.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { createRequire } from "node:module"
import { resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { bundleCommand } from "./bundleCommand.js"

const root = fileURLToPath(new URL("..", import.meta.url))

rmSync(resolve(root, "dist"), { recursive: true, force: true })

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" })
if (status !== 0) process.exit(1)

await bundleCommand(resolve(root, "dist"))
