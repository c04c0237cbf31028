/**
 * Compiles every TypeScript example of the documentation: fenced `ts` blocks in doc comments, in the README and in
 * `docs`. Each becomes a file whose line numbers are those of the place it came from.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = join(root, ".cache/examples")

const sources = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
  ...readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name}`)
]

const fence = /^(?<prefix>[ \t]*(?:\* ?)?)```ts\n(?<code>[^]*?)^[ \t]*(?:\* ?)?```$/gm

const examples = sources.flatMap((source) => {
  const text = readFileSync(join(root, source), "utf8")
  return [...text.matchAll(fence)].map((match) => {
    const line = text.slice(0, match.index).split("\n").length
    const prefix = match.groups?.["prefix"] ?? ""
    const code = (match.groups?.["code"] ?? "")
      .split("\n")
      .map((codeLine) => codeLine.startsWith(prefix) ? codeLine.slice(prefix.length) : codeLine.trimStart().slice(1))
      .join("\n")
    return { name: `${source.replaceAll("/", ".")}.${line}.ts`, text: `${"\n".repeat(line)}${code}\nexport {}\n` }
  })
})

// A fence that is not recognized would pass for none.
if (examples.length < 2) throw new Error("Found no examples")

rmSync(target, { recursive: true, force: true })
mkdirSync(target, { recursive: true })
for (const { name, text } of examples) writeFileSync(join(target, name), text)
writeFileSync(
  join(target, "tsconfig.json"),
  JSON.stringify({
    extends: relative(target, join(root, "tsconfig.json")),
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ["*.ts"]
  })
)

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-p", target], { cwd: root, stdio: "inherit" })
if (status !== 0) process.exit(1)
console.log(`${examples.length} examples compile`)
