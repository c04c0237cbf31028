import { describe, expect, it } from "@effect/vitest"
import type { ClientId, ClientMetadata } from "effect-cimd"
import { HostPolicy, Validator } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as HeapSize from "../src/internal/heapSize.js"
import { StoredDocument } from "../src/internal/storedDocument.js"

type Members = { readonly [member: string]: ClientMetadata.Json }

const numbered = <A>(count: number, make: (n: number) => A): Array<A> =>
  Array.from({ length: count }, (_, n) => make(n))

/** Documents near every limit of DOC-25 and of the body, by what takes their memory. `i` makes each of them unlike others. */
const shapes: Readonly<Record<string, (i: number) => Members>> = {
  "a usual one": (i) => ({
    client_name: `App ${i}`,
    client_uri: "https://app.example/",
    redirect_uris: ["https://app.example/callback", "http://127.0.0.1/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none"
  }),
  "many redirect URIs": (i) => ({ redirect_uris: numbered(32, (n) => `https://app.example/callback/${n}/${i}`) }),
  "many warnings": (i) => ({
    redirect_uris: ["https://a.example/", ...numbered(20, (n) => `q${n}${"x".repeat(130)}${i}:/`)]
  }),
  "short redirect URIs with warnings": () => ({
    redirect_uris: ["https://a.example/", ...numbered(26, (n) => `${String.fromCharCode(97 + n)}:`)]
  }),
  "arrays of one number": () => ({ x: numbered(120, () => [0]) }),
  "empty objects": () => ({ x: numbered(240, () => ({})) }),
  "objects of one name each": (i) => ({
    x: numbered(120, (n) => ({ [`${n.toString(36)}${i.toString(36)}`]: 0 }))
  }),
  "names of its own": (i) => Object.fromEntries(numbered(240, (n) => [`k${n}_${i}`, 0])),
  "names that others have": () => Object.fromEntries(numbered(240, (n) => [`k${n}`, 0])),
  "fractions": () => ({ x: numbered(240, (n) => n + 0.5) }),
  "fractions among strings": () => ({ x: ["", ...numbered(239, (n) => n + 0.5)] }),
  "short strings": (i) => ({ x: numbered(240, (n) => `${i.toString(36)}${n.toString(36)}`) }),
  "a long string": (i) => ({ x: `${"y".repeat(4800)}${i}` }),
  "a long string of two-byte characters": (i) => ({ x: `${"\u4e00".repeat(1600)}${i}` }),
  "deep nesting": (i) => ({
    x: numbered(16, (n) => [[[[[[[[[[[[`${n} ${i}`]]]]]]]]]]]])
  })
}

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void
const heapUsed = (): number => {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}

const encoder = new TextEncoder()
const documents = 1000
// What else grows meanwhile, such as compiled code.
const noise = 200_000 / documents

/** Makes documents, and returns how many bytes the heap grew for each one, and their size. */
const measured = <E, R>(make: (i: number) => Effect.Effect<StoredDocument, E, R>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 100; i++) yield* make(i)
    const kept = new Map<string, StoredDocument>()
    const before = heapUsed()
    for (let i = 0; i < documents; i++) kept.set(`client ${i}`, yield* make(1000 + i))
    const heap = (heapUsed() - before) / documents
    return { heap, size: kept.get("client 0")?.heapSize ?? 0 }
  })

const bodyOf = (i: number, members: Members): [ClientId.ClientId, Uint8Array] => {
  const clientId = `https://app${i}.example/client.json` as ClientId.ClientId
  return [
    clientId,
    encoder.encode(JSON.stringify({ client_id: clientId, redirect_uris: ["https://a.example/"], ...members }))
  ]
}

const validator = Layer.provide(Validator.layer(), HostPolicy.layerPublic)

describe("the size of a document in memory", () => {
  for (const [name, members] of Object.entries(shapes)) {
    it.effect(`CAC-12: is no less than what it takes, and at most four times that: ${name}`, () =>
      Effect.gen(function*() {
        const validator = yield* Validator.Validator
        const accepted = (i: number) =>
          Effect.map(
            validator.validate(...bodyOf(i, members(i))),
            (document) => new StoredDocument(document.clientId, document.json, document)
          )
        // A row of a database is parsed by `JSON.parse`, whose objects are laid out in another way.
        const read = (i: number) =>
          Effect.sync(() => {
            const [clientId, body] = bodyOf(i, members(i))
            return new StoredDocument(clientId, JSON.parse(new TextDecoder().decode(body)), undefined)
          })
        for (const { heap, size } of [yield* measured(accepted), yield* measured(read)]) {
          expect(heap).toBeLessThanOrEqual(size + noise)
          expect(size).toBeLessThan(4 * heap + 1000)
        }
      }).pipe(Effect.provide(validator)))
  }

  it("CAC-12: a tombstone takes no more than its size", () => {
    const before = heapUsed()
    const kept = new Map(
      numbered(10_000, (i) => [`https://app${i}.example/client.json`, {
        remembered: { stored: undefined, fetchedAt: BigInt(i), expiresAt: BigInt(i), keptUntil: BigInt(i + 1) },
        used: false
      }])
    )
    const heap = (heapUsed() - before) / kept.size
    expect(heap).toBeLessThanOrEqual(HeapSize.ofTombstone("https://app1000.example/client.json"))
  })
})
