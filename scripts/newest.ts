/**
 * Runs types, the Postgres tests and the demo with the newest version in the range of every peer, in a copy of this
 * folder. A warning that Node.js prints fails it: what is deprecated today is an error of the next major version.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { root, run } from "./steps.js"

interface Manifest {
  readonly devDependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

const manifest: Manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const folder = mkdtempSync(join(tmpdir(), "effect-cimd-newest-"))
const left = new Set(["node_modules", "dist", ".git", ".cache"])

let passed = false
try {
  cpSync(root, folder, { recursive: true, filter: (source) => !left.has(relative(root, source)) })
  // The other packages of Effect are released together with the peers, so they follow them.
  const newest = Object.fromEntries(
    Object.entries(manifest.devDependencies).map(([name, version]) => {
      const range = manifest.peerDependencies[name]
      if (range !== undefined && range !== "*") return [name, range]
      return [name, name.startsWith("@effect/") ? `^${version}` : version]
    })
  )
  writeFileSync(join(folder, "package.json"), JSON.stringify({ ...manifest, devDependencies: newest }, undefined, 2))
  rmSync(join(folder, "package-lock.json"))
  const peers = Object.keys(manifest.peerDependencies)
  passed = [
    { name: "install", command: ["npm", "install", "--no-audit", "--no-fund"], cwd: folder },
    { name: "versions", command: ["npm", "ls", "--depth", "0", ...peers], cwd: folder },
    { name: "types", command: ["npm", "run", "--silent", "check"], cwd: folder },
    {
      name: "Postgres tests",
      command: ["npx", "vitest", "run", "test/PostgresCache.test.ts", "test/Resolver.test.ts", "test/postgres"],
      cwd: folder,
      warnings: "fail" as const
    },
    { name: "demo", command: ["npm", "start", "--silent"], cwd: folder, warnings: "fail" as const }
  ].every(run)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exit(passed ? 0 : 1)
