import * as Effect from "effect/Effect"
import { chmod, copyFile, lstat, mkdir, readdir, readlink, realpath, stat, symlink } from "node:fs/promises"
import * as Path from "node:path"
import { attempt, EmbeddedFailure } from "./embeddedFailure.js"
import * as ServerUser from "./serverUser.js"
import * as StagedFolder from "./stagedFolder.js"

/** The folders of the system that a copy may be made in, best first. */
export const systemFolders: ReadonlyArray<string> = ["/var/cache", "/var/lib", "/opt"]

const readableByAll = 0o755

// Modes are set after creation, because the umask may take from them.
const copy = async (from: string, to: string): Promise<void> => {
  const found = await lstat(from)
  if (found.isSymbolicLink()) return symlink(await readlink(from), to)
  if (!found.isDirectory()) {
    await copyFile(from, to)
    return chmod(to, (found.mode & 0o100) === 0 ? 0o644 : readableByAll)
  }
  await mkdir(to)
  await chmod(to, readableByAll)
  for (const name of await readdir(from)) await copy(Path.join(from, name), Path.join(to, name))
}

const writableByOthers = 0o022

// What is run from a folder can be exchanged by anyone that can write the folder or one above it.
const assertRootOnly = async (folder: string): Promise<void> => {
  for (let path = await realpath(folder);; path = Path.dirname(path)) {
    const { mode, uid } = await stat(path)
    if (uid !== 0 || (mode & writableByOthers) !== 0) throw new Error(`others than root can write ${path}`)
    if (path === Path.dirname(path)) return
  }
}

const ownFolder = (systemFolder: string, user: ServerUser.ServerUser) =>
  Effect.gen(function*() {
    const folder = Path.join(systemFolder, "effect-cimd")
    yield* attempt(`${systemFolder} cannot be used.`, async () => {
      await assertRootOnly(systemFolder)
      await mkdir(folder, { recursive: true })
      if ((await lstat(folder)).isSymbolicLink()) throw new Error(`${folder} is a symbolic link`)
      await assertRootOnly(folder)
      await chmod(folder, readableByAll)
    })
    if (!(yield* ServerUser.mayEnter(user, folder))) {
      return yield* new EmbeddedFailure({ message: `${folder} is closed to the server's user.` })
    }
    return folder
  })

/**
 * A copy of the server's files for a user that may not enter their own folder. It is made once per name, in a folder that
 * root owns and that nobody else can write, because root starts programs from it.
 */
export const make = (
  nativeFolder: string,
  name: string,
  user: ServerUser.ServerUser,
  folders: ReadonlyArray<string> = systemFolders
): Effect.Effect<string, EmbeddedFailure> =>
  Effect.gen(function*() {
    const place = Path.join(
      yield* Effect.firstSuccessOf(folders.map((folder) => ownFolder(folder, user))),
      name
    )
    yield* StagedFolder.build(place, (folder) =>
      attempt(`The files of the embedded Postgres cannot be copied to ${folder}.`, async () => {
        await mkdir(folder)
        await chmod(folder, readableByAll)
        for (const part of ["bin", "lib", "share"]) {
          await copy(Path.join(nativeFolder, part), Path.join(folder, part))
        }
      }))
    yield* attempt(`${place} cannot be used. Delete it.`, () =>
      assertRootOnly(place))
    return place
  }).pipe(
    Effect.mapError((cause) =>
      new EmbeddedFailure({
        message: `The user postgres, which the server runs as, may not run ${nativeFolder}, ` +
          `and no copy for that user could be made in ${folders.join(", ")}. ` +
          `Install the package in a folder that all users may enter, run this as an ordinary user, or set DATABASE_URL.`,
        cause
      })
    )
  )
