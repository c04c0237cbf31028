/**
 * Builds `dist`: the library with tsc, and the `cimd` command as one file with esbuild.
 */
import { build } from "esbuild"
import { spawnSync } from "node:child_process"
import { chmodSync, readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const manifest: { readonly dependencies: object; readonly peerDependencies: object } = JSON.parse(
  readFileSync(resolve(root, "package.json"), "utf8")
)

rmSync(resolve(root, "dist"), { recursive: true, force: true })

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" })
if (status !== 0) process.exit(1)

// What the package depends on stays outside the command, so there is one copy of each. The parts that only the command
// needs go into it, so that the library's users do not install them.
await build({
  entryPoints: [resolve(root, "src/cli/main.ts")],
  outdir: resolve(root, "dist"),
  entryNames: "cimd",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  external: [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)],
  legalComments: "eof",
  // CommonJS parts of the bundle ask for Node's modules with `require`.
  banner: {
    js: `#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module"\n` +
      `const require = __createRequire(import.meta.url)`
  },
  plugins: [{
    name: "one copy of the library",
    setup: (bundle) => {
      const cli = resolve(root, "src/cli")
      bundle.onResolve({ filter: /^\.\.\// }, ({ path, resolveDir }) => {
        const target = resolve(resolveDir, path)
        if (!resolveDir.startsWith(cli) || target.startsWith(cli)) return undefined
        return { path: `./${relative(root, target)}`, external: true }
      })
    }
  }]
})
chmodSync(resolve(root, "dist/cimd.js"), 0o755)
