import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, realpath, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as ChildProcess from "./childProcess.js"
import type { EmbeddedBinaries } from "./embeddedBinaries.js"
import { attempt, EmbeddedFailure } from "./embeddedFailure.js"
import { removeFolder } from "./removeFolder.js"
import { assertIrreplaceable } from "./rootOnly.js"
import * as ServerUser from "./serverUser.js"
import * as StagedFolder from "./stagedFolder.js"

/** The superuser of the server. */
export const superuser = "postgres"

// The data and the password that belongs to it: they are made together, and kept together.
const clusterOf = (folder: string) => Path.join(folder, "cluster")

const passwordFileOf = (cluster: string) => Path.join(cluster, "password")

/** The server's data in a folder of `temporary` or `persistent`. */
export const dataOf = (folder: string): string => Path.join(clusterOf(folder), "data")

// Another user than this process's gets through, and can neither list nor write.
const modeFor = (user: ServerUser.ServerUser | undefined) => user === undefined ? 0o700 : 0o711

/** A new folder for the server's data. It is removed when the scope closes. */
export const temporary = (
  user: ServerUser.ServerUser | undefined
): Effect.Effect<string, EmbeddedFailure, Scope.Scope> =>
  Effect.gen(function*() {
    const places = [tmpdir(), "/tmp", "/var/tmp"]
    const parent = yield* Effect.findFirst(places, (place) => ServerUser.mayEnter(user, place))
    if (parent._tag === "None") {
      return yield* new EmbeddedFailure({
        message: `The user postgres, which the server runs as, may enter none of ${places.join(", ")}. ` +
          `Set TMPDIR to a folder that this user may enter.`
      })
    }
    return yield* Effect.acquireRelease(
      attempt(`The server's data needs a temporary folder in ${parent.value}.`, async () => {
        const folder = await mkdtemp(Path.join(await realpath(parent.value), "effect-cimd-postgres-"))
        await chmod(folder, modeFor(user))
        return folder
      }),
      removeFolder
    )
  })

/** The folder of this path for the server's data, which is kept. It is made if it does not exist. */
export const persistent = (
  path: string,
  user: ServerUser.ServerUser | undefined
): Effect.Effect<string, EmbeddedFailure> =>
  Effect.gen(function*() {
    const folder = Path.resolve(path)
    const refused = (reason: string) =>
      new EmbeddedFailure({ message: `The server's data cannot be kept in ${folder}, because ${reason}.` })
    yield* attempt(`The folder ${folder} for the server's data cannot be made. Choose another folder.`, () =>
      mkdir(folder, { recursive: true, mode: modeFor(user) }))
    const found = yield* attempt(`${folder} cannot be read.`, () =>
      lstat(folder))
    if (!found.isDirectory()) return yield* refused("it is not a folder. Choose another, or delete it")
    if (process.getuid !== undefined && found.uid !== process.getuid()) {
      return yield* refused("it belongs to another user. Choose another folder, or delete it")
    }
    // Root gives its content to another user, so nobody else may be able to put another folder in its place.
    if (user !== undefined) {
      yield* Effect.tryPromise(() => assertIrreplaceable(folder)).pipe(
        Effect.catchAll(({ error }) =>
          refused(`${error instanceof Error ? error.message : error}. Choose another folder`)
        )
      )
    }
    const cluster = clusterOf(folder)
    const strangers = (yield* attempt(`${folder} cannot be read.`, () => readdir(folder)))
      .filter((name) =>
        name !== Path.basename(cluster) && !StagedFolder.isStaging(cluster, name) && name !== "lost+found"
      )
    if (strangers.length > 0) {
      return yield* refused(`it holds other files (${strangers[0]}). Choose an empty folder`)
    }
    yield* attempt(`The mode of ${folder} cannot be set.`, () => chmod(folder, modeFor(user)))
    if (!(yield* ServerUser.mayEnter(user, folder))) {
      return yield* refused(
        `the user postgres, which the server runs as, may not enter it. ` +
          `Choose a folder that all users may enter, or let them enter those above it (chmod o+x)`
      )
    }
    return folder
  })

const initialise = (
  { initdb }: EmbeddedBinaries,
  user: ServerUser.ServerUser | undefined,
  password: string
) =>
(cluster: string) =>
  Effect.gen(function*() {
    const data = Path.join(cluster, "data")
    const passwordFile = passwordFileOf(cluster)
    yield* attempt(`${cluster} cannot be written.`, async () => {
      await mkdir(cluster)
      await chmod(cluster, modeFor(user))
      await mkdir(data, { mode: 0o700 })
      await writeFile(passwordFile, password, { flag: "wx", mode: 0o600 })
      if (user === undefined) return
      await chown(data, user.uid, user.gid)
      await chown(passwordFile, user.uid, user.gid)
    })
    yield* ChildProcess.run(initdb, [
      `--pgdata=${data}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--no-sync"
    ], { user })
  })

/** Makes the server's data if there is none, and returns the password of its superuser. */
export const prepare = (options: {
  readonly binaries: EmbeddedBinaries
  readonly user: ServerUser.ServerUser | undefined
  readonly folder: string
}): Effect.Effect<Redacted.Redacted, EmbeddedFailure> =>
  Effect.gen(function*() {
    const { binaries, folder, user } = options
    const cluster = clusterOf(folder)
    yield* StagedFolder.build(cluster, initialise(binaries, user, randomBytes(24).toString("base64url")))
    const password = yield* attempt(
      `The password in ${cluster} cannot be read.`,
      () => readFile(passwordFileOf(cluster), "utf8")
    )
    return Redacted.make(password)
  }).pipe(Effect.mapError(({ cause, message }) => didNotStart(options.folder, message, cause)))

const remedies: ReadonlyArray<readonly [reason: RegExp, remedy: (folder: string) => string]> = [
  [/Address already in use/, () => "Choose another port."],
  [/lock file "postmaster\.pid" already exists/, (folder) => `Stop the other server that uses ${folder}.`],
  [
    /database files are incompatible with server/,
    (folder) => `Another version of Postgres wrote ${folder}. Choose another folder, or delete it.`
  ],
  [/invalid value for parameter|unrecognized configuration parameter/, () => "Correct the setting."]
]

/** The server cannot work with its data, or at all. */
export const didNotStart = (folder: string, reason: string, cause?: unknown): EmbeddedFailure => {
  const remedy = remedies.find(([pattern]) => pattern.test(reason))?.[1] ??
    (() => `If the data in ${folder} is damaged, delete that folder. Or set DATABASE_URL to use another server.`)
  return new EmbeddedFailure({ message: `The embedded server did not start. ${remedy(folder)}\n${reason}`, cause })
}
