/**
 * A small authorization server, as a user of this package would write it: it resolves a client where a user is asked, and
 * recalls it at the token endpoint. Its user says yes to everything.
 */
import { ClientRegistry, RedirectUri, Resolver } from "effect-cimd"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { createHash, randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"

interface Grant {
  readonly clientId: string
  readonly challenge: string
  readonly redirectUri: string
}

const challengeOf = (verifier: string): string => createHash("sha256").update(verifier).digest("base64url")

/** An error of OAuth, as it goes to the client. */
class Refused extends Error {
  constructor(readonly error: string) {
    super(error)
  }
}

const refuse = (error: string) => Effect.fail({ oauthError: { error } as const })

/** Answers, and what the server did: its errors for the operator, and each change that it found at a refresh. */
export const make = (options: { readonly remembersConsent: boolean }) =>
  Effect.gen(function*() {
    const resolver = yield* Resolver.Resolver
    const registry = yield* ClientRegistry.ClientRegistry
    const run = Runtime.runPromise(yield* Effect.runtime<never>())
    const codes = new Map<string, Grant>()
    const refreshTokens = new Map<string, string>()
    const log: Array<string> = []
    let issuer = ""

    const tokens = (clientId: string) => {
      const refresh = randomUUID()
      refreshTokens.set(refresh, clientId)
      return { access_token: randomUUID(), token_type: "Bearer", expires_in: 1, refresh_token: refresh }
    }

    const authorize = (query: URLSearchParams) =>
      Effect.gen(function*() {
        const resolution = yield* resolver.resolve(query.get("client_id") ?? "")
        const redirectUri = yield* RedirectUri.match(resolution.document, query.get("redirect_uri") ?? "")
        // The user sees the page, and says yes.
        if (options.remembersConsent) yield* registry.confirm(resolution)
        const code = randomUUID()
        codes.set(code, {
          clientId: resolution.document.clientId,
          challenge: query.get("code_challenge") ?? "",
          redirectUri: query.get("redirect_uri") ?? ""
        })
        return `${redirectUri}?code=${code}`
      })

    /** The client of a token request, if its document still is what its user consented to. */
    const authenticated = (clientId: string) =>
      Effect.gen(function*() {
        const { changed, document } = yield* resolver.recall(clientId)
        log.push(`changed ${changed}`)
        // The user has to consent again before a token is issued to another redirect URI or key.
        return changed === "security" ? yield* refuse("invalid_grant") : document
      })

    const token = (form: URLSearchParams) =>
      Effect.gen(function*() {
        const clientId = form.get("client_id") ?? ""
        const { clientId: client } = yield* authenticated(clientId)
        if (form.get("grant_type") === "refresh_token") {
          const refresh = form.get("refresh_token") ?? ""
          if (refreshTokens.get(refresh) !== client) return yield* refuse("invalid_grant")
          refreshTokens.delete(refresh)
        } else {
          const grant = codes.get(form.get("code") ?? "")
          codes.delete(form.get("code") ?? "")
          if (
            grant?.clientId !== client || grant.redirectUri !== form.get("redirect_uri") ||
            grant.challenge !== challengeOf(form.get("code_verifier") ?? "")
          ) return yield* refuse("invalid_grant")
        }
        yield* registry.used(client)
        return tokens(client)
      })

    const json = (response: ServerResponse, status: number, body: unknown) =>
      response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" })
        .end(JSON.stringify(body))

    const answer = <A>(effect: Effect.Effect<A, { readonly oauthError: { readonly error: string } }>) =>
      run(Effect.match(effect, {
        onFailure: (error) => {
          log.push(error instanceof Error ? error.message : error.oauthError.error)
          return new Refused(error.oauthError.error)
        },
        onSuccess: (value) => value
      }))

    const handle = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
      const url = new URL(request.url ?? "/", issuer)
      if (url.pathname.startsWith("/.well-known/oauth-protected-resource")) {
        return json(response, 200, { resource: issuer, authorization_servers: [issuer] })
      }
      if (url.pathname === "/.well-known/oauth-authorization-server") {
        return json(response, 200, {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          response_types_supported: ["code"],
          grant_types_supported: ["authorization_code", "refresh_token"],
          code_challenge_methods_supported: ["S256"],
          token_endpoint_auth_methods_supported: ["none"],
          client_id_metadata_document_supported: true
        })
      }
      const isToken = url.pathname === "/token"
      const result = isToken
        ? await answer(token(new URLSearchParams(await text(request))))
        : await answer(authorize(url.searchParams))
      if (result instanceof Refused) {
        const isTemporary = result.error === "temporarily_unavailable"
        return json(response, isTemporary ? 503 : 400, { error: result.error })
      }
      if (isToken) return json(response, 200, result)
      return response.writeHead(302, { location: String(result) }).end()
    }

    yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((request, response) => {
          handle(request, response).catch((error: unknown) => response.destroy(error as Error))
        })
        server.listen(0, "127.0.0.1", () => {
          issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
          resume(Effect.succeed(server))
        })
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    return { issuer, log }
  })
