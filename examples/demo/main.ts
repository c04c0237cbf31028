/**
 * The whole way, in a few seconds: an embedded Postgres, an origin with documents of clients that exist, and two nodes
 * of an authorization server in processes of their own. It ends with code 0 if every step did what it says.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Migrations } from "effect-cimd"
import { Origin, Postgres } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { fork } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Answer, Question } from "./protocol.js"
import { privateHost } from "./protocol.js"

const documents: ReadonlyArray<{ readonly url: string; readonly doc: object }> = JSON.parse(
  readFileSync(new URL("../documents.json", import.meta.url), "utf8")
)

const malicious = {
  client_id: "https://bank.example/client.json",
  client_name: "Bank\u202Eknab",
  client_secret: "hunter2",
  token_endpoint_auth_method: "client_secret_post",
  redirect_uris: ["javascript:alert(1)", "http://evil.example/cb", "https://*.evil.example/cb"],
  logo_uri: "data:image/png;base64,AAAA",
  jwks: { keys: [{ kty: "oct", k: "c2VjcmV0" }] }
}

let failed = 0

const node = (name: string, env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(fileURLToPath(new URL("./node.ts", import.meta.url)), {
        env: { ...process.env, ...env },
        execArgv: process.execArgv
      })
      const [ready] = await Promise.race([once(child, "message"), once(child, "exit")])
      if (ready !== "ready") throw new Error(`Node ${name} did not start`)
      return child
    }),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null) return
        child.disconnect()
        await once(child, "exit")
      })
  ).pipe(Effect.map((child) => ({
    name,
    ask: (question: Question) =>
      Effect.promise(async (): Promise<Answer> => {
        child.send(question)
        const [answer] = await once(child, "message")
        return answer
      })
  })))

const main = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  const server = yield* Postgres.url
  const url = yield* Postgres.database(server)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
  console.log(
    "Postgres is up, the tables are made. The origin listens on loopback; names and routes to it are doubles.\n"
  )

  yield* Effect.forEach(documents, ({ doc, url }) => origin.document(url, doc, { "Cache-Control": "max-age=600" }))
  yield* origin.document("https://evil.example/client.json", malicious)
  yield* origin.serve("https://moved.example/client.json", {
    status: 302,
    headers: { Location: "http://169.254.169.254/latest/meta-data/" }
  })
  yield* origin.document("https://brief.example/client.json", {
    client_id: "https://brief.example/client.json",
    client_name: "Brief",
    redirect_uris: ["https://brief.example/callback"]
  }, { "Cache-Control": "max-age=1" })

  const env = {
    DATABASE_URL: Redacted.value(url),
    DEMO_ORIGIN_PORT: String(origin.port),
    DEMO_ORIGIN_CA: origin.ca
  }
  const [a, b] = yield* Effect.all([node("A", env), node("B", env)], { concurrency: 2 })

  /** Asks, and holds the answer and the number of requests at the origin to what they have to be. */
  const step = (
    what: string,
    asked: typeof a,
    question: Question,
    expected: { readonly requests: number; readonly is: (answer: Answer) => boolean }
  ) =>
    Effect.gen(function*() {
      const before = (yield* origin.requests).length
      const start = performance.now()
      const answer = yield* asked.ask(question)
      const millis = (performance.now() - start).toFixed(1)
      const requests = (yield* origin.requests).length - before
      const holds = requests === expected.requests && expected.is(answer)
      if (!holds) failed++
      const result = answer.refused ?? answer.source ?? `${answer.swept} rows`
      console.log(
        `${holds ? "ok  " : "FAIL"} node ${asked.name}  ${
          millis.padStart(6)
        } ms  ${what}: ${result}, requests at the origin: ${requests}`
      )
      return answer
    })
  const fetched = { requests: 1, is: (answer: Answer) => answer.source === "origin" }
  // From memory once a node hears the announcements of the others, which takes it a moment after its start.
  const cached = { requests: 0, is: (answer: Answer) => answer.source === "memory" || answer.source === "postgres" }
  const refusal = (tag: string, requests: number) => ({ requests, is: (answer: Answer) => answer.refused === tag })

  for (const { url } of documents) {
    yield* step(`fetches ${url}`, a, { ask: "resolve", clientId: url }, fetched)
  }
  const clientId = documents[0]?.url ?? ""
  console.log()
  yield* step("asks again", a, { ask: "resolve", clientId }, cached)
  for (const { url } of documents) {
    yield* step(`reads ${url}`, b, { ask: "resolve", clientId: url }, cached)
  }
  console.log()
  const evil = yield* step(
    "a malicious document",
    a,
    { ask: "resolve", clientId: "https://evil.example/client.json" },
    refusal("InvalidDocument", 1)
  )
  const faults = (evil.message ?? "").split("\n").slice(1)
  if (faults.length < 8) failed++
  for (const fault of faults) console.log(`       ${fault}`)
  console.log(`       the OAuth client is told no more than: ${evil.oauthError}`)
  yield* step(
    "a redirect",
    a,
    { ask: "resolve", clientId: "https://moved.example/client.json" },
    refusal("UnexpectedRedirect", 1)
  )
  yield* step(
    "a private address",
    a,
    { ask: "resolve", clientId: `https://${privateHost}/c` },
    refusal("AddressBlocked", 0)
  )
  console.log()
  const brief = { ask: "resolve", clientId: "https://brief.example/client.json" } as const
  yield* step("a document that lives for a second", a, brief, fetched)
  yield* step("is in the cache", a, brief, cached)
  yield* Effect.sleep("1100 millis")
  yield* step("has expired, and is a miss", b, brief, fetched)
  yield* Effect.sleep("1100 millis")
  yield* step("a sweep", b, { ask: "sweep" }, { requests: 0, is: ({ swept }) => swept === 1 })
}).pipe(Effect.provide(Origin.layer), Effect.scoped)

await Effect.runPromise(main)
console.log(failed === 0 ? "\nEvery step did what it says." : `\n${failed} steps did not do what they say.`)
process.exitCode = failed === 0 ? 0 : 1
