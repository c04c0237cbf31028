/**
 * The smallest authorization server that accepts clients it has never met: the beginning of its authorization endpoint.
 */
import { ClientId, Fetcher, HostPolicy, PostgresCache, RedirectUri, Resolver, Sweeper, Validator } from "effect-cimd"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const Database = PostgresCache.layerClientConfig({ url: Config.redacted("DATABASE_URL") })

const Live = Resolver.layer().pipe(
  Layer.merge(Sweeper.layer({ interval: "10 minutes" })),
  Layer.provide(Layer.mergeAll(Fetcher.layer(), Validator.layer(Validator.mcp), PostgresCache.layerTiered())),
  Layer.provide(HostPolicy.layerPublic),
  Layer.provide(Database)
)

/** Whom the request comes from and where the answer may go, or what to tell the user. */
export const authorize = (request: { readonly client_id: string; readonly redirect_uri: string }) =>
  Effect.gen(function*() {
    // Not a client identifier URL: look it up in the server's own registry.
    if (!ClientId.is(request.client_id)) return { registered: request.client_id }
    const resolver = yield* Resolver.Resolver
    const { document } = yield* resolver.resolve(request.client_id)
    const redirectUri = yield* RedirectUri.match(document.metadata.redirect_uris ?? [], request.redirect_uri)
    return { client: document.metadata, authMethods: document.authMethods, redirectUri }
  }).pipe(
    Effect.tapError((error) => Effect.logWarning(error.message)),
    Effect.mapError((error) => error.oauthError)
  )

export const program = authorize({
  client_id: "https://vscode.dev/oauth/client-metadata.json",
  redirect_uri: "https://vscode.dev/redirect"
}).pipe(Effect.provide(Live))
