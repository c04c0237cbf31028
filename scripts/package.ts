/**
 * Checks the package as it would be published: packs it once, lints the tarball, installs it in an empty folder with
 * nothing but what it asks for, and uses it there.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const manifest: {
  readonly devDependencies: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, unknown>>
} = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)

const fail = (message: string): never => {
  console.error(`package: ${message}`)
  process.exit(1)
}

const run = (
  command: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly exit?: number; readonly says?: string }
): string => {
  const [file = "", ...args] = command
  const { status, stderr, stdout } = spawnSync(file, args, { cwd: options.cwd, encoding: "utf8" })
  if (status !== (options.exit ?? 0) || !stderr.includes(options.says ?? "")) {
    fail(`${command.join(" ")} exited ${status}\n${stdout}\n${stderr}`)
  }
  return stdout
}

const entry = (name: string): string => name === "index" ? "." : `./${name}`
const publicModules = readdirSync(join(root, "src"))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => entry(name.slice(0, -".ts".length)))
const exported = Object.keys(manifest.exports)
const unexported = [...publicModules, "./testing", "./package.json"].filter((name) => !exported.includes(name))
if (unexported.length > 0) fail(`not in the exports of package.json: ${unexported.join(", ")}`)

const packs = join(root, ".cache/package")
rmSync(packs, { recursive: true, force: true })
mkdirSync(packs, { recursive: true })
run(["npm", "pack", "--ignore-scripts", "--pack-destination", packs], { cwd: root })
const tarball = join(packs, readdirSync(packs)[0] ?? fail("npm pack made no tarball"))

const bin = (name: string) => join(root, "node_modules/.bin", name)
run([bin("publint"), tarball, "--strict"], { cwd: root })
run([bin("attw"), tarball, "--profile", "esm-only"], { cwd: root })

const files = run(["tar", "-tzf", tarball], { cwd: root }).trim().split("\n").map((name) =>
  name.slice("package/".length)
)
const allowed =
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/cimd\.(js|licenses\.txt)|dist\/(src|migrations)\/.*|src\/.*|migrations\/.*|docs\/.*\.md)$/
const unwanted = files.filter((name) => !allowed.test(name) || /\.(test|tst)\.|(^|\/)cli\//.test(name))
if (unwanted.length > 0) fail(`not meant to be published: ${unwanted.join(", ")}`)

/** Returns the fenced blocks of a language below a heading of the README, up to the next heading of the same level. */
const readmeBlocks = (heading: string, language: string): ReadonlyArray<string> => {
  const readme = readFileSync(join(root, "README.md"), "utf8")
  const [, section = fail(`the README has no heading "${heading}"`)] = readme.split(`\n## ${heading}\n`)
  const blocks = (section.split(/^## /m)[0] ?? "").matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))
  return [...blocks].map((match) => match[1] ?? "")
}

/** Follows the README in an empty folder: its install lines, and its two first programs, as they are printed there. */
const tryReadme = (): void => {
  const folder = mkdtempSync(join(tmpdir(), "effect-cimd-readme-"))
  try {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "readme", private: true, type: "module" }))
    const install = readmeBlocks("Installation", "sh").flatMap((block) =>
      block.split("\n").filter((line) => line.startsWith("npm install "))
    )
    if (!install[0]?.startsWith("npm install effect-cimd ")) fail("the README does not begin with an install line")
    for (const line of install) {
      const args = line.split(" ").map((word) => word === "effect-cimd" ? tarball : word)
      run([...args, "--prefer-offline", "--no-audit", "--no-fund"], { cwd: folder })
    }
    const [first = fail("the README has no first program"), second = fail("the README has no second program")] =
      readmeBlocks("Quick start", "ts")
    writeFileSync(join(folder, "first.mjs"), first)
    writeFileSync(join(folder, "first.ts"), first)
    writeFileSync(join(folder, "second.ts"), second)
    const compilerOptions = { target: "ES2022", module: "NodeNext", strict: true, noEmit: true, skipLibCheck: false }
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["first.ts", "second.ts"] })
    )
    run([bin("tsc"), "-p", folder], { cwd: folder })
    const printed = run([process.execPath, "first.mjs"], { cwd: folder })
    if (!printed.includes("origin") || !printed.includes("memory")) fail(`the first program printed: ${printed}`)
    console.log(`the README's first program prints:\n${printed.trimEnd()}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const consumer = mkdtempSync(join(tmpdir(), "effect-cimd-package-"))
try {
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  const install = ["npm", "install", "--strict-peer-deps", "--prefer-offline", "--no-audit", "--no-fund"]
  const countPackages = () =>
    run(["npm", "ls", "--all", "--parseable"], { cwd: consumer }).trim().split("\n").length - 1
  run([...install, tarball], { cwd: consumer })

  // What the optional peers serve is not installed here, and the rest must do without.
  const modules = exported
    .filter((name) => name !== "./package.json" && name !== "./testing")
    .map((name) => `effect-cimd${name.slice(1)}`)
  writeFileSync(join(consumer, "imports.js"), modules.map((name) => `import ${JSON.stringify(name)}\n`).join(""))
  run([process.execPath, "imports.js"], { cwd: consumer })
  for (
    const closed of [
      "effect-cimd/internal/rules/acceptedDocument",
      "effect-cimd/cli/main",
      "effect-cimd/dist/src/Cache.js"
    ]
  ) {
    run([process.execPath, "--input-type=module", "--eval", `import ${JSON.stringify(closed)}`], {
      cwd: consumer,
      exit: 1,
      says: "ERR_PACKAGE_PATH_NOT_EXPORTED"
    })
  }

  const clientId = "https://app.example/client.json"
  const document = { client_id: clientId, client_name: "App", redirect_uris: ["https://app.example/callback"] }
  writeFileSync(join(consumer, "client.json"), JSON.stringify(document))
  const cimd = ["npx", "--no-install", "cimd"]
  const lint = [...cimd, "lint", "client.json", "--client-id"]
  run([...lint, clientId], { cwd: consumer })
  run([...lint, "https://other.example/client.json"], { cwd: consumer, exit: 1 })
  run([...cimd, "lint", "missing.json", "--client-id", clientId], { cwd: consumer, exit: 2 })

  const installed = countPackages()

  // With the optional peers as well, the rest works too.
  const optional = Object.keys(manifest.peerDependenciesMeta).map((name) => `${name}@${manifest.devDependencies[name]}`)
  run([...install, ...optional], { cwd: consumer })
  run([process.execPath, "--input-type=module", "--eval", `import "effect-cimd/testing"`], { cwd: consumer })
  // When run by root, the server runs as another user, which needs access to its data.
  chmodSync(consumer, 0o755)
  run([...cimd, "migrate", "--embedded", "--data-dir", "data"], { cwd: consumer })

  tryReadme()
  console.log(`${files.length} files packed, ${modules.length} modules import, ${installed} packages installed with it`)
} finally {
  rmSync(consumer, { recursive: true, force: true })
}
