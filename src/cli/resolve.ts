import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Database from "./database.js"
import * as Input from "./input.js"
import * as Output from "./output.js"
import { resolveClient } from "./resolveClient.js"

const readCertificates = (
  file: Option.Option<string>
): Effect.Effect<string | undefined, Output.UsageError, FileSystem.FileSystem> =>
  Option.match(file, {
    onNone: () => Effect.succeed(undefined),
    onSome: (name) =>
      Effect.flatMap(Input.read(name), (bytes) => {
        const text = new TextDecoder().decode(bytes)
        return text.includes("-----BEGIN CERTIFICATE-----")
          ? Effect.succeed(text)
          : new Output.UsageError({ message: `The file ${name} does not contain a certificate in PEM format.` })
      })
  })

export const resolve = Command.make("resolve", {
  clientId: Args.text({ name: "client_id" }).pipe(
    Args.withDescription("The client id: the URL of the client's metadata document")
  ),
  ...Database.options,
  allowLoopback: Options.boolean("allow-loopback").pipe(
    Options.withDescription("Permit a client on localhost or a loopback address, for development")
  ),
  ca: Options.text("ca").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("Trust the certificate authorities of this PEM file instead of Node.js's own"),
    Options.optional
  ),
  json: Output.json
}, ({ allowLoopback, ca, clientId, json, ...database }) =>
  Effect.gen(function*() {
    const certificates = yield* readCertificates(ca)
    yield* Output.print(yield* resolveClient({ clientId, allowLoopback, ca: certificates, database }), { json })
  })).pipe(Command.withDescription("Print a client's metadata, from the cache or from the client's origin"))
