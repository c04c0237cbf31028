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

  // The types as a consumer meets them, whose compiler need not skip them: the first program of the README.
  const [, program = fail("the README has no program")] = /^```ts\n([^]*?)^```$/m.exec(
    readFileSync(join(root, "README.md"), "utf8")
  ) ?? []
  writeFileSync(join(consumer, "program.ts"), `${program}\nexport { program }\n`)
  writeFileSync(
    join(consumer, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2022",
        module: "NodeNext",
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        types: []
      },
      files: ["program.ts"]
    })
  )
  run([bin("tsc"), "-p", consumer], { cwd: consumer })

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
  // As root the server runs as another user, who must get to its data.
  chmodSync(consumer, 0o755)
  run([...cimd, "migrate", "--embedded", "--data-dir", "data"], { cwd: consumer })

  console.log(`${files.length} files packed, ${modules.length} modules import, ${installed} packages installed with it`)
} finally {
  rmSync(consumer, { recursive: true, force: true })
}
