import { realpath, stat } from "node:fs/promises"
import * as Path from "node:path"

const writableByOthers = 0o022
const sticky = 0o1000

const assertAll = async (folder: string, isSafe: (path: string, mode: number) => boolean): Promise<void> => {
  for (let path = folder;; path = Path.dirname(path)) {
    const { mode, uid } = await stat(path)
    if (uid !== 0 || !isSafe(path, mode)) throw new Error(`others than root can write ${path}`)
    if (path === Path.dirname(path)) return
  }
}

/** Rejects if anyone but root can write a folder or one above it. */
export const assertRootOnly = async (folder: string): Promise<void> =>
  assertAll(await realpath(folder), (_, mode) => (mode & writableByOthers) === 0)

/**
 * Rejects if anyone but root can write a folder or put another one in its place. In a sticky folder above it, such as
 * `/tmp`, only the owner of an entry can replace it.
 */
export const assertIrreplaceable = async (folder: string): Promise<void> => {
  const real = await realpath(folder)
  return assertAll(real, (path, mode) => (mode & writableByOthers) === 0 || (path !== real && (mode & sticky) !== 0))
}
