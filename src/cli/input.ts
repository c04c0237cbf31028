import * as Effect from "effect/Effect"
import { createReadStream } from "node:fs"
import { UsageError } from "./exitCode.js"

/** No document is as large, and a device or a pipe may never end. */
export const maxBytes = 1024 * 1024

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EISDIR: "is a folder",
  EACCES: "may not be read by this user"
}

const readAll = async (name: string, stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) throw new UsageError({ message: `${name} has more than ${maxBytes} bytes.` })
  }
  return Buffer.concat(chunks)
}

const usageError = (name: string, error: unknown): UsageError => {
  if (error instanceof UsageError) return error
  const code = error instanceof Error && "code" in error ? String(error.code) : "an unknown error"
  return new UsageError({ message: `${name} ${reasons[code] ?? `could not be read (${code})`}.` })
}

/** Reads a file, or standard input if the name is `-`. Reads at most 1 MiB. */
export const read = (file: string): Effect.Effect<Uint8Array, UsageError> => {
  const name = file === "-" ? "Standard input" : `The file ${file}`
  return Effect.tryPromise({
    // A stream reads pipes too, which have no positions.
    try: () => readAll(name, file === "-" ? process.stdin : createReadStream(file)),
    catch: (error) => usageError(name, error)
  })
}
