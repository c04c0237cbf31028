import { describe, expect, it } from "@effect/vitest"
import { Cache, ClientRegistry, HostPolicy, Resolver, Validator } from "effect-cimd"
import { FetcherTest, Origin } from "effect-cimd/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as McpClient from "../../differential/mcpClient.js"
import * as AuthorizationServer from "./authorizationServer.js"

const clientId = "https://app.example/client.json"
const redirectUrl = "https://app.example/callback"

const document = (members: object = {}) => ({
  client_id: clientId,
  client_name: "MCP",
  redirect_uris: [redirectUrl],
  grant_types: ["authorization_code", "refresh_token"],
  token_endpoint_auth_method: "none",
  ...members
})

const lifetime = { minimum: "1 second" } as const
const untilExpired = Effect.sleep("1100 millis")

const Live = Resolver.layer({ freshness: lifetime }).pipe(
  Layer.provideMerge(Layer.mergeAll(
    FetcherTest.layer({ backoff: { initial: 0, maximum: 0 }, timeout: "1 second" }),
    Validator.layer(Validator.mcp),
    Cache.layerMemory(),
    ClientRegistry.layerMemory()
  )),
  Layer.provide(HostPolicy.layerPublic),
  Layer.provideMerge(Origin.layer)
)

const serve = (members?: object) =>
  Effect.flatMap(
    Origin.Origin,
    (origin) => origin.document(clientId, document(members), { "Cache-Control": "max-age=1" })
  )
const goDown = Effect.flatMap(Origin.Origin, (origin) => origin.serve(clientId, { raw: "", end: "reset" }))
const disappear = Effect.flatMap(Origin.Origin, (origin) => origin.serve(clientId, { status: 404 }))

/** A server, and a client of the SDK that has signed in at it. */
const signedIn = (options = { remembersConsent: true }) =>
  Effect.gen(function*() {
    yield* serve()
    const server = yield* AuthorizationServer.make(options)
    const client = McpClient.make({ clientId, redirectUrl, serverUrl: server.issuer, fetch })
    expect(yield* Effect.promise(() => client.auth())).toBe("REDIRECT")
    const response = yield* Effect.promise(() => fetch(client.stored.authorizationUrl!, { redirect: "manual" }))
    const code = new URL(response.headers.get("location")!).searchParams.get("code")!
    return { client, code, server }
  })

describe("the SDK of the Model Context Protocol", () => {
  it.scopedLive("REG-05: refreshes its grant while the origin of its document is down for longer than its lifetime", () =>
    Effect.gen(function*() {
      const { client, code, server } = yield* signedIn()
      expect(yield* Effect.promise(() => client.auth(code))).toBe("AUTHORIZED")
      yield* goDown
      for (let refresh = 0; refresh < 3; refresh++) {
        yield* untilExpired
        const before = client.stored.tokens?.access_token
        expect(yield* Effect.promise(() => client.auth())).toBe("AUTHORIZED")
        expect(client.stored.tokens?.access_token).not.toBe(before)
      }
      expect(client.stored.invalidated).toEqual([])
      expect(server.log).toEqual(Array.from({ length: 4 }, () => "changed none"))
      // At the authorization endpoint, a user waits for the origin.
      const resolver = yield* Resolver.Resolver
      expect((yield* Effect.flip(resolver.resolve(clientId))).oauthError.error).toBe("temporarily_unavailable")
    }).pipe(Effect.provide(Live)))

  it.scopedLive("REG-05: without a confirmed client the answer is temporary, and the client keeps its credentials", () =>
    Effect.gen(function*() {
      const { client, code, server } = yield* signedIn({ remembersConsent: false })
      const error = yield* Effect.promise(() => client.auth(code).then(() => undefined, (error: unknown) => error))
      expect(error).toMatchObject({ errorCode: "temporarily_unavailable" })
      expect(client.stored.invalidated).toEqual([])
      expect(client.stored.client).toMatchObject({ client_id: clientId })
      expect(server.log).toEqual([expect.stringContaining("no user has consented to it")])
    }).pipe(Effect.provide(Live)))

  it.scopedLive("REG-06: a hijacked document is a security change before any token is issued", () =>
    Effect.gen(function*() {
      const { client, code, server } = yield* signedIn()
      expect(yield* Effect.promise(() => client.auth(code))).toBe("AUTHORIZED")
      const before = client.stored.tokens
      yield* serve({ redirect_uris: [redirectUrl, "https://evil.example/callback"] })
      yield* Effect.flatMap(Resolver.Resolver, (resolver) => resolver.refresh(clientId))
      yield* Effect.promise(() => client.auth().catch(() => "refused"))
      expect(server.log.slice(-2)).toEqual(["changed security", "invalid_grant"])
      expect([before, undefined]).toContain(client.stored.tokens)
    }).pipe(Effect.provide(Live)))

  it.scopedLive("REG-06: a new logo does not end a session", () =>
    Effect.gen(function*() {
      const { client, code, server } = yield* signedIn()
      expect(yield* Effect.promise(() => client.auth(code))).toBe("AUTHORIZED")
      yield* serve({ client_name: "MCP 2", logo_uri: "https://app.example/logo.png" })
      yield* Effect.flatMap(Resolver.Resolver, (resolver) => resolver.refresh(clientId))
      expect(yield* Effect.promise(() => client.auth())).toBe("AUTHORIZED")
      expect(server.log.at(-1)).toBe("changed display")
    }).pipe(Effect.provide(Live)))

  it.scopedLive("REG-07: the 404 of one redeploy does not end a session, and a block ends it at once", () =>
    Effect.gen(function*() {
      const { client, code, server } = yield* signedIn()
      expect(yield* Effect.promise(() => client.auth(code))).toBe("AUTHORIZED")
      yield* disappear
      const resolver = yield* Resolver.Resolver
      expect((yield* Effect.flip(resolver.refresh(clientId)))._tag).toBe("UnexpectedStatus")
      expect((yield* Effect.flip(resolver.refresh(clientId)))._tag).toBe("UnexpectedStatus")
      expect(yield* Effect.promise(() => client.auth())).toBe("AUTHORIZED")
      const registry = yield* ClientRegistry.ClientRegistry
      yield* registry.block("app.example", { reason: "abuse" })
      yield* Effect.promise(() => client.auth().catch(() => "refused"))
      expect(server.log.at(-1)).toContain("the operator blocked it")
    }).pipe(Effect.provide(Live)))
})
