import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

let next = 0

/** Publishes a document on an origin. Returns the document and the flags with which the command trusts the origin. */
export const published = (change: object = {}) =>
  Effect.gen(function*() {
    const origin = yield* Origin.Origin
    const clientId = `https://localhost:${origin.port}/client-${next++}.json`
    const document = {
      client_id: clientId,
      client_name: "App",
      redirect_uris: ["https://app.example/callback"],
      token_endpoint_auth_method: "none",
      ...change
    }
    yield* origin.document(clientId, document)
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "cimd-published-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    // When run by root, the embedded server runs as another user, which needs access to its data.
    yield* Effect.promise(() => chmod(folder, 0o755))
    const ca = join(folder, "ca.pem")
    yield* Effect.promise(() => writeFile(ca, origin.ca))
    const asked = Effect.map(
      origin.requests,
      (requests) => requests.filter(({ target }) => clientId.endsWith(target)).length
    )
    return { clientId, document, folder, ca, asked, trusting: ["--allow-loopback", "--ca", ca] }
  })
