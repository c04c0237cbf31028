import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { UsageError } from "./output.js"

/** No document is as large, and a device or a pipe may never end. */
const maxBytes = 1024 * 1024

const tooLarge = (name: string) => new UsageError({ message: `${name} has more than ${maxBytes} bytes.` })

const readInput = async (): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) throw tooLarge("Standard input")
  }
  return Buffer.concat(chunks)
}

/** Reads a file, or standard input if the name is `-`. Reads at most 1 MiB. */
export const read = (file: string): Effect.Effect<Uint8Array, UsageError, FileSystem.FileSystem> =>
  file === "-"
    ? Effect.tryPromise({
      try: readInput,
      catch: (error) =>
        error instanceof UsageError ? error : new UsageError({ message: "Standard input could not be read." })
    })
    : Effect.flatMap(FileSystem.FileSystem, (files) =>
      Stream.runCollect(files.stream(file, { bytesToRead: maxBytes + 1 }))).pipe(
        Effect.mapError((error) =>
          new UsageError({
            message: error._tag === "SystemError" && error.reason === "NotFound"
              ? `The file ${file} does not exist.`
              : `The file ${file} could not be read: ${error.message}`
          })
        ),
        Effect.map((chunks) =>
          Buffer.concat([...chunks])
        ),
        Effect.filterOrFail((bytes) => bytes.length <= maxBytes, () => tooLarge(`The file ${file}`))
      )
