import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { readFile, symlink } from "node:fs/promises"
import * as Path from "node:path"

const Links = Schema.parseJson(Schema.Array(Schema.Struct({ source: Schema.String, target: Schema.String })))

/**
 * Links the shared libraries of the embedded server under the names it loads them by. An npm package cannot carry
 * symbolic links, so the package's install script makes them; where install scripts are not run the server does not
 * start. Links that exist are left alone, and a failure shows when the server starts.
 */
export const link = (nativeFolder: string): Effect.Effect<void> =>
  Effect.gen(function*() {
    const text = yield* Effect.tryPromise(() => readFile(Path.join(nativeFolder, "pg-symlinks.json"), "utf8"))
    const links = yield* Schema.decode(Links)(text)
    yield* Effect.forEach(
      links,
      // The paths begin with `native/`.
      ({ source, target }) =>
        Effect.ignore(
          Effect.tryPromise(() =>
            symlink(Path.relative(Path.dirname(target), source), Path.join(Path.dirname(nativeFolder), target))
          )
        ),
      { discard: true }
    )
  }).pipe(Effect.ignore)
