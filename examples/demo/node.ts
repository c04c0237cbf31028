/**
 * One node of an authorization server, in a process of its own. It resolves the client identifiers that the demo sends.
 *
 * Name lookup and dialing are doubles: every connection goes to the origin of the demo. The rest is what a server runs in
 * production, with every guard in force.
 */
import {
  Fetcher,
  HostPolicy,
  PostgresCache,
  PostgresClient,
  PostgresRegistry,
  Resolver,
  Sweeper,
  Validator
} from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Request, Response } from "./protocol.js"
import { privateHost } from "./protocol.js"

const Names = NameLookupTest.layer((host) =>
  Effect.succeed(host === privateHost ? ["10.0.0.5"] : Origin.publicAddresses)
)

const Fetching = Layer.unwrapEffect(Effect.gen(function*() {
  const port = yield* Config.integer("DEMO_ORIGIN_PORT")
  const ca = yield* Config.string("DEMO_ORIGIN_CA")
  return Fetcher.layerWithoutDependencies({ ca }).pipe(
    Layer.provide(Names),
    Layer.provide(DialerTest.layerWith(() => port))
  )
}))

const Storing = Layer.provide(
  Layer.merge(PostgresCache.layerTiered(), PostgresRegistry.layer()),
  PostgresClient.layerConfig({ url: Config.redacted("DATABASE_URL") })
)

// A lower bound of half a second, so that the demo can show an expiry.
const Live = Resolver.layer({ freshness: { minimum: "500 millis" } }).pipe(
  Layer.merge(Sweeper.layer({ interval: "10 minutes" })),
  Layer.provide([Fetching, Validator.layer(), Storing]),
  Layer.provide(HostPolicy.layerPublic)
)

const respond = (request: Request) =>
  Effect.gen(function*() {
    if (request.command === "sweep") {
      const sweeper = yield* Sweeper.Sweeper
      const { documents } = yield* sweeper.sweepNow
      return { _tag: "Swept", documents } satisfies Response
    }
    const resolver = yield* Resolver.Resolver
    const { source } = yield* resolver.resolve(request.clientId)
    return { _tag: "Resolved", source } satisfies Response
  }).pipe(
    Effect.catchAll((error) =>
      Effect.succeed<Response>({
        _tag: "Failed",
        error: error._tag,
        message: error.message,
        oauthError: error.oauthError.error
      })
    )
  )

const serve = Effect.gen(function*() {
  const context = yield* Effect.context<Resolver.Resolver | Sweeper.Sweeper>()
  process.on("message", (request: Request) => {
    void Effect.runPromise(Effect.provide(respond(request), context)).then((response) => process.send?.(response))
  })
  process.send?.("ready")
  yield* Effect.async<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
  })
})

await Effect.runPromise(Effect.provide(serve, Live))
