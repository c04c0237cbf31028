/**
 * One node of an authorization server, in a process of its own: it resolves the client identifiers it is sent.
 *
 * Names are answered by a double, and connections to the public addresses it gives go to the origin of the
 * demonstration. All else is what a server would run, with every guard in force.
 */
import { Fetcher, HostPolicy, PostgresCache, Resolver, Sweeper, Validator } from "effect-cimd"
import { DialerTest, NameLookupTest, Origin } from "effect-cimd/testing"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Answer, Question } from "./protocol.js"
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

const Caching = Layer.provide(
  PostgresCache.layerTiered(),
  Layer.unwrapEffect(Effect.map(Config.redacted("DATABASE_URL"), (url) => PostgresCache.layerClient({ url })))
)

const Node = Resolver.layer({ freshness: { minimum: "500 millis" } }).pipe(
  Layer.merge(Sweeper.layer({ interval: "10 minutes" })),
  Layer.provide(Layer.mergeAll(Fetching, Validator.layer(), Caching)),
  Layer.provide(HostPolicy.layerPublic)
)

const answer = (question: Question) =>
  Effect.gen(function*() {
    if (question.ask === "sweep") {
      const { documents } = yield* Effect.flatMap(Sweeper.Sweeper, ({ sweepNow }) => sweepNow)
      return { swept: documents }
    }
    const resolver = yield* Resolver.Resolver
    const resolution = yield* resolver.resolve(question.clientId)
    return { source: resolution.source, clientName: resolution.document.metadata.client_name }
  }).pipe(
    Effect.timed,
    Effect.map(([duration, result]): Answer => ({ ...result, duration })),
    Effect.catchAll((error) =>
      Effect.succeed<Answer>({ refused: error._tag, message: error.message, oauthError: error.oauthError.error })
    )
  )

const serve = Effect.gen(function*() {
  const context = yield* Effect.context<Resolver.Resolver | Sweeper.Sweeper>()
  process.on("message", (question: Question) => {
    void Effect.runPromise(Effect.provide(answer(question), context)).then((answer) => process.send?.(answer))
  })
  process.send?.("ready")
  // Until the parent leaves.
  yield* Effect.async<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
  })
})

await Effect.runPromise(Effect.provide(serve, Node))
