import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { buffer } from "node:stream/consumers"
import { WrongCall } from "./answer.js"

/** The bytes of a file, or of standard input for `-`. */
export const read = (file: string): Effect.Effect<Uint8Array, WrongCall, FileSystem.FileSystem> =>
  file === "-"
    ? Effect.tryPromise({
      try: () => buffer(process.stdin),
      catch: () => new WrongCall({ message: "Standard input could not be read." })
    })
    : Effect.flatMap(FileSystem.FileSystem, (files) => files.readFile(file)).pipe(
      Effect.mapError((error) =>
        new WrongCall({
          message: error._tag === "SystemError" && error.reason === "NotFound"
            ? `There is no file ${file}.`
            : `The file ${file} could not be read: ${error.message}`
        })
      )
    )
