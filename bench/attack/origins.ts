/** The origins of honest clients, in a process of their own. What a client gets depends on its path. */
import { Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import type { Place } from "../../test/support/attack/world.js"
import { documentOf } from "../document.js"

/** How many bytes a document may have. */
const maxBytes = 5120
/** Fewer values than a document may have, because its other members have some. */
const maxValues = 240

/** A document with as many entries in one member as the limits of its bytes, and so many values, permit. */
const filled = (
  clientId: string,
  members: (entries: ReadonlyArray<unknown>) => object,
  entryOf: (index: number) => unknown,
  most = Number.POSITIVE_INFINITY
) => {
  const text = (entries: ReadonlyArray<unknown>) => JSON.stringify({ client_id: clientId, ...members(entries) })
  const entries: Array<unknown> = []
  let room = maxBytes - text([]).length
  for (let index = 0; index < most; index++) {
    room -= JSON.stringify(entryOf(index)).length + 1
    if (room < 0) break
    entries.push(entryOf(index))
  }
  return text(entries)
}

const redirects = (text: (index: number) => string) => Array.from({ length: 32 }, (_, index) => text(index))
const extended = (redirect_uris: ReadonlyArray<string>) => (x: ReadonlyArray<unknown>) => ({ redirect_uris, x })
const one = extended(["https://app.example/cb"])

/** Documents that take the most memory once they are parsed. The first two have too many entries for DOC-25. */
const worst: ReadonlyArray<(clientId: string) => string> = [
  (clientId) => filled(clientId, (redirect_uris) => ({ redirect_uris }), () => "a:"),
  (clientId) => filled(clientId, one, () => [0]),
  (clientId) => filled(clientId, one, () => [[]], maxValues / 2),
  (clientId) => filled(clientId, extended(redirects((index) => `a:${index}`)), (index) => `${index}`, maxValues - 40),
  (clientId) =>
    filled(clientId, extended(redirects((index) => `https://a${index}.example/${"x".repeat(125)}`)), () => 0)
]

const bodies: { readonly [path: string]: (clientId: string, host: string) => Origin.Answer } = {
  "/client.json": (clientId) => ({ body: documentOf(clientId) }),
  "/late/client.json": (clientId) => ({ body: documentOf(clientId), delay: "700 millis" }),
  "/worst.json": (clientId, host) => ({
    body: (worst[Number(/\d+/.exec(host)) % worst.length] ?? documentOf)(clientId)
  })
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
