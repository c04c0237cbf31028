import { PostgresRegistry } from "effect-cimd"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postgres from "./support/postgres.js"
import { registrySuite } from "./support/registrySuite.js"

registrySuite("PostgresRegistry.layer", {
  fresh: (options) => Layer.fresh(Layer.provide(PostgresRegistry.layer(options), Postgres.migrated)),
  now: Effect.map(Clock.currentTimeNanos, (nanos) => nanos / 1000n)
})
