import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, realpath, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as ChildProcess from "./childProcess.js"
import type { EmbeddedBinaries } from "./embeddedBinaries.js"
import { attempt, EmbeddedFailure } from "./embeddedFailure.js"
import { removeFolder } from "./removeFolder.js"
import * as ServerUser from "./serverUser.js"
import * as StagedFolder from "./stagedFolder.js"

/** The superuser of the server. */
export const superuser = "postgres"

/** The server's data in a folder of `temporary` or `persistent`. */
export const dataOf = (folder: string): string => Path.join(folder, "data")

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
    const data = dataOf(folder)
    const strangers = (yield* attempt(`${folder} cannot be read.`, () => readdir(folder)))
      .filter((name) => name !== Path.basename(data) && !StagedFolder.isStaging(data, name) && name !== "lost+found")
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
  password: Redacted.Redacted
) =>
(folder: string, staging: string) =>
  Effect.gen(function*() {
    const passwordFile = Path.join(staging, "password")
    yield* attempt(`${staging} cannot be written.`, async () => {
      await mkdir(folder, { mode: 0o700 })
      await writeFile(passwordFile, Redacted.value(password), { flag: "wx", mode: 0o600 })
      if (user === undefined) return
      await chown(folder, user.uid, user.gid)
      await chown(passwordFile, user.uid, user.gid)
    })
    yield* ChildProcess.run(initdb, [
      `--pgdata=${folder}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--no-sync"
    ], { user })
  })

// The password of an earlier start is stored nowhere, so the server's own user sets a new one.
const setPassword = (
  { postgres }: EmbeddedBinaries,
  user: ServerUser.ServerUser | undefined,
  password: Redacted.Redacted,
  data: string
) =>
  ChildProcess.run(
    postgres,
    // A log would hold the statement.
    ["--single", "-D", data, "-c", "log_statement=none", "-c", "log_min_error_statement=panic", "postgres"],
    { user, input: `ALTER ROLE ${superuser} PASSWORD '${Redacted.value(password)}';\n` }
  )

/** Makes the server's data if there is none, and lets its superuser log in with this password. */
export const prepare = (options: {
  readonly binaries: EmbeddedBinaries
  readonly user: ServerUser.ServerUser | undefined
  readonly folder: string
  readonly password: Redacted.Redacted
}): Effect.Effect<void, EmbeddedFailure> =>
  Effect.gen(function*() {
    const { binaries, folder, password, user } = options
    const data = dataOf(folder)
    const isNew = yield* StagedFolder.build(data, initialise(binaries, user, password))
    if (!isNew) yield* setPassword(binaries, user, password, data)
  }).pipe(Effect.mapError((cause) => didNotStart(options.folder, cause.message, cause.cause)))

/** The server cannot work with its data, or at all. */
export const didNotStart = (folder: string, reason: string, cause?: unknown): EmbeddedFailure =>
  new EmbeddedFailure({
    message: `The embedded server did not start with its data in ${folder}. ` +
      `Stop another server that uses that folder. If its data is damaged or of another version, delete the folder.\n${reason}`,
    cause
  })
