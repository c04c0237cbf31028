/** The origins of honest clients, in a process of their own. What a client gets depends on its path. */
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import type { Place } from "../../test/support/attack/world.js"
import { documentOf } from "../document.js"

/** How many bytes a document may have. */
const limit = 5120

const filled = (clientId: string, members: (entries: ReadonlyArray<unknown>) => object, entry: unknown) => {
  const bytes = (entries: ReadonlyArray<unknown>) => JSON.stringify({ client_id: clientId, ...members(entries) })
  const room = limit - bytes([]).length
  return bytes(Array.from({ length: Math.floor(room / (JSON.stringify(entry).length + 1)) }, () => entry))
}

/** Documents that take the most memory once they are parsed. */
const worst = [
  (clientId: string) =>
    filled(clientId, (entries) => ({ redirect_uris: ["https://app.example/cb", ...entries] }), "a:"),
  (clientId: string) => filled(clientId, (entries) => ({ redirect_uris: ["a:"], x: entries }), [0]),
  (clientId: string) => filled(clientId, (entries) => ({ redirect_uris: ["a:"], x: entries }), {})
]

const bodies: { readonly [path: string]: (clientId: string, host: string) => Origin.Answer } = {
  "/client.json": (clientId) => ({ body: documentOf(clientId) }),
  "/late/client.json": (clientId) => ({ body: documentOf(clientId), delay: "700 millis" }),
  "/worst.json": (clientId, host) => ({ body: (worst[host.length % worst.length] ?? documentOf)(clientId) })
}

await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const origin = yield* Origin.make
  for (const [path, answer] of Object.entries(bodies)) {
    yield* origin.serve(path, ({ headers }) => {
      const host = headers.find(([name]) => name === "Host")?.[1] ?? ""
      return answer(`https://${host}${path}`, host)
    })
  }
  process.on("disconnect", () => process.exit(0))
  process.send?.({ port: origin.port, ca: origin.ca } satisfies Place)
  return yield* Effect.never
})))
