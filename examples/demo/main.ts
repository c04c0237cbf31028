/**
 * The demo: an embedded Postgres, an origin that serves documents of real clients, and two nodes of an authorization
 * server in processes of their own. It exits with code 0 if every step had the expected result.
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
import type { Request, Response } from "./protocol.js"
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

let failedSteps = 0

const startNode = (name: string, env: Record<string, string>) =>
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
    send: (request: Request) =>
      Effect.promise(async (): Promise<Response> => {
        child.send(request)
        const [response] = await once(child, "message")
        return response
      })
  })))

const outcomeOf = (response: Response): string => {
  switch (response._tag) {
    case "Resolved":
      return response.source
    case "Swept":
      return `${response.documents} rows`
    case "Failed":
      return response.error
  }
}

const main = Effect.gen(function*() {
  const origin = yield* Origin.Origin
  const server = yield* Postgres.url
  const url = yield* Postgres.database(server)
  yield* Effect.provide(Migrations.run(), PgClient.layer({ url }))
  console.log(
    "Postgres is up and has its tables. The origin listens on loopback; name lookup and dialing are doubles.\n"
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
  const [a, b] = yield* Effect.all([startNode("A", env), startNode("B", env)], { concurrency: 2 })

  /** Sends a request, and checks the response and the number of requests that reached the origin. */
  const step = (
    description: string,
    node: typeof a,
    request: Request,
    expected: { readonly requests: number; readonly outcomes: ReadonlyArray<string> }
  ) =>
    Effect.gen(function*() {
      const before = (yield* origin.requests).length
      const start = performance.now()
      const response = yield* node.send(request)
      const millis = (performance.now() - start).toFixed(1)
      const requests = (yield* origin.requests).length - before
      const outcome = outcomeOf(response)
      const isExpected = requests === expected.requests && expected.outcomes.includes(outcome)
      if (!isExpected) failedSteps++
      console.log(
        `${isExpected ? "ok  " : "FAIL"} node ${node.name}  ${
          millis.padStart(6)
        } ms  ${description}: ${outcome}, requests at the origin: ${requests}`
      )
      return response
    })
  const fromOrigin = { requests: 1, outcomes: ["origin"] }
  // The memory tier serves once notifications arrive, which is a moment after the start of a node.
  const fromCache = { requests: 0, outcomes: ["memory", "postgres"] }
  const failsWith = (error: string, requests: number) => ({ requests, outcomes: [error] })

  for (const { url } of documents) {
    yield* step(`fetches ${url}`, a, { command: "resolve", clientId: url }, fromOrigin)
  }
  const clientId = documents[0]?.url ?? ""
  console.log()
  yield* step("resolves it again", a, { command: "resolve", clientId }, fromCache)
  for (const { url } of documents) {
    yield* step(`reads ${url}`, b, { command: "resolve", clientId: url }, fromCache)
  }
  console.log()
  const refused = yield* step(
    "a malicious document",
    a,
    { command: "resolve", clientId: "https://evil.example/client.json" },
    failsWith("InvalidDocument", 1)
  )
  const { message, oauthError } = refused._tag === "Failed" ? refused : { message: "", oauthError: "" }
  const issues = message.split("\n").slice(1)
  if (issues.length < 8) failedSteps++
  for (const issue of issues) console.log(`       ${issue}`)
  console.log(`       The OAuth client receives no more than: ${oauthError}`)
  yield* step(
    "a redirect",
    a,
    { command: "resolve", clientId: "https://moved.example/client.json" },
    failsWith("UnexpectedRedirect", 1)
  )
  yield* step(
    "a private address",
    a,
    { command: "resolve", clientId: `https://${privateHost}/c` },
    failsWith("AddressBlocked", 0)
  )
  console.log()
  const brief = { command: "resolve", clientId: "https://brief.example/client.json" } as const
  yield* step("a document with a TTL of one second", a, brief, fromOrigin)
  yield* step("is in the cache", a, brief, fromCache)
  yield* Effect.sleep("1100 millis")
  yield* step("has expired, and is a miss", b, brief, fromOrigin)
  yield* Effect.sleep("1100 millis")
  yield* step("a sweep", b, { command: "sweep" }, { requests: 0, outcomes: ["1 rows"] })
}).pipe(Effect.provide(Origin.layer), Effect.scoped)

await Effect.runPromise(main)
console.log(
  failedSteps === 0 ? "\nEvery step had the expected result." : `\n${failedSteps} steps had an unexpected result.`
)
process.exitCode = failedSteps === 0 ? 0 : 1
