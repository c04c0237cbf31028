/**
 * The start of an authorization endpoint: identifies the client of a request, and checks its redirect URI.
 */
import {
  ClientId,
  Fetcher,
  HostPolicy,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  RedirectUri,
  Resolver,
  Sweeper,
  Validator
} from "effect-cimd"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const Database = PostgresClient.layerConfig({ url: Config.redacted("DATABASE_URL") })

const Live = Resolver.layer().pipe(
  Layer.merge(Sweeper.layer({ interval: "10 minutes" })),
  Layer.provide([
    Fetcher.layer(),
    Validator.layer(Validator.mcp),
    PostgresCache.layerTiered(),
    PostgresRegistry.layer()
  ]),
  // Nobody can name this server itself as a client.
  Layer.provide(HostPolicy.layer({ issuer: "https://auth.example.com" })),
  Layer.provide(Database)
)

/** Returns the client of an authorization request, and the redirect URI that the response may go to. */
export const authorize = (request: { readonly client_id: string; readonly redirect_uri: string }) =>
  Effect.gen(function*() {
    // An id that is no URL: look it up in the server's own registry. `resolve` reports what is wrong with a URL.
    if (!ClientId.looksLikeUrl(request.client_id)) return { registered: request.client_id }
    const resolver = yield* Resolver.Resolver
    const { document } = yield* resolver.resolve(request.client_id)
    const redirectUri = yield* RedirectUri.match(document, request.redirect_uri)
    return { client: document.metadata, authMethods: document.authMethods, redirectUri }
  }).pipe(
    // For the operator: this text names the cause.
    Effect.tapError((error) => Effect.logWarning(error.message)),
    // For the OAuth client: this text does not. Show it on a page to the user, and never redirect with it.
    Effect.mapError((error) => error.oauthError)
  )

export const program = authorize({
  client_id: "https://vscode.dev/oauth/client-metadata.json",
  redirect_uri: "https://vscode.dev/redirect"
}).pipe(Effect.provide(Live))
