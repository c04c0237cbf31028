import * as Effect from "effect/Effect"
import * as ChildProcess from "./childProcess.js"
import { EmbeddedFailure } from "./embeddedFailure.js"

/** Another user than that of this process. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
}

const name = "postgres"

const id = (flag: string) =>
  Effect.filterOrFail(
    Effect.map(ChildProcess.run("id", [flag, name]), Number),
    (id) => Number.isInteger(id) && id > 0,
    () => new EmbeddedFailure({ message: `The user ${name} is root.` })
  )

const existing = Effect.all({ uid: id("-u"), gid: id("-g") })

const created = Effect.zipRight(
  // The group may exist without the user.
  Effect.ignore(ChildProcess.run("groupadd", ["--system", name])),
  ChildProcess.run("useradd", ["--system", "--gid", name, "--no-create-home", name])
)

/**
 * The user that the server runs as, or `undefined` for the user of this process. Postgres does not run as root, so
 * root starts it as the user `postgres`, which is created if it does not exist.
 */
export const find: Effect.Effect<ServerUser | undefined, EmbeddedFailure> = Effect.suspend(() =>
  process.getuid?.() !== 0 ? Effect.succeed(undefined) : existing.pipe(
    // Another process may have created it first.
    Effect.orElse(() => Effect.zipRight(Effect.ignore(created), existing)),
    Effect.mapError((cause) =>
      new EmbeddedFailure({
        message: `Postgres does not run as root, and there is no user ${name} to run it as. ` +
          `Create that user, or run this as an ordinary user.`,
        cause
      })
    )
  )
)

/** Whether this user may go into a folder. */
export const mayEnter = (user: ServerUser | undefined, folder: string): Effect.Effect<boolean> =>
  user === undefined
    ? Effect.succeed(true)
    : Effect.isSuccess(ChildProcess.run("test", ["-x", `${folder}/.`], { user }))
