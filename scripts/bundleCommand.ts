/**
 * Bundles the `cimd` command.
 */
import { build } from "esbuild"
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { settings } from "./bundle.js"

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>
}

/**
 * Writes `cimd.js` into a folder, and the licences of what is in it. Outside stay what this package depends on and
 * the optional peers.
 */
export const bundleCommand = async (outdir: string): Promise<void> => {
  const manifest: Manifest = JSON.parse(readFileSync(join(settings.absWorkingDir, "package.json"), "utf8"))
  const { metafile } = await build({
    ...settings,
    entryPoints: { cimd: "src/cli/main.ts" },
    outdir,
    metafile: true,
    legalComments: "none",
    external: [
      ...Object.keys(manifest.dependencies ?? {}),
      ...Object.keys(manifest.peerDependenciesMeta),
      ...settings.external
    ]
  })
  const command = join(outdir, "cimd.js")
  writeFileSync(command, `#!/usr/bin/env node\n${readFileSync(command, "utf8")}`)
  chmodSync(command, 0o755)
  writeFileSync(join(outdir, "cimd.licenses.txt"), licenses(Object.keys(metafile.inputs)))
}

// What is bundled asks that its licence goes with it.
const licenses = (inputs: ReadonlyArray<string>): string => {
  const folders = new Set(inputs.flatMap((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []))
  return [...folders].sort().map((folder) => {
    const { license, name, version }: { readonly license: string; readonly name: string; readonly version: string } =
      JSON
        .parse(readFileSync(join(settings.absWorkingDir, folder, "package.json"), "utf8"))
    const file = readdirSync(join(settings.absWorkingDir, folder)).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file !== undefined && existsSync(join(settings.absWorkingDir, folder, file))
      ? readFileSync(join(settings.absWorkingDir, folder, file), "utf8").trim()
      : `(${license})`
    return `${name} ${version}\n\n${text}\n`
  }).join(`\n${"-".repeat(80)}\n\n`)
}
