import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Answer from "./answer.js"
import * as Database from "./database.js"
import * as Input from "./input.js"
import { answer } from "./resolving.js"

const readCertificates = (
  file: Option.Option<string>
): Effect.Effect<string | undefined, Answer.WrongCall, FileSystem.FileSystem> =>
  Option.match(file, {
    onNone: () => Effect.succeed(undefined),
    onSome: (name) =>
      Effect.flatMap(Input.read(name), (bytes) => {
        const text = new TextDecoder().decode(bytes)
        return text.includes("-----BEGIN CERTIFICATE-----")
          ? Effect.succeed(text)
          : new Answer.WrongCall({ message: `${name} holds no certificate in PEM form.` })
      })
  })

export const resolve = Command.make("resolve", {
  clientId: Args.text({ name: "client_id" }).pipe(Args.withDescription("The URL that names the client")),
  ...Database.options,
  allowLoopback: Options.boolean("allow-loopback").pipe(
    Options.withDescription("Permit a client on localhost or a loopback address, for development")
  ),
  ca: Options.text("ca").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("Trust the certificate authorities of this PEM file instead of Node.js's own"),
    Options.optional
  ),
  json: Answer.json
}, ({ allowLoopback, ca, clientId, json, ...database }) =>
  Effect.gen(function*() {
    const certificates = yield* readCertificates(ca)
    yield* Answer.give(yield* answer({ clientId, allowLoopback, ca: certificates, database }), { json })
  })).pipe(Command.withDescription("Answer a client's metadata: from the cache, else from the client's origin"))
