import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { buffer } from "node:stream/consumers"
import { UsageError } from "./output.js"

/** Reads a file, or standard input if the name is `-`. */
export const read = (file: string): Effect.Effect<Uint8Array, UsageError, FileSystem.FileSystem> =>
  file === "-"
    ? Effect.tryPromise({
      try: () => buffer(process.stdin),
      catch: () => new UsageError({ message: "Standard input could not be read." })
    })
    : Effect.flatMap(FileSystem.FileSystem, (files) => files.readFile(file)).pipe(
      Effect.mapError((error) =>
        new UsageError({
          message: error._tag === "SystemError" && error.reason === "NotFound"
            ? `The file ${file} does not exist.`
            : `The file ${file} could not be read: ${error.message}`
        })
      )
    )
